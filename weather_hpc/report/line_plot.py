"""Line plots: error bars, doublings on both axes, and small multiples where lines are many."""

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from weather_hpc.analysis.table import ScalingTable
from weather_hpc.report.drawing import (
    DOUBLE_WIDTH,
    FAINT,
    MOST_LINES,
    MOST_PANELS,
    SINGLE_WIDTH,
    Drawing,
    line_style,
    plain,
)
from weather_hpc.text import counted

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Point = tuple[float, float, float | None, float | None]
"""x, y, and the low and high end of y's interval, where there is one."""


@dataclass(frozen=True)
class Curve:
    """One line of a plot, its points by x."""

    label: str
    points: tuple[Point, ...]
    panel: str = ""
    """Where a plot is divided: the panel that the line belongs to."""
    published: bool = False
    """Whether the figures are those of the reproduced study, not ours."""


def by_workers(table: ScalingTable, column: str) -> list[Curve]:
    """``column`` against workers, one series per configuration apart from the workers.

    Where the series cannot be labelled apart by the table's key alone, the settings that vary are
    part of the label.
    """
    keys = [*table.key, *_settings(table)]
    return _series(table, table.workers_column, column, keys)


def by_batch(table: ScalingTable) -> list[Curve]:
    """Time against batch size per device, one series per strategy, device and ranks.

    Only those that were measured with more than one batch size.
    """
    keys = ["strategy", "device", "world_size", *_settings(table)]
    series = _series(table, "batch_size_per_device", "time_s", keys)
    return [line for line in series if len(line.points) > 1]


def _settings(table: ScalingTable) -> list[str]:
    """The settings that tell curves apart, besides those that every label has."""
    nodes = [column for column in ("nodes",) if column in table.columns]
    return [*table.distinguishing, *table.varying(nodes)]


