"""The curves of line plots, from scaling tables."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, NamedTuple

from weather_hpc.analysis.table import ScalingTable, training_words
from weather_hpc.study.spec import Stage
from weather_hpc.study.stages import BY_TABLE
from weather_hpc.study.tasks import BatchMode
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
    nodes: int = 1
    cells: Mapping[str, Any] = MappingProxyType({})
    """The columns that say of which configuration it is."""

    def row(self, column: str) -> dict[str, Any]:
        """It as a row of plotted values, y and its interval in ``column``."""
        row = {**self.cells, column: self.y}
        if self.low is not None or self.high is not None:
            row |= {f"{column}_low": self.low, f"{column}_high": self.high}
        return row | ({"shares_cpus": True} if self.shared else {})


@dataclass(frozen=True)
class Curve:
    """One curve of a plot, its points ascending in x."""

    label: str
    """What tells it from other curves of its panel, such as ``batch 32``."""
    points: tuple[Point, ...]
    panel: str = ""
    """What has a panel of its own where curves are many, such as ``ddp on cuda``."""
    method: str = ""
    """The backend, strategy or engine, which has the same colour on the whole page."""
    size: float | None = None
    """The batch size or the ranks, which the ramp of colours is for."""
    origin: str = ""
    """Where the values are from, if they were not measured here: they are drawn hollow."""
    start: Point | None = None
    """The baseline on one worker."""
    work: tuple[Any, ...] = ()
    """Equal for curves of the same work on the same device, whatever the method."""

    @property
    def name(self) -> str:
        """All that tells it from the other curves of its plot."""
        return ", ".join(filter(None, (self.panel, self.label, self.origin)))

    @property
    def drawn(self) -> tuple[Point, ...]:
        """Its points and its baseline."""
        return self.points if self.start is None else (self.start, *self.points)

    def rows(self, column: str) -> Iterator[dict[str, Any]]:
        """What is drawn as rows of plotted values, y in ``column``; ``origin`` says where a point
        is from. A baseline that is 1 by definition has none."""
        for point in self.drawn:
            if point != Point(1, 1):
                origin = self.origin or ("baseline" if point is self.start else "here")
                yield {"curve": self.name, **point.row(column), "origin": origin}


def identity(table: ScalingTable, row: Mapping[str, Any]) -> dict[str, Any]:
    """The columns that tell the configuration of ``row`` from the others of ``table``, as far as
    they are known."""
    sizes = (table.workers_column, "nodes", "batch_size_global", "batch_mode")
    names = dict.fromkeys((*table.key, *sizes, *table.distinguishing))
    return {name: row[name] for name in names if row.get(name) is not None}


def labels(curves: Iterable[Curve]) -> list[str]:
    """The labels of ``curves``, each once."""
    return list(dict.fromkeys(curve.label for curve in curves))


def hollow(curves: Iterable[Curve]) -> list[str]:
    """Where the hollow values among ``curves`` are from."""
    return list(dict.fromkeys(curve.origin for curve in curves if curve.origin))


def by_workers(table: ScalingTable, column: str) -> list[Curve]:
    """``column`` against workers: one curve for configurations that differ in workers only.

    The baselines that have one worker only (``single``) are starts of curves on the same device.
    """
    stage = BY_TABLE[table.name]
    table = replace(table, rows=table.measured)
    rows = [row for row in table.rows if row[column] is not None and table.workers(row)]
    plain = [row for row in rows if stage.alone and row[stage.method] == stage.plain]
    others = [row for row in rows if not (stage.alone and row[stage.method] == stage.plain)]
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = defaultdict(list)
    for row in others or plain:
        groups[_key(table, row)].append(row)
    curves = [
        _curve(table, part, column, words)
        for members in groups.values()
        for part, words in _apart(members, table.workers_column)
    ]
    if column in ("speedup", "efficiency"):
        return [_from_one(curve) for curve in curves]
    return _with_baselines(table, curves, plain if others else [], column)


def by_batch(table: ScalingTable) -> list[Curve]:
    """Time against batch size: one curve per strategy, device and number of ranks.

    Only those measured with more than one batch size.
    """
    table = replace(table, rows=table.measured)
    settings = table.distinguishing
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = defaultdict(list)
    for row in table.rows:
        if batch_of(row) is not None:
            mode = row["batch_mode"]
            key = panel_of(table, row), row["world_size"], mode, row["nodes"]
            groups[*key, *(row[name] for name in settings)].append(row)
    curves = []
    for rows in groups.values():
        first = rows[0]
        points = _ascending(_point(table, row, float(batch_of(row) or 0), "time_s") for row in rows)
        words = [counted(first["world_size"], "rank"), *_setting_words(first, settings)]
        if (first["nodes"] or 1) > 1:
            words.insert(1, f"{first['nodes']} nodes")
        curves.append(
            Curve(
                ", ".join(words), points, panel_of(table, first), str(first["strategy"]),
                size=first["world_size"],
            )
        )  # fmt: skip
    return [curve for curve in curves if len({point.x for point in curve.points}) > 1]


def panel_of(table: ScalingTable, row: Mapping[str, Any]) -> str:
    """What has a panel of its own in plots of ``table``, such as ``ddp on cuda``."""
    if table.name == "training":
        return training_words(row["strategy"], row["device"])
    if table.name == "array":
        return ", ".join(filter(None, (row["operation"], row["array_input"])))
    return str(row[BY_TABLE[table.name].method] or "")


def batch_of(row: Mapping[str, Any]) -> int | None:
    """The batch size that stays fixed while ranks are added; None where there is none."""
    each: int | None = row.get("batch_size_per_device")
    together: int | None = row.get("batch_size_global")
    return together if each is None or row.get("batch_mode") == BatchMode.GLOBAL else each


def batch_text(row: Mapping[str, Any]) -> str:
    """The batch size in words; empty where there is none."""
    size = batch_of(row)
    if size is None:
        return ""
    each = row.get("batch_mode") != BatchMode.GLOBAL and row.get("batch_size_per_device") == size
    return f"batch {size}" if each else f"batch {size} of all ranks"


_IN_PANEL = ("operation", "array_input", "backend", "strategy", "device", "batch_size")


def _setting_words(row: Mapping[str, Any], settings: Sequence[str]) -> list[str]:
    shown = [name for name in settings if name not in _IN_PANEL and row[name] is not None]
    return [f"{name.replace('_', ' ')} {row[name]}" for name in shown]


def _key(table: ScalingTable, row: Mapping[str, Any]) -> tuple[Any, ...]:
    """Equal for rows that differ in the workers only."""
    method = row[BY_TABLE[table.name].method]
    return panel_of(table, row), method, row.get("batch_mode"), *_work(table, row)


def _work(table: ScalingTable, row: Mapping[str, Any]) -> tuple[Any, ...]:
    """Equal for rows that do the same on the same device, whatever the method and workers."""
    settings = [name for name in table.distinguishing if name != "batch_mode"]
    return row.get("device"), batch_of(row), *(row[name] for name in settings)


def _apart(rows: Sequence[dict[str, Any]], x: str) -> list[tuple[list[dict[str, Any]], list[str]]]:
    """``rows`` as one curve, or one per number of nodes if several have the same x; and words."""
    if len({row[x] for row in rows}) == len(rows):
        return [(list(rows), [])]
    by_nodes: dict[Any, list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        by_nodes[row.get("nodes")].append(row)
    if len(by_nodes) == 1:
        return [(list(rows), [])]
    return [(part, [counted(nodes, "node")]) for nodes, part in by_nodes.items()]


def _curve(
    table: ScalingTable, rows: Sequence[dict[str, Any]], column: str, words: Sequence[str]
) -> Curve:
    first, x = rows[0], table.workers_column
    method = str(first[BY_TABLE[table.name].method] or "")
    words = [batch_text(first), *words, *_setting_words(first, table.distinguishing)]
    if BY_TABLE[table.name].stage is Stage.ARRAY:
        words.insert(0, method)
    return Curve(
        ", ".join(filter(None, words)),
        _ascending(_point(table, row, row[x], column) for row in rows),
        panel_of(table, first),
        method,
        size=batch_of(first),
        work=_work(table, first),
    )


def _ascending(points: Iterable[Point]) -> tuple[Point, ...]:
    return tuple(sorted(points, key=lambda point: point[:2]))


def _point(table: ScalingTable, row: Mapping[str, Any], x: float, y: str) -> Point:
    low, high = row.get(f"{y}_low"), row.get(f"{y}_high")
    shared, nodes = bool(row.get("sharing")), row.get("nodes") or 1
    return Point(x, row[y], low, high, shared, nodes, identity(table, row))


def _from_one(curve: Curve) -> Curve:
    """``curve`` from the baseline on, where speedup and efficiency are 1 by definition."""
    return curve if curve.points[0].x <= 1 else replace(curve, start=Point(1, 1))


def _with_baselines(
    table: ScalingTable, curves: Sequence[Curve], plain: Sequence[dict[str, Any]], column: str
) -> list[Curve]:
    """``curves`` with those of the ``plain`` rows that do the same work on the same device.

    One that is no curve's is a point of its own among those on its device, if there are any.
    """
    starts = [(_work(table, row), _point(table, row, table.workers(row), column)) for row in plain]
    started = [
        replace(curve, start=next((point for work, point in starts if work == curve.work), None))
        for curve in curves
    ]
    for row, (work, point) in zip(plain, starts, strict=True):
        if all(curve.work != work for curve in curves):
            alone = _curve(table, [row], column, [])
            panels = [curve.panel for curve in curves if curve.work[0] == work[0]]
            started += [replace(alone, panel=p, points=(), start=point) for p in panels[:1]]
    return started
