"""Line plots: error bars, logarithmic axes, one panel per method where curves are many."""

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from weather_hpc.report.colours import FAINT, INK, PAPER, colour_of, ramp
from weather_hpc.report.curve import Curve, Point, hollow, labels
from weather_hpc.report.drawing import (
    DOUBLE_WIDTH,
    LINES,
    MARKERS,
    MOST_LINES,
    MOST_PANELS,
    SINGLE_WIDTH,
    Drawing,
    plain,
)
from weather_hpc.report.log_axes import log_limits, set_log_x, set_log_y
from weather_hpc.text import brief

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

SHARED = "more threads than CPUs"
"""What the plot says of points with a ring."""
NODES = "more than one node"
"""What it says of points in a square."""
INTERVAL = "interval"
"""What it says of error bars."""
BASELINE = "baseline on one worker"
_OFFSET = 0.018
"""Distance of curves with bars drawn side by side, as a share of the axis."""
_SPREAD = 0.06
"""The most that such curves are apart together."""
_LEGEND_WIDTH = 100
"""Characters in a row of a wide figure's legend."""


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
    column: str
    """What y is called among the plotted values."""
    optional: bool = False
    """Whether there can be no curves."""
    ideal: Callable[[float], float] | None = None
    log_y: bool = True
    """Whether y, like x, is logarithmic: the ideal speedup is then a straight line."""
    lost_below: float | None = None
    """Values of y below are shaded: more workers are slower than one."""

    def drawing(self) -> Drawing:
        """The plot, ready to be drawn."""
        if not any(curve for curve in self.curves if not curve.origin):
            return Drawing(self.name, self.title, self.empty_reason, optional=self.optional)
        panels = self._panels()
        shown = [curve for curves in panels.values() for curve in curves]
        style = _Styles(shown, alone="" in panels)
        rows, columns = _grid(len(panels))
        legend = len(style.entries(self.ideal is not None))
        if columns == 1:
            size = (SINGLE_WIDTH, 3.3 + 0.18 * math.ceil(legend / 2))
        else:
            size = (DOUBLE_WIDTH, 0.5 + 2.9 * rows + 0.18 * math.ceil(legend / 5))
        return Drawing(
            self.name,
            self.title,
            self._as_text(shown),
            lambda figure: self._draw(figure, panels, style),
            size,
            left_out=len(self.curves) - len(shown),
            data=[row for curve in shown for row in curve.rows(self.column)],
        )

    def _panels(self) -> dict[str, list[Curve]]:
        """Curves by panel: one for all if each has a colour then, else one per method.

        A panel with too many curves keeps those with the most points.
        """
        groups: dict[str, list[Curve]] = defaultdict(list)
        for curve in self.curves:
            groups[curve.panel].append(curve)
        if len(groups) <= MOST_LINES and all(len(labels(of)) == 1 for of in groups.values()):
            return {"": list(self.curves)}
        panels = {}
        for name, curves in list(groups.items())[:MOST_PANELS]:
            longest = sorted(curves, key=lambda curve: (bool(curve.origin), -len(curve.points)))
            kept = labels(longest)[:MOST_LINES]
            panels[name] = [curve for curve in curves if curve.label in kept]
        return panels

    def _draw(
        self, figure: "Figure", panels: Mapping[str, Sequence[Curve]], style: "_Styles"
    ) -> None:
        alone = len(panels) == 1
        rows, columns = _grid(len(panels))
        everything = [curve for curves in panels.values() for curve in curves]
        for number, (name, curves) in enumerate(panels.items(), start=1):
            axes = figure.add_subplot(rows, columns, number)
            offsets = _offsets(curves, style)
            for curve in curves:
                _draw_curve(axes, curve, style.of(curve), offsets[style.key(curve)])
            _draw_outlines(axes, curves, offsets, style)
            # panels share their scales, so that they can be compared
            self._draw_axes(axes, everything)
            axes.set_title(plain(name) or self.title)
            if number % columns != 1 and not alone:
                axes.set_ylabel("")
        if "" not in panels:
            figure.suptitle(self.title, x=0.01, ha="left")
        handles = style.entries(self.ideal is not None)
        if handles:
            # below the plot, which keeps its width on a phone
            longest = max(len(str(handle.get_label())) for handle in handles)
            columns = max(1, min(6, (_LEGEND_WIDTH if not alone else 60) // (longest + 8)))
            figure.legend(handles=handles, loc="outside lower left", ncols=columns)

    def _draw_axes(self, axes: "Axes", curves: Sequence[Curve]) -> None:
        points = [point for curve in curves for point in curve.drawn]
        xs = sorted({point.x for point in points})
        set_log_x(axes, xs, self.x_label)
        ys = [y for p in points for y in (p.y, p.low, p.high) if y is not None]
        if self.ideal is not None:
            ideal = [self.ideal(x) for x in xs]
            axes.plot(xs, ideal, color=FAINT, linestyle=(0, (1, 1)), linewidth=1.4, zorder=1)
            ys += ideal
        if self.log_y:
            set_log_y(axes, ys, self.y_label, doubling=self.ideal is not None)
        else:
            axes.set_ylim(0, 1.08 * max(ys))
            axes.set_ylabel(self.y_label)
        if self.lost_below is not None and min(ys) < self.lost_below:
            low = log_limits(ys)[0] if self.log_y else 0.0
            axes.axhspan(low, self.lost_below, color=FAINT, alpha=0.14, linewidth=0, zorder=0)
            axes.annotate(
                "slower than one", (0, 0), xycoords="axes fraction",
                xytext=(4, 4), textcoords="offset points", fontsize=8,
            )  # fmt: skip

    def _as_text(self, curves: Iterable[Curve]) -> str:
        parts = []
        for curve in curves:
            points = [
                f"{point.x:g}: {brief(point.y)}"
                + f" ({SHARED})" * point.shared
                + f" ({point.nodes} nodes)" * (point.nodes > 1)
                for point in curve.points
            ]
            if curve.start is not None and curve.start != Point(1, 1):
                points.insert(0, f"{curve.start.x:g}: {brief(curve.start.y)} (baseline)")
            parts.append(f"{curve.name}: {', '.join(points)}")
        return f"{self.y_label} by {self.x_label}. " + "; ".join(parts) + "."


@dataclass(frozen=True)
class _Styles:
    """The colour, marker and line of each curve, the same in every panel of a plot."""

    curves: Sequence[Curve]
    alone: bool
    """Whether all curves are in one panel, so that panels tell them apart."""
    sizes: Mapping[float, str] = field(init=False)

    def __post_init__(self) -> None:
        sizes = ramp(curve.size for curve in self.curves if curve.size is not None)
        object.__setattr__(self, "sizes", sizes)

    def key(self, curve: Curve) -> str:
        """What tells ``curve`` from others in the legend."""
        if self.alone:
            return curve.panel or curve.label
        return curve.label

    def place(self, curve: Curve) -> object:
        """Equal for curves that are drawn on one another: of one size, ours and others'."""
        sized = not self.alone and curve.size is not None and len(self.sizes) > 1
        return curve.size if sized else self.key(curve)

    @cached_property
    def _keys(self) -> list[str]:
        return list(dict.fromkeys(map(self.key, self.curves)))

    def of(self, curve: Curve) -> dict[str, Any]:
        """For ``errorbar``; values from elsewhere are hollow and dotted."""
        index, colour = self._keys.index(self.key(curve)), self._colour(curve)
        alike = [k for k in self._keys if self._size_of(k) == curve.size]
        line = LINES[alike.index(self.key(curve)) % len(LINES)] if not self.alone else LINES[0]
        if curve.size is not None and len(self.sizes) > 1:
            index = list(self.sizes).index(curve.size)
        return {
            "color": colour,
            "marker": MARKERS[index % len(MARKERS)],
            "markersize": 6,
            "markerfacecolor": PAPER if curve.origin else colour,
            "linestyle": (0, (1, 1.6)) if curve.origin else line,
            "linewidth": 1.1 if curve.origin else 1.7,
            "capsize": 3,
        }

    def _size_of(self, key: str) -> float | None:
        return next(curve.size for curve in self.curves if self.key(curve) == key)

    def _colour(self, curve: Curve) -> str:
        if not self.alone and curve.size is not None and len(self.sizes) > 1:
            return self.sizes[curve.size]
        if curve.origin and not self.alone and len(self.sizes) > 1:
            return INK  # its size is not known
        methods = {c.method for c in self.curves if c.panel == curve.panel}
        if not self.alone and len(methods) == 1 and len(self._keys) > 1:
            return ramp(range(len(self._keys)))[self._keys.index(self.key(curve))]
        return colour_of(curve.method or self.key(curve))

    def entries(self, ideal: bool) -> list["Line2D"]:
        """What the legend explains; nothing where there is but one curve without a name."""
        from matplotlib.lines import Line2D

        def ink(label: str, **style: Any) -> Line2D:
            return Line2D([], [], color=INK, linestyle="none", label=label, **style)

        first: dict[str, Curve] = {}
        for curve in sorted(self.curves, key=lambda curve: bool(curve.origin)):
            first.setdefault(self.key(curve), curve)
        order = sorted(first, key=lambda key: (first[key].size or 0, self._keys.index(key)))
        handles = []
        for key in order:
            style = {k: v for k, v in self.of(first[key]).items() if k != "capsize"}
            if key:
                handles.append(Line2D([], [], label=plain(key), **style))
        points = [point for curve in self.curves for point in curve.drawn]
        starts = [c.start for c in self.curves if c.start and c.start != Point(1, 1)]
        if starts:
            handles.append(ink(BASELINE, marker="x"))
        origins = hollow(self.curves)
        handles += [ink(plain(origin), marker="o", markerfacecolor=PAPER) for origin in origins]
        if any(point.low is not None or point.high is not None for point in points):
            handles.append(ink(INTERVAL, marker="|", markersize=10))
        if any(point.shared for point in points):
            handles.append(ink(SHARED, marker="o", markersize=11, markerfacecolor="none"))
        if any(point.nodes > 1 for point in points):
            handles.append(ink(NODES, marker="s", markersize=11, markerfacecolor="none"))
        if ideal:
            handles.append(
                Line2D([], [], color=FAINT, linestyle=(0, (1, 1)), linewidth=1.4, label="ideal")
            )
        return handles if any(first) else []


def _draw_curve(axes: "Axes", curve: Curve, style: dict[str, Any], offset: float) -> None:
    xs = [point.x * offset for point in curve.points]
    ys = [point.y for point in curve.points]
    start = curve.start
    if start is not None:
        line = {name: style[name] for name in ("color", "linestyle", "linewidth")}
        marker = "" if start == Point(1, 1) else "x"
        own = bool(curve.points) and curve.points[0].x <= start.x
        to = [] if own or not curve.points else [(xs[0], ys[0])]
        path = [(start.x * offset, start.y), *to]
        axes.plot(*zip(*path, strict=True), **line, marker=marker, markersize=7, markevery=[0])
    if not curve.points:
        return
    # a point without an interval has no bar
    low = [p.y - p.low if p.low is not None else 0.0 for p in curve.points]
    high = [p.high - p.y if p.high is not None else 0.0 for p in curve.points]
    if any(low) or any(high):
        bars = [[max(0.0, value) for value in part] for part in (low, high)]
        axes.errorbar(xs, ys, yerr=bars, **style)
    else:
        axes.plot(xs, ys, **{name: value for name, value in style.items() if name != "capsize"})


def _draw_outlines(
    axes: "Axes", curves: Iterable[Curve], offsets: Mapping[str, float], style: "_Styles"
) -> None:
    """A ring around each point whose workers shared CPUs, a square if it had several nodes."""
    rings, squares = [], []
    for curve in curves:
        for point in curve.drawn:
            place = (point.x * offsets[style.key(curve)], point.y)
            rings += [place] * point.shared
            squares += [place] * (point.nodes > 1)
    for places, marker, label in ((rings, "o", SHARED), (squares, "s", NODES)):
        if places:
            xs, ys = zip(*places, strict=True)
            axes.plot(xs, ys, marker, markersize=12, markerfacecolor="none", color=INK, label=label)


def _offsets(curves: Sequence[Curve], style: "_Styles") -> dict[str, float]:
    """Factors of x by legend entry, which draw bars with equal x side by side."""
    points = [point for curve in curves for point in curve.drawn]
    if all(point.low is None for point in points):
        return {style.key(curve): 1.0 for curve in curves}
    xs = [point.x for point in points]
    places = list(dict.fromkeys(map(style.place, curves)))
    step = min(_OFFSET, _SPREAD / len(places)) * (math.log2(max(xs) / min(xs)) or 1.0)
    middle = (len(places) - 1) / 2
    return {
        style.key(curve): 2.0 ** (step * (places.index(style.place(curve)) - middle))
        for curve in curves
    }


def _grid(panels: int) -> tuple[int, int]:
    """Rows and columns of the grid of ``panels``."""
    columns = panels if panels <= 3 else 2 if panels == 4 else 3
    return math.ceil(panels / columns), columns
