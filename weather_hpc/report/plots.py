"""Plots of the tables, as SVG for the page and PNG for slides."""

import io
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from weather_hpc import cli
from weather_hpc.analysis.table import ScalingTable
from weather_hpc.files import write_bytes, write_text
from weather_hpc.report.series import Series, by_batch, by_workers
from weather_hpc.report.style import FAINT, LONGEST_LABEL, MOST_SERIES, RC, series_style

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True)
class Plot:
    """One figure. ``svg`` is None where there was nothing to show; ``text`` then says why."""

    name: str
    """Of its files, and its id on the page."""
    title: str
    text: str
    """What it shows, for those who do not see it; or why there is none."""
    svg: str | None = None
    left_out: int = 0
    """Series that did not fit."""


@dataclass(frozen=True)
class _Figure:
    """What to draw."""

    name: str
    title: str
    x: str
    y: str
    series: Callable[[], list[Series]]
    nothing: str
    ideal: Callable[[float], float] | None = None
    doubling: bool = False
    """Whether y, as x, goes in doublings: the ideal speedup is then a straight line."""


def write_plots(folder: Path, tables: Sequence[ScalingTable]) -> list[Plot]:
    """Draw every plot that has something to show into ``folder``, as .svg and .png.

    A plot of an earlier collection that now has nothing to show is removed.
    """
    figures = [figure for table in tables for figure in _figures(table)]
    plots = []
    with cli.progress("drawing plots", total=len(figures)) as advance:
        for figure in figures:
            plots.append(_write(folder, figure))
            advance()
    return plots


def _figures(table: ScalingTable) -> list[_Figure]:
    workers = "workers" if table.name == "preprocess" else "world size"
    baseline = "no configuration has a baseline to be compared with"
    figures = [
        _Figure(
            f"{table.name}_time",
            f"{table.title}: time",
            workers,
            "time, s",
            lambda: by_workers(table, "time_s"),
            "no run was measured",
        ),
        _Figure(
            f"{table.name}_speedup",
            f"{table.title}: speedup",
            workers,
            "speedup",
            lambda: by_workers(table, "speedup"),
            baseline,
            ideal=lambda workers: workers,
            doubling=True,
        ),
        _Figure(
            f"{table.name}_efficiency",
            f"{table.title}: efficiency",
            workers,
            "efficiency (speedup per worker)",
            lambda: by_workers(table, "efficiency"),
            baseline,
            ideal=lambda workers: 1.0,
        ),
    ]
    if table.name == "training":
        batch = _Figure(
            "training_batch",
            "Training: time by batch size",
            "batch size per device",
            "time, s",
            lambda: _several_batches(table),
            "no configuration was measured with more than one batch size",
        )
        figures.append(batch)
    return figures


def _several_batches(table: ScalingTable) -> list[Series]:
    return [series for series in by_batch(table) if len(series.points) > 1]


def _write(folder: Path, figure: _Figure) -> Plot:
    svg_file, png_file = folder / f"{figure.name}.svg", folder / f"{figure.name}.png"
    series = figure.series()
    if not series:
        svg_file.unlink(missing_ok=True)
        png_file.unlink(missing_ok=True)
        return Plot(figure.name, figure.title, figure.nothing)
    shown = sorted(series, key=lambda s: -len(s.points))[:MOST_SERIES]
    svg, png = _draw(figure, [s for s in series if s in shown])
    write_text(svg_file, svg)
    write_bytes(png_file, png)
    left_out = len(series) - len(shown)
    return Plot(figure.name, figure.title, _describe(figure, shown), svg, left_out)


def _draw(figure: _Figure, series: Sequence[Series]) -> tuple[str, bytes]:
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    # the salt makes the same figure the same file, and its ids unlike other figures'
    with mpl.rc_context(RC | {"svg.hashsalt": figure.name}), warnings.catch_warnings():
        # a character that no font has is drawn as a box
        warnings.filterwarnings("ignore", "Glyph", UserWarning)
        canvas = FigureCanvasAgg(Figure())
        axes = canvas.figure.add_subplot()
        for index, line in enumerate(series):
            _draw_series(axes, line, index)
        _draw_axes(axes, figure, series)
        svg, png = io.BytesIO(), io.BytesIO()
        canvas.figure.savefig(svg, format="svg", metadata={"Date": None})
        canvas.figure.savefig(png, format="png", dpi=160, transparent=False, facecolor="white")
    return svg.getvalue().decode(), png.getvalue()


def _draw_series(axes: "Axes", series: Series, index: int) -> None:
    xs = [point[0] for point in series.points]
    ys = [point[1] for point in series.points]
    # a point without an interval gets a bar of no length
    below = [y - low if low is not None else 0.0 for _, y, low, _ in series.points]
    above = [high - y if high is not None else 0.0 for _, y, _, high in series.points]
    bars = [[max(0.0, value) for value in ends] for ends in (below, above)]
    axes.errorbar(xs, ys, yerr=bars, label=_plain(series.label), **series_style(index))


def _draw_axes(axes: "Axes", figure: _Figure, series: Sequence[Series]) -> None:
    xs = sorted({point[0] for line in series for point in line.points})
    axes.set_xscale("log", base=2)
    if len(xs) == 1:
        axes.set_xlim(xs[0] / 2, xs[0] * 2)
    axes.set_xticks(xs, [f"{x:g}" for x in xs])
    axes.minorticks_off()
    if figure.ideal is not None:
        ideal = [figure.ideal(x) for x in xs]
        axes.plot(xs, ideal, color=FAINT, linestyle="--", linewidth=1.2, label="ideal")
    if figure.doubling:
        axes.set_yscale("log", base=2)
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    else:
        axes.set_ylim(bottom=0)
    axes.set_xlabel(figure.x)
    axes.set_ylabel(figure.y)
    axes.set_title(figure.title)
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))


def _plain(label: str) -> str:
    """Short enough to leave room for the plot; nothing in it is mathematics or hides it."""
    short = label if len(label) <= LONGEST_LABEL else f"{label[: LONGEST_LABEL - 1]}…"
    return short.replace("$", r"\$").lstrip("_")


def _describe(figure: _Figure, series: Sequence[Series]) -> str:
    parts = []
    for line in series:
        points = ", ".join(f"{x:g}: {y:.3g}" for x, y, _, _ in line.points)
        parts.append(f"{line.label}: {points}")
    return f"{figure.y} by {figure.x}. " + "; ".join(parts) + "."
