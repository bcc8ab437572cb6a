"""Values from elsewhere beside ours in plots: the reproduced study's, and those of a reference."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from weather_hpc.analysis.published import read_published
from weather_hpc.analysis.table import ScalingTable
from weather_hpc.report.curve import Curve, Point, batch_of, batch_text, identity, panel_of
from weather_hpc.study.stages import BY_TABLE
from weather_hpc.study.tasks import Device

REFERENCE = "reference"

_FREE = {"nodes", "study", "workers", "world_size", "batch_size_per_device", "batch_size_global"}
"""Settings that may have values which were not measured here."""


@dataclass(frozen=True)
class OtherValue:
    """What one configuration took elsewhere."""

    origin: str
    """Where it is from, as the legend says it."""
    table: str
    """The name of the scaling table that it belongs to."""
    settings: Mapping[str, Any]
    """Columns of that table, as far as they are known."""
    values: Mapping[str, float]
    """Its ``time_s``, ``speedup`` and ends of their intervals, as far as they are known."""


def published_values() -> list[OtherValue]:
    """The study's speedups; its seconds are those of other images on other hardware."""
    return [
        OtherValue(f"published, {one.hardware}", one.table, one.match, {"speedup": one.speedup})
        for one in read_published()
        if one.speedup is not None
    ]


def other_curves(others: Iterable[OtherValue], table: ScalingTable, column: str) -> Iterator[Curve]:
    """Curves of ``column`` against workers for the methods that ``table`` has measured.

    Of sizes that were not measured here, too. A value is on the panel of its device, or where that
    was not measured on the first of its method.
    """
    if table.name == "array":
        return
    stage = BY_TABLE[table.name]
    points: dict[tuple[Any, ...], list[Point]] = defaultdict(list)
    for other in others:
        settings, workers = other.settings, other.settings.get(table.workers_column)
        method, value = settings.get(stage.method), _value(other, column, workers)
        if other.table != table.name or not workers or value is None or method == stage.plain:
            continue
        panel = _panel(table, str(method), settings)
        if panel is not None:
            key = panel, method, batch_text(settings), batch_of(settings), other.origin
            points[key].append(Point(workers, *value, cells=identity(table, settings)))
    for (panel, method, label, size, origin), found in points.items():
        ordered = tuple(sorted(found, key=lambda point: point[:2]))
        yield Curve(label, ordered, panel, str(method), size, origin)


def _value(
    other: OtherValue, column: str, workers: int | None
) -> tuple[float, float | None, float | None] | None:
    """With its interval."""
    known, each = ("speedup", workers or 1) if column == "efficiency" else (column, 1)
    if known not in other.values:
        return None
    low, high = (other.values.get(f"{known}_{end}") for end in ("low", "high"))
    divided = [None if value is None else value / each for value in (low, high)]
    return other.values[known] / each, divided[0], divided[1]


def _panel(table: ScalingTable, method: str, settings: Mapping[str, Any]) -> str | None:
    """The panel that ours for the same have; None where there are none to compare it with."""
    stage = BY_TABLE[table.name]
    ours = [row for row in table.measured if row[stage.method] == method]
    fixed = {name: value for name, value in settings.items() if name not in _FREE}
    same = [row for row in ours if _agrees(row, fixed)]
    if same:
        return panel_of(table, same[0])
    on_any = {name: value for name, value in fixed.items() if name != "device"}
    same = [row for row in ours if _agrees(row, on_any)] if "time_s" not in settings else []
    same.sort(key=lambda row: row.get("device") != Device.CUDA)
    return panel_of(table, same[0]) if same else None


def _agrees(row: Mapping[str, Any], settings: Mapping[str, Any]) -> bool:
    return all(row.get(name) in (value, None) for name, value in settings.items())