def _series(table: ScalingTable, x: str, y: str, keys: list[str]) -> list[Curve]:
    points: dict[tuple[Any, ...], list[Point]] = defaultdict(list)
    for row in table.measured:
        if row[x] is None or row[y] is None:
            continue
        low, high = _interval(table, row, y)
        points[tuple(row[key] for key in keys)].append((row[x], row[y], low, high))
    return [
        Curve(
            label=_curve_label(dict(zip(keys, values, strict=True))),
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


def _curve_label(values: dict[str, Any]) -> str:
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


_TICKS = 10
"""Labels that an axis has room for."""
_FEWEST_TICKS = 3
"""Powers of two within an axis from which they alone are its labels."""
_MARGIN = 0.06
"""Room at the ends of an axis in doublings, as a share of it."""
_APART = 0.018
"""How far lines with bars are set side by side, as a share of the axis."""
_TWO_COLUMNS = 26
"""Characters of a label up to which a legend has two columns."""


@dataclass(frozen=True)
class LinePlot:
    """What a line plot shows."""

    name: str
    title: str
    x: str
    y: str
    series: Sequence[Curve]
    nothing: str
    """Why there is no plot, where there are no series."""
    ideal: Callable[[float], float] | None = None
    doubling: bool = True
    """Whether y, as x, goes in doublings: the ideal speedup is then a straight line."""
    divided: bool = False
    """Whether every panel's lines are drawn apart, on scales of their own, however few."""

    def drawing(self) -> Drawing:
        """The plot, ready to be drawn."""
        if not self.series:
            return Drawing(self.name, self.title, self.nothing)
        panels = self._panels()
        shown = [line for lines in panels.values() for line in lines]
        rows, columns = _grid(len(panels))
        size = (DOUBLE_WIDTH, 0.6 + 4.0 * rows)
        if columns == 1:
            entries = len(shown) + (self.ideal is not None)
            size = (SINGLE_WIDTH, 3.7 + 0.2 * math.ceil(entries / _legend_columns(shown)))
        return Drawing(
            self.name,
            self.title,
            self._describe(shown),
            lambda figure: self._draw(figure, panels),
            size,
            left_out=len(self.series) - len(shown),
        )

    def _panels(self) -> dict[str, list[Curve]]:
        """Lines by panel: one for all where they can be told apart, else one per group.

        Of a group's lines those with the most points stay.
        """
        if len(_labels(self.series)) <= MOST_LINES and not self.divided:
            return {"": list(self.series)}
        groups: dict[str, list[Curve]] = defaultdict(list)
        for line in self.series:
            groups[line.panel].append(line)
        panels = {}
        for name, lines in list(groups.items())[:MOST_PANELS]:
            longest = sorted(lines, key=lambda line: -len(line.points))
            kept = _labels(longest)[:MOST_LINES]
            panels[name] = [line for line in lines if line.label in kept]
        return panels

    def _draw(self, figure: "Figure", panels: dict[str, list[Curve]]) -> None:
        alone = len(panels) == 1
        rows, columns = _grid(len(panels))
        everything = [line for lines in panels.values() for line in lines]
        for number, (name, lines) in enumerate(panels.items(), start=1):
            axes = figure.add_subplot(rows, columns, number)
            labels = _labels(lines)
            apart = _side_by_side(lines, len(labels))
            for line in lines:
                index = labels.index(line.label)
                _draw_line(axes, line, index, apart[index])
            # the same scales where panels show one stage: what looks higher is higher
            self._draw_axes(axes, lines if self.divided else everything)
            axes.set_title(self.title if alone else plain(name))
            if not any(labels):
                continue  # the one configuration of logs that name none
            if alone:
                # below, where it leaves the plot its width on a phone as well
                figure.legend(loc="outside lower left", ncols=_legend_columns(lines))
            else:
                axes.legend(loc="upper left", bbox_to_anchor=(0.0, -0.2), ncols=1)
        if not alone:
            figure.suptitle(self.title, x=0.01, ha="left", fontsize=12)

    def _draw_axes(self, axes: "Axes", series: Sequence[Curve]) -> None:
        xs = sorted({point[0] for line in series for point in line.points})
        axes.set_xscale("log", base=2)
        axes.set_xlim(xs[0] / 1.2, xs[-1] * 1.2)
        axes.set_xticks(_spread(xs), [f"{x:g}" for x in _spread(xs)])
        axes.minorticks_off()
        ys = [y for line in series for point in line.points for y in point[1:] if y is not None]
        if self.ideal is not None:
            ideal = [self.ideal(x) for x in xs]
            axes.plot(xs, ideal, color=FAINT, linestyle=(0, (1, 1)), linewidth=1.4, label="ideal")
            ys += ideal
        if self.doubling:
            axes.set_yscale("log", base=2)
            ends = _ends(ys)
            axes.set_ylim(*ends)
            ticks = _ticks(*ends)
            axes.set_yticks(
                ticks, [f"{tick:.10g}" if tick >= 1 else f"{tick:.3g}" for tick in ticks]
            )
            axes.minorticks_off()
        else:
            axes.set_ylim(0, 1.08 * max(ys))
        axes.set_xlabel(self.x)
        axes.set_ylabel(self.y)

    def _describe(self, series: Iterable[Curve]) -> str:
        parts = []
        for line in series:
            points = ", ".join(f"{x:g}: {y:.3g}" for x, y, _, _ in line.points)
            parts.append(f"{_name(line)}: {points}")
        return f"{self.y} by {self.x}. " + "; ".join(parts) + "."


def _draw_line(axes: "Axes", series: Curve, index: int, apart: float) -> None:
    xs = [point[0] * apart for point in series.points]
    ys = [point[1] for point in series.points]
    # a point without an interval gets a bar of no length
    below = [y - low if low is not None else 0.0 for _, y, low, _ in series.points]
    above = [high - y if high is not None else 0.0 for _, y, _, high in series.points]
    bars = [[max(0.0, value) for value in ends] for ends in (below, above)]
    style = line_style(index, series.published)
    axes.errorbar(xs, ys, yerr=bars, label=plain(_name(series)), **style)


def _side_by_side(lines: Sequence[Curve], labels: int) -> list[float]:
    """By what x is multiplied for each of so many ``labels``, so that no bar hides another."""
    points = [point for line in lines for point in line.points]
    if all(point[2] is None for point in points):
        return [1.0] * labels
    xs = [point[0] for point in points]
    step = _APART * (math.log2(max(xs) / min(xs)) or 1.0)
    return [2.0 ** (step * (index - (labels - 1) / 2)) for index in range(labels)]


def _legend_columns(lines: Iterable[Curve]) -> int:
    return 1 if max(len(_name(line)) for line in lines) > _TWO_COLUMNS else 2


def _grid(panels: int) -> tuple[int, int]:
    """Rows and columns for so many panels."""
    columns = panels if panels <= 3 else 2 if panels == 4 else 3
    return math.ceil(panels / columns), columns


def _name(series: Curve) -> str:
    return f"{series.label}, published" if series.published else series.label


def _labels(series: Iterable[Curve]) -> list[str]:
    return list(dict.fromkeys(line.label for line in series))


def _spread(xs: Sequence[float]) -> list[float]:
    """Those of ``xs`` that can be labelled without overlap; doublings before others."""
    gap = (math.log2(xs[-1]) - math.log2(xs[0])) / _TICKS
    kept: list[float] = []
    for x in sorted(xs, key=lambda x: (not math.log2(x).is_integer(), x)):
        if all(abs(math.log2(x) - math.log2(other)) >= gap for other in kept):
            kept.append(x)
    return sorted(kept)


def _ends(ys: Iterable[float]) -> tuple[float, float]:
    """The ends of an axis in doublings that shows ``ys``; what is not above 0 is not shown."""
    exponents = [math.log2(y) for y in ys if y > 0]
    low, high = min(exponents), max(exponents)
    room = _MARGIN * (high - low) + 0.1
    return 2.0 ** (low - room), 2.0 ** (high + room)


def _ticks(low: float, high: float) -> list[float]:
    """What is labelled between ``low`` and ``high``: powers of two, or round numbers where few."""
    first, last = math.ceil(math.log2(low)), math.floor(math.log2(high))
    powers = list(range(first, last + 1, math.ceil((last - first + 1) / _TICKS) or 1))
    if len(powers) >= _FEWEST_TICKS:
        return [2.0**power for power in powers]
    from matplotlib.ticker import MaxNLocator

    steps = MaxNLocator(nbins=6, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high)
    return [float(tick) for tick in steps if low <= tick <= high]
