"""Line plots: error bars, logarithmic axes, and one panel per group where curves are many."""

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from weather_hpc.report.curve import Curve, labels
from weather_hpc.report.drawing import (
    DOUBLE_WIDTH,
    FAINT,
    INK,
    MOST_LINES,
    MOST_PANELS,
    SINGLE_WIDTH,
    Drawing,
    line_style,
    plain,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SHARED = "more threads than CPUs"
"""What the plot says of points with a ring."""
_TICKS = 10
"""Most labels of an axis."""
_FEWEST_TICKS = 3
"""An axis with fewer powers of two is labelled with round numbers."""
_MARGIN = 0.06
"""Free space at the ends of a logarithmic axis, as a share of it."""
_OFFSET = 0.018
"""Distance of curves with bars drawn side by side, as a share of the axis."""
_TWO_COLUMNS = 26
"""Characters of the longest label up to which a legend has two columns."""


@dataclass(frozen=True)
class LinePlot:
    """A line plot of several curves."""

    name: str
    title: str
    x_label: str
    y_label: str
    curves: Sequence[Curve]
    empty_reason: str
    """Why there is no plot, where there are no curves."""
    ideal: Callable[[float], float] | None = None
    log_y: bool = True
    """Whether y, like x, is logarithmic: the ideal speedup is then a straight line."""
    separate_panels: bool = False
    """Whether each group has a panel with its own scales, even if one panel could hold all."""

    def drawing(self) -> Drawing:
        """The plot, ready to be drawn."""
        if not self.curves:
            return Drawing(self.name, self.title, self.empty_reason)
        panels = self._panels()
        shown = [curve for curves in panels.values() for curve in curves]
        rows, columns = _grid(len(panels))
        size = (DOUBLE_WIDTH, 0.6 + 4.0 * rows)
        if columns == 1:
            shared = any(point.shared for curve in shown for point in curve.points)
            entries = len(shown) + (self.ideal is not None) + shared
            size = (SINGLE_WIDTH, 3.7 + 0.2 * math.ceil(entries / _legend_columns(shown)))
        return Drawing(
            self.name,
            self.title,
            self._as_text(shown),
            lambda figure: self._draw(figure, panels),
            size,
            left_out=len(self.curves) - len(shown),
        )

    def _panels(self) -> dict[str, list[Curve]]:
        """Curves by panel: one panel for all if colours suffice, else one per group.

        A group with too many curves keeps those with the most points.
        """
        if len(labels(self.curves)) <= MOST_LINES and not self.separate_panels:
            return {"": list(self.curves)}
        groups: dict[str, list[Curve]] = defaultdict(list)
        for curve in self.curves:
            groups[curve.panel].append(curve)
        panels = {}
        for name, curves in list(groups.items())[:MOST_PANELS]:
            longest = sorted(curves, key=lambda curve: -len(curve.points))
            kept = labels(longest)[:MOST_LINES]
            panels[name] = [curve for curve in curves if curve.label in kept]
        return panels

    def _draw(self, figure: "Figure", panels: dict[str, list[Curve]]) -> None:
        alone = len(panels) == 1
        rows, columns = _grid(len(panels))
        everything = [curve for curves in panels.values() for curve in curves]
        for number, (name, curves) in enumerate(panels.items(), start=1):
            axes = figure.add_subplot(rows, columns, number)
            names = labels(curves)
            offsets = _offsets(curves, len(names))
            for curve in curves:
                index = names.index(curve.label)
                _draw_curve(axes, curve, index, offsets[index])
            _draw_rings(axes, curves, dict(zip(names, offsets, strict=True)))
            # panels of one stage share their scales, so that they can be compared
            self._draw_axes(axes, curves if self.separate_panels else everything)
            axes.set_title(self.title if alone else plain(name))
            if not any(names):
                continue  # text logs that name no configuration
            if alone:
                # below the plot, which keeps its width on a phone
                figure.legend(loc="outside lower left", ncols=_legend_columns(curves))
            else:
                axes.legend(loc="upper left", bbox_to_anchor=(0.0, -0.2), ncols=1)
        if not alone:
            figure.suptitle(self.title, x=0.01, ha="left", fontsize=12)

    def _draw_axes(self, axes: "Axes", curves: Sequence[Curve]) -> None:
        points = [point for curve in curves for point in curve.points]
        xs = sorted({point.x for point in points})
        axes.set_xscale("log", base=2)
        axes.set_xlim(xs[0] / 1.2, xs[-1] * 1.2)
        axes.set_xticks(_x_ticks(xs), [f"{x:g}" for x in _x_ticks(xs)])
        axes.minorticks_off()
        ys = [y for p in points for y in (p.y, p.low, p.high) if y is not None]
        if self.ideal is not None:
            ideal = [self.ideal(x) for x in xs]
            axes.plot(xs, ideal, color=FAINT, linestyle=(0, (1, 1)), linewidth=1.4, label="ideal")
            ys += ideal
        if self.log_y:
            axes.set_yscale("log", base=2)
            limits = _y_limits(ys)
            axes.set_ylim(*limits)
            ticks = _y_ticks(*limits)
            axes.set_yticks(
                ticks, [f"{tick:.10g}" if tick >= 1 else f"{tick:.3g}" for tick in ticks]
            )
            axes.minorticks_off()
        else:
            axes.set_ylim(0, 1.08 * max(ys))
        axes.set_xlabel(self.x_label)
        axes.set_ylabel(self.y_label)

    def _as_text(self, curves: Iterable[Curve]) -> str:
        parts = []
        for curve in curves:
            points = [
                f"{point.x:g}: {point.y:.3g}" + f" ({SHARED})" * point.shared
                for point in curve.points
            ]
            parts.append(f"{curve.name}: {', '.join(points)}")
        return f"{self.y_label} by {self.x_label}. " + "; ".join(parts) + "."


def _draw_curve(axes: "Axes", curve: Curve, index: int, offset: float) -> None:
    xs = [point.x * offset for point in curve.points]
    ys = [point.y for point in curve.points]
    # a point without an interval has a bar of length 0
    below = [p.y - p.low if p.low is not None else 0.0 for p in curve.points]
    above = [p.high - p.y if p.high is not None else 0.0 for p in curve.points]
    bars = [[max(0.0, value) for value in part] for part in (below, above)]
    style = line_style(index, curve.published)
    axes.errorbar(xs, ys, yerr=bars, label=plain(curve.name), **style)


def _draw_rings(axes: "Axes", curves: Iterable[Curve], offsets: Mapping[str, float]) -> None:
    """Draw a ring around each point whose workers shared CPUs; factors of x by label."""
    rings = [
        (point.x * offsets[curve.label], point.y)
        for curve in curves
        for point in curve.points
        if point.shared
    ]
    if rings:
        xs, ys = zip(*rings, strict=True)
        axes.plot(xs, ys, "o", markersize=12, markerfacecolor="none", color=INK, label=SHARED)


def _offsets(curves: Sequence[Curve], labels: int) -> list[float]:
    """Factors of x, one per label, that draw bars with equal x side by side."""
    points = [point for curve in curves for point in curve.points]
    if all(point.low is None for point in points):
        return [1.0] * labels
    xs = [point.x for point in points]
    step = _OFFSET * (math.log2(max(xs) / min(xs)) or 1.0)
    return [2.0 ** (step * (index - (labels - 1) / 2)) for index in range(labels)]


def _legend_columns(curves: Iterable[Curve]) -> int:
    return 1 if max(len(curve.name) for curve in curves) > _TWO_COLUMNS else 2


def _grid(panels: int) -> tuple[int, int]:
    """Rows and columns of the grid of ``panels``."""
    columns = panels if panels <= 3 else 2 if panels == 4 else 3
    return math.ceil(panels / columns), columns


def _x_ticks(xs: Sequence[float]) -> list[float]:
    """The ``xs`` that can be labelled without overlap, powers of two first."""
    gap = (math.log2(xs[-1]) - math.log2(xs[0])) / _TICKS
    kept: list[float] = []
    for x in sorted(xs, key=lambda x: (not math.log2(x).is_integer(), x)):
        if all(abs(math.log2(x) - math.log2(other)) >= gap for other in kept):
            kept.append(x)
    return sorted(kept)


def _y_limits(ys: Iterable[float]) -> tuple[float, float]:
    """Limits of a logarithmic axis that shows every positive one of ``ys``."""
    exponents = [math.log2(y) for y in ys if y > 0]
    low, high = min(exponents), max(exponents)
    margin = _MARGIN * (high - low) + 0.1
    return 2.0 ** (low - margin), 2.0 ** (high + margin)


def _y_ticks(low: float, high: float) -> list[float]:
    """Labels between ``low`` and ``high``: powers of two, or round numbers if those are few."""
    first, last = math.ceil(math.log2(low)), math.floor(math.log2(high))
    powers = list(range(first, last + 1, math.ceil((last - first + 1) / _TICKS) or 1))
    if len(powers) >= _FEWEST_TICKS:
        return [2.0**power for power in powers]
    from matplotlib.ticker import MaxNLocator

    steps = MaxNLocator(nbins=6, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high)
    return [float(tick) for tick in steps if low <= tick <= high]
