"""Speedup of the best configurations, with the fitted law and where more workers stop helping."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from weather_hpc.analysis.baselines import batch_size
from weather_hpc.analysis.law_table import law_curve
from weather_hpc.analysis.laws import Law
from weather_hpc.analysis.series import Series
from weather_hpc.analysis.subject import Stop, Subject, series_label, series_way
from weather_hpc.analysis.table import Table
from weather_hpc.report.colours import FAINT, INK, colour_of, ramp
from weather_hpc.report.curve import Point, identity
from weather_hpc.report.drawing import MARKERS, SINGLE_WIDTH, Drawing, plain
from weather_hpc.study.spec import Stage
from weather_hpc.study.tasks import Device

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NAME = "best_speedup"
SIZE = (SINGLE_WIDTH, 0.64 * SINGLE_WIDTH)
MOST_CURVES = 5

_LAWS = (Law.USL, Law.AMDAHL, Law.GUSTAFSON)
"""In the order in which one is chosen: the first that fits."""


@dataclass(frozen=True)
class _Curve:
    label: str
    colour: str
    points: tuple[Point, ...]
    series: Series


def speedup_plot(subject: Subject, stop: Stop | None, laws: Table | None) -> Drawing:
    """The best curve of each strategy or backend; of a single one, a curve per batch size.

    ``stop`` and ``laws`` are those of the subject's main series.
    """
    unit, title = _unit(subject), f"{subject.of.title}: speedup"
    curves, left_out = _curves(subject)
    if not curves:
        return Drawing(NAME, title, f"no configuration with several {unit}s has a baseline")
    law = _law(stop.series, laws) if stop else None
    return Drawing(
        NAME,
        title,
        _as_text(curves, stop, law, unit),
        lambda figure: _draw(figure, title, unit, curves, stop, law),
        SIZE,
        left_out,
        data=[
            {"curve": curve.label, **point.row("speedup"), **_fit(curve, stop, law)}
            for curve in curves
            for point in curve.points
        ],
    )


def _fit(curve: _Curve, stop: Stop | None, law: Law | None) -> dict[str, str]:
    """The law that is drawn with ``curve``; empty where none is."""
    fitted = law is not None and stop is not None and curve.series is stop.series
    return {"law": str(law)} if fitted else {}


def _unit(subject: Subject) -> str:
    devices = {one.group.settings.device for one in subject.configurations}
    gpus = subject.of.stage == Stage.TRAIN and devices == {Device.CUDA}
    return "GPU" if gpus else subject.of.worker


def _curves(subject: Subject) -> tuple[list[_Curve], int]:
    """The curves to draw, the main series' first, and how many more there are."""
    by_way: dict[str, list[tuple[Series, tuple[Point, ...]]]] = {}
    for series in subject.series:
        points = () if series.problem else _points(subject, series)
        if any(point.x > 1 for point in points) and len(points) > 1:
            by_way.setdefault(series_way(series), []).append((series, points))
    if len(by_way) == 1:
        (found,) = by_way.values()
        sizes = {batch_size(series.points[-1].settings) or 0 for series, _ in found}
        colours = ramp(sizes) if len(sizes) > 1 else {}
        curves = [
            _Curve(
                series.label,
                colours.get(batch_size(series.points[-1].settings) or 0) or _colour(series),
                points,
                series,
            )
            for series, points in found
        ]
    else:
        best = [
            max(found, key=lambda pair: max(point.y for point in pair[1]))
            for found in by_way.values()
        ]
        curves = [_Curve(series.label, _colour(series), points, series) for series, points in best]
    short = [series_label(curve.series) for curve in curves]
    if len(set(short)) == len(short):
        pairs = zip(curves, short, strict=True)
        curves = [replace(curve, label=label) for curve, label in pairs]
    main = subject.main_series
    ordered = sorted(
        curves, key=lambda curve: (curve.series is not main, -max(p.y for p in curve.points))
    )
    kept = [curve for curve in curves if curve in ordered[:MOST_CURVES]]
    return kept, len(curves) - len(kept)


def _colour(series: Series) -> str:
    row = series.points[-1].settings
    return colour_of(str(row.strategy if row.stage == Stage.TRAIN else row.backend or row.engine))


def _points(subject: Subject, series: Series) -> tuple[Point, ...]:
    """The points of ``series`` that have a speedup."""
    points = []
    for group in series.points:
        one = subject.configuration(group)
        if one is not None and one.speedup is not None and not group.errors:
            low, high = one.speedup_interval
            workers, cells = group.settings.workers or 1, identity(subject.stage.table, one.cells)
            shared = bool(group.sharing)
            points.append(Point(workers, one.speedup, low, high, shared, cells=cells))
    return tuple(points)


def _law(series: Series, laws: Table | None) -> Law | None:
    """The law that fits ``series``; None: none does."""
    fitting = {
        row["law"]
        for row in (laws.rows if laws else [])
        if (row["table"], row["series"]) == (series.table, series.label) and not row["refused"]
    }
    return next((law for law in _LAWS if str(law) in fitting), None)


