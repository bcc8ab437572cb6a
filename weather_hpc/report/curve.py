"""Curves: the measured values of configurations that differ in one setting."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

from weather_hpc.analysis.table import ScalingTable
from weather_hpc.text import counted


class Point(NamedTuple):
    """One measured value."""

    x: float
    y: float
    low: float | None = None
    high: float | None = None
    """The ends of y's interval, None where there is none."""
    shared: bool = False
    """Whether its workers shared CPUs: it says what sharing costs, not how the work scales."""


@dataclass(frozen=True)
class Curve:
    """One curve of a plot, its points ascending in x."""

    label: str
    points: tuple[Point, ...]
    panel: str = ""
    """The panel that it is drawn in, where a plot has several."""
    published: bool = False
    """Whether the values are the reproduced study's."""

    @property
    def name(self) -> str:
        """What the legend says."""
        return f"{self.label}, published" if self.published else self.label


def labels(curves: Iterable[Curve]) -> list[str]:
    """The labels of ``curves``, each once: a published curve has that of ours beside it."""
    return list(dict.fromkeys(curve.label for curve in curves))


def by_workers(table: ScalingTable, column: str) -> list[Curve]:
    """``column`` against workers: one curve for configurations that differ in workers only.

    Labels name the table's key and the settings that vary.
    """
    keys = [*table.key, *_settings(table)]
    return _curves(table, table.workers_column, column, keys)


def by_batch(table: ScalingTable) -> list[Curve]:
    """Time against batch size per device: one curve per strategy, device and number of ranks.

    Only those measured with more than one batch size.
    """
    keys = ["strategy", "device", "world_size", *_settings(table)]
    curves = _curves(table, "batch_size_per_device", "time_s", keys)
    return [curve for curve in curves if len(curve.points) > 1]


def _settings(table: ScalingTable) -> list[str]:
    """The settings that distinguish curves, besides those in every label."""
    nodes = [column for column in ("nodes",) if column in table.columns]
    return [*table.distinguishing, *table.varying(nodes)]


def _curves(table: ScalingTable, x: str, y: str, keys: list[str]) -> list[Curve]:
    points: dict[tuple[Any, ...], list[Point]] = defaultdict(list)
    for row in table.measured:
        if row[x] is None or row[y] is None:
            continue
        low, high = row.get(f"{y}_low"), row.get(f"{y}_high")
        point = Point(row[x], row[y], low, high, shared=bool(row["sharing"]))
        points[tuple(row[key] for key in keys)].append(point)
    return [
        Curve(
            label=_curve_label(dict(zip(keys, values, strict=True))),
            points=tuple(sorted(measured, key=lambda point: point[:2])),
            panel=_panel(dict(zip(keys, values, strict=True))),
        )
        for values, measured in points.items()
    ]


_PANELS = ("operation", "array_input")
"""Settings whose curves share a panel, instead of those of the first key."""


def _panel(values: dict[str, Any]) -> str:
    chosen = [str(value) for name, value in values.items() if name in _PANELS]
    return ", ".join(chosen) or str(next(iter(values.values())))


def _curve_label(values: dict[str, Any]) -> str:
    parts = []
    for name, value in values.items():
        if value is None:
            continue
        if name == "device":
            parts.append(f"on {value}")
        elif name == "batch_size_per_device":
            parts.append(f"batch {value}")
        elif name == "world_size":
            parts.append(counted(value, "rank"))
        elif name in ("strategy", "backend", "operation", "engine", "study", "model"):
            parts.append(str(value))
        else:
            parts.append(f"{name} {value}")
    return " ".join(parts)
