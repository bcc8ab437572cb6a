"""Where the time went: the phases of each configuration, median over its runs."""

import re
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
    """One Split per measured configuration that recorded any phase, by label."""
    splits = []
    for group in group_rows(rows):
        seconds = {name: group.median(name) for name in PHASES}
        if any(value for value in seconds.values()):
            label = group.asked.configuration or group.asked.run_id
            splits.append(Split(label, seconds, group.median("total_s")))
    return sorted(splits, key=lambda split: _natural(split.label))


def recorded(splits: Iterable[Split]) -> list[str]:
    """The phases that any of ``splits`` has."""
    found = {name for split in splits for name, value in split.seconds.items() if value is not None}
    return [name for name in PHASES if name in found]


def _natural(text: str) -> list[tuple[bool, int, str]]:
    """A key that sorts w2 before w16."""
    parts = re.split(r"([0-9]+)", text)
    return [(p.isdecimal(), int(p) if p.isdecimal() else 0, p) for p in parts]
