"""What the line plots show: tables as series of points."""

from collections import defaultdict
from dataclasses import dataclass
from typing import Any

from weather_hpc.analysis.table import SETTINGS, ScalingTable
from weather_hpc.text import counted

Point = tuple[float, float, float | None, float | None]
"""x, y, and the low and high end of y's interval, where there is one."""


@dataclass(frozen=True)
class Series:
    """One line of a plot, its points by x."""

    label: str
    points: tuple[Point, ...]
    panel: str = ""
    """Where a plot is divided: the panel that the line belongs to."""
    published: bool = False
    """Whether the figures are those of the reproduced study, not ours."""


def by_workers(table: ScalingTable, column: str) -> list[Series]:
    """``column`` against workers, one series per configuration apart from the workers.

    Where the series cannot be labelled apart by the table's key alone, the settings that vary are
    part of the label.
    """
    keys = table.key + table.varying(_settings(table))
    return _series(table, table.workers_column, column, keys)


def by_batch(table: ScalingTable) -> list[Series]:
    """Time against batch size per device, one series per strategy, device and ranks.

    Only those that were measured with more than one batch size.
    """
    keys = ["strategy", "device", "world_size", *table.varying(_settings(table))]
    series = _series(table, "batch_size_per_device", "time_s", keys)
    return [line for line in series if len(line.points) > 1]


def _settings(table: ScalingTable) -> list[str]:
    return [name for name in (*SETTINGS, "nodes") if name in table.columns]


def _series(table: ScalingTable, x: str, y: str, keys: list[str]) -> list[Series]:
    points: dict[tuple[Any, ...], list[Point]] = defaultdict(list)
    for row in table.measured:
        if row[x] is None or row[y] is None:
            continue
        low, high = _interval(table, row, y)
        points[tuple(row[key] for key in keys)].append((row[x], row[y], low, high))
    return [
        Series(
            label=_label(dict(zip(keys, values, strict=True))),
            points=tuple(sorted(found, key=lambda point: point[:2])),
            panel=str(values[0]),
        )
        for values, found in points.items()
    ]


def _interval(
    table: ScalingTable, row: dict[str, Any], column: str
) -> tuple[float | None, float | None]:
    if column == "efficiency":
        low, high = row["speedup_low"], row["speedup_high"]
        if low is None or high is None:
            return None, None
        return low / table.workers(row), high / table.workers(row)
    return row.get(f"{column}_low"), row.get(f"{column}_high")


def _label(values: dict[str, Any]) -> str:
    words = []
    for name, value in values.items():
        if value is None:
            continue
        if name == "device":
            words.append(f"on {value}")
        elif name == "batch_size_per_device":
            words.append(f"batch {value}")
        elif name == "world_size":
            words.append(counted(value, "rank"))
        elif name in ("strategy", "backend", "study", "model"):
            words.append(str(value))
        else:
            words.append(f"{name} {value}")
    return " ".join(words)