def _draw(
    figure: "Figure",
    title: str,
    unit: str,
    curves: Sequence[_Curve],
    stop: Stop | None,
    law: Law | None,
) -> None:
    axes = figure.subplots()
    xs = sorted({point.x for curve in curves for point in curve.points})
    ys = [y for c in curves for p in c.points for y in (p.y, p.low, p.high) if y]
    axes.set_xscale("log", base=2)
    axes.set_yscale("log", base=2)
    left, right = xs[0] / 1.15, xs[-1] * 1.15
    axes.set_xlim(left, right)
    axes.set_ylim(min([*ys, 0.9]) / 1.15, max([*ys, xs[-1]]) * 1.15)
    axes.plot([left, right], [left, right], color=FAINT, linestyle=(0, (1, 1)), label="ideal")
    drawn = next((curve for curve in curves if stop and curve.series is stop.series), None)
    if stop is not None and drawn is not None:
        if law is not None:
            _draw_law(axes, drawn, law)
        _draw_stop(axes, stop, drawn, right, unit)
    for index, curve in enumerate(curves):
        _draw_curve(axes, curve, MARKERS[index % len(MARKERS)])
    axes.set_xticks(xs, [f"{x:g}" for x in xs])
    axes.yaxis.set_major_formatter(lambda y, _: f"{y:g}")
    axes.minorticks_off()
    axes.set_xlabel(f"{unit}s")
    axes.set_ylabel(f"times as fast as one {unit}")
    axes.set_title(plain(title, 90))
    figure.legend(loc="outside lower left", ncols=2, fontsize=8)


def _draw_curve(axes: "Axes", curve: _Curve, marker: str) -> None:
    xs, ys = [p.x for p in curve.points], [p.y for p in curve.points]
    below = [max(0.0, p.y - (p.low or p.y)) for p in curve.points]
    above = [max(0.0, (p.high or p.y) - p.y) for p in curve.points]
    bars = [below, above] if any(below) or any(above) else None
    axes.errorbar(
        xs, ys, yerr=bars, label=plain(curve.label), color=curve.colour, marker=marker,
        markersize=6, linewidth=1.8, capsize=3,
    )  # fmt: skip


def _draw_law(axes: "Axes", curve: _Curve, law: Law) -> None:
    """The law relative to the speedup of the series' own first point."""
    series = curve.series.with_own_cpus
    at = np.geomspace(1, max(series.workers), 60)
    middle, ends = law_curve(series, law, at)
    scale = next((point.y for point in curve.points if point.x == 1), 1.0)
    axes.plot(at, scale * middle, color=INK, linewidth=1.2, linestyle="--", label=f"{law} fit")
    if ends is not None:
        axes.fill_between(
            at, scale * ends[0], scale * ends[1], color=curve.colour, alpha=0.25, linewidth=0,
            label=f"{law}'s bootstrap interval",
        )  # fmt: skip


def _draw_stop(axes: "Axes", stop: Stop, curve: _Curve, right: float, unit: str) -> None:
    """A mark where scaling stops, and a shade over the sizes that are slower than smaller ones."""
    if stop.slower_from is not None:
        sizes = stop.series.workers
        before = sizes[sizes.index(stop.slower_from) - 1]
        middle = math.sqrt(before * stop.slower_from)
        axes.axvspan(middle, right, color=FAINT, alpha=0.22, linewidth=0)
        words = "more is slower" + ("" if stop.slower_tested else "\n(not tested)")
        axes.text(
            0.98, 0.8, words, transform=axes.transAxes, ha="right", va="top", fontsize=9, color=INK,
        )  # fmt: skip
    if stop.workers < stop.largest:
        place = next((p for p in curve.points if p.x == stop.workers), None)
        if place is not None:
            many = f"{stop.workers} {unit}" + ("" if stop.workers == 1 else "s")
            axes.plot(
                [place.x], [place.y], "o", markersize=15, markerfacecolor="none", color=INK,
                markeredgewidth=1.4, label=f"scaling stops: {many}", zorder=5,
            )  # fmt: skip


def _as_text(curves: Sequence[_Curve], stop: Stop | None, law: Law | None, unit: str) -> str:
    parts = [
        f"{curve.label}: {', '.join(f'{point.x:g}: {point.y:.3g}' for point in curve.points)}"
        for curve in curves
    ]
    text = f"Speedup by {unit}s. {'; '.join(parts)}."
    if law is not None and stop is not None:
        text += f" {law}'s law is fitted to {series_label(stop.series)}."
    if stop is not None and stop.workers < stop.largest:
        text += f" Scaling of {series_label(stop.series)} stops at {stop.workers}."
    if stop is not None and stop.slower_from is not None:
        text += f" It is slower again with {stop.slower_from}."
    return text
