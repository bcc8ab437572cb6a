"""Where the time went: the phases of each configuration, median over its runs."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from weather_hpc.analysis.groups import group_rows
from weather_hpc.analysis.table import Table
from weather_hpc.collect.row import Row

PHASES = [
    "queue_s", "startup_s", "warmup_s", "data_wait_s", "compute_s", "communication_s",
    "checkpoint_s", "evaluation_s",
]  # fmt: skip


@dataclass(frozen=True)
class Split:
    """One configuration's phases in seconds; None where a phase was not recorded."""

    stage: str | None
    label: str
    seconds: dict[str, float | None]
    total_s: float | None


def phase_splits(rows: Iterable[Row]) -> list[Split]:
    """One Split per measured configuration that recorded any phase, by label."""
    splits = []
    for group in group_rows(rows):
        seconds = {name: group.median(name) for name in PHASES}
        if any(value for value in seconds.values()):
            label = group.asked.configuration or group.asked.run_id
            splits.append(Split(group.asked.stage, label, seconds, group.median("total_s")))
    return sorted(splits, key=lambda split: _natural(split.label))


def recorded(splits: Iterable[Split]) -> list[str]:
    """The phases that any of ``splits`` has."""
    found = {name for split in splits for name, value in split.seconds.items() if value is not None}
    return [name for name in PHASES if name in found]


def phase_table(splits: Sequence[Split]) -> Table:
    """``splits`` as a table with the columns that any of them has."""
    phases = recorded(splits)
    rows = [
        {"configuration": split.label}
        | {name: split.seconds[name] for name in phases}
        | {"total_s": split.total_s}
        for split in splits
    ]
    return Table(
        name="phases",
        title="Phases",
        caption="Median seconds of each phase over the runs of a configuration. "
        "Empty: the stage has no such phase, or did not record it.",
        columns=["configuration", *phases, "total_s"],
        rows=rows,
    )


def _natural(text: str) -> list[tuple[bool, int, str]]:
    """A key that sorts w2 before w16."""
    parts = re.split(r"([0-9]+)", text)
    return [(p.isdecimal(), int(p) if p.isdecimal() else 0, p) for p in parts]
