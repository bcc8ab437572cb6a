"""Loss and accuracy against epoch and against seconds: medians, the range of repeats shaded."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from weather_hpc.analysis.statistics import median
from weather_hpc.report.colours import colour_of
from weather_hpc.report.drawing import LINES, MARKERS, SINGLE_WIDTH, Drawing, plain
from weather_hpc.report.learned import Learned
from weather_hpc.runs.epochs import Epoch
from weather_hpc.text import brief

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TEST, TRAINING = "held-out images", "training images"
_BAND = 0.18
"""Opacity of the range of the repeats."""


@dataclass(frozen=True)
class _Measure:
    """What is drawn against epochs or seconds."""

    name: str
    title: str
    test: Callable[[Epoch], float | None]
    training: Callable[[Epoch], float | None]


_MEASURES = (
    _Measure("accuracy", "Accuracy", lambda e: e.test_accuracy, lambda e: e.accuracy),
    _Measure("loss", "Loss", lambda e: e.test_loss, lambda e: e.loss),
)


class _Point(NamedTuple):
    """The median over the repeats at one epoch, and the smallest and the largest of them."""

    x: float
    middle: float
    low: float
    high: float


def learning_plots(found: Sequence[Learned]) -> list[Drawing]:
    """Accuracy and loss by epoch and by seconds, of those of ``found`` with two epochs or more."""
    curves = [one for one in found if one.epochs > 1]
    return [
        _drawing(measure, curves, by_time=by_time)
        for measure in _MEASURES
        for by_time in (False, True)
    ]


def _drawing(measure: _Measure, found: Sequence[Learned], *, by_time: bool) -> Drawing:
    by = "seconds" if by_time else "epoch"
    name, title = f"learning_{measure.name}_{by}", f"{measure.title} by {by}"
    shown = [one for one in found if _curves(one, measure, by_time=by_time)]
    if not shown:
        return Drawing(name, title, "no run recorded more than one epoch")
    return Drawing(
        name,
        title,
        _as_text(shown, measure, by_time=by_time),
        lambda figure: _draw(figure, title, shown, measure, by_time=by_time),
        (SINGLE_WIDTH, 4.1 + 0.2 * len(shown)),
        data=list(_rows(shown, measure, by_time=by_time)),
    )


def _curves(one: Learned, measure: _Measure, *, by_time: bool) -> dict[str, list[_Point]]:
    """The curves of ``one`` by which images they are of; without those that have no value."""
    of = {TEST: measure.test, TRAINING: measure.training}
    curves = {images: _points(one, value, by_time=by_time) for images, value in of.items()}
    return {images: points for images, points in curves.items() if points}


def _points(one: Learned, value: Callable[[Epoch], float | None], *, by_time: bool) -> list[_Point]:
    points = []
    for number in range(1, one.epochs + 1):
        known = [(each, y) for each in one.at(number) if (y := value(each)) is not None]
        times = [each.measured_s for each, _ in known if each.measured_s is not None]
        x = median(times) if by_time else float(number)
        if known and x is not None:
            ys = [y for _, y in known]
            points.append(_Point(x, median(ys) or 0.0, min(ys), max(ys)))
    return points


def _draw(
    figure: "Figure", title: str, found: Sequence[Learned], measure: _Measure, *, by_time: bool
) -> None:
    from matplotlib.ticker import MaxNLocator

    axes = figure.subplots()
    both = False
    for place, one in enumerate(found):
        curves = _curves(one, measure, by_time=by_time)
        both |= len(curves) == 2
        _draw_one(axes, one, curves, place)
    axes.set_title(title)
    axes.set_xlabel("measured time, s" if by_time else "epoch")
    axes.set_ylabel(measure.name)
    axes.set_xlim(left=0)
    if not by_time:
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    if measure.name == "accuracy":
        axes.set_ylim(0, 1)
    else:
        axes.set_ylim(bottom=0)
    figure.legend(loc="outside lower left", ncols=1)


def _draw_one(axes: "Axes", one: Learned, curves: dict[str, list[_Point]], place: int) -> None:
    """Held-out images with markers, training images as a thin line of the same colour."""
    colour = colour_of(one.strategy)
    label: str | None = plain(one.label)
    for images, points in curves.items():
        xs = [point.x for point in points]
        test = images == TEST
        axes.plot(
            xs,
            [point.middle for point in points],
            color=colour,
            linestyle=LINES[place % len(LINES)] if test else ":",
            linewidth=1.8 if test else 1.4,
            marker=MARKERS[place % len(MARKERS)] if test or len(curves) == 1 else None,
            markersize=5,
            label=label,
        )
        label = None  # once in the legend
        if test or len(curves) == 1:
            low, high = ([point[end] for point in points] for end in (2, 3))
            axes.fill_between(xs, low, high, color=colour, alpha=_BAND, linewidth=0)


def _rows(
    found: Sequence[Learned], measure: _Measure, *, by_time: bool
) -> Iterator[dict[str, Any]]:
    """The values drawn."""
    for one in found:
        for images, points in _curves(one, measure, by_time=by_time).items():
            for point in points:
                yield {
                    "configuration": one.label,
                    "images": images,
                    "measured_s" if by_time else "epoch": point.x,
                    measure.name: point.middle,
                    f"{measure.name}_low": point.low,
                    f"{measure.name}_high": point.high,
                }


def _as_text(found: Sequence[Learned], measure: _Measure, *, by_time: bool) -> str:
    unit = " s" if by_time else ""
    parts = [
        f"{one.label}, {images}: "
        + ", ".join(f"{brief(p.x)}{unit}: {p.middle:.3g}" for p in points)
        for one in found
        for images, points in _curves(one, measure, by_time=by_time).items()
    ]
    return f"{measure.title} by {'measured time' if by_time else 'epoch'}. {'; '.join(parts)}."
