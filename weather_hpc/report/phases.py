"""Where the time went: the phases of each configuration, median over its runs."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from weather_hpc.analysis.groups import GROUPS
from weather_hpc.analysis.table import ScalingTable, Table
from weather_hpc.runs.row import Row

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


def phase_splits(rows: Sequence[Row], tables: Iterable[ScalingTable]) -> list[Split]:
    """One Split per measured configuration that recorded any phase, in the tables' words and order.

    ``tables`` are those that were made of ``rows``.
    """
    splits = []
    for table in tables:
        # a table has a line for each group, in their order
        for line, group in zip(table.rows, GROUPS[table.name](rows), strict=True):
            seconds = {name: group.median(name) for name in PHASES}
            if any(value for value in seconds.values()):
                label, total = table.label(line), group.median("total_s")
                splits.append(Split(group.asked.stage, label, seconds, total))
    return splits


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
