"""Where the time went: the phases of each configuration, median over its runs."""

from collections.abc import Iterable
from dataclasses import dataclass

from weather_hpc.analysis.groups import group_rows
from weather_hpc.collect.row import Row
from weather_hpc.report.style import FAINT, PALETTE

PHASES = [
    "queue_s", "startup_s", "warmup_s", "data_wait_s", "compute_s", "communication_s",
    "evaluation_s", "checkpoint_s",
]  # fmt: skip
COLOURS = dict(zip(PHASES, [FAINT, *PALETTE, "#5a5a57"], strict=True))


@dataclass(frozen=True)
class Split:
    """One configuration's phases in seconds; None where a phase was not recorded."""

    label: str
    seconds: dict[str, float | None]
    total_s: float | None

    @property
    def shares(self) -> list[tuple[str, float]]:
        """Each recorded phase with its share of them all, in percent."""
        known = {name: value for name, value in self.seconds.items() if value}
        whole = sum(known.values())
        return [(name, 100 * value / whole) for name, value in known.items()]


def phase_splits(rows: Iterable[Row]) -> list[Split]:
    """One Split per measured configuration that recorded any phase, in the order of the rows."""
    splits = []
    for group in group_rows(rows):
        seconds = {name: group.median(name) for name in PHASES}
        if any(value for value in seconds.values()):
            label = group.asked.configuration or group.asked.run_id
            splits.append(Split(label, seconds, group.median("total_s")))
    return splits
