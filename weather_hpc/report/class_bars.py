"""The images of each class as bars."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from weather_hpc.report.colours import PALETTE
from weather_hpc.report.drawing import SINGLE_WIDTH, Drawing, plain
from weather_hpc.runs.images_summary import ClassCount, ImagesSummary

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_CLASSES = 30
"""Classes in the plot: of more, as many of the largest as of the smallest."""
_LABEL = 24
"""Characters of a class."""


def class_bars(summary: ImagesSummary, name: str) -> Drawing:
    """Images to train with and held-out ones, the largest class first."""
    title = "Images by class"
    ordered = sorted(summary.classes.items(), key=lambda pair: (-pair[1].images, pair[0]))
    if not ordered:
        return Drawing(name, title, "no class has images")
    shown = ordered
    if len(ordered) > MOST_CLASSES:
        shown = [*ordered[: MOST_CLASSES // 2], *ordered[-MOST_CLASSES // 2 :]]
    parts = [f"{each}: {count.train} and {count.test}" for each, count in shown]
    return Drawing(
        name,
        title,
        f"Training and held-out images of each class. {'; '.join(parts)}.",
        lambda figure: _draw(figure, title, shown),
        (SINGLE_WIDTH, 1.6 + 0.26 * len(shown)),
        left_out=len(ordered) - len(shown),
        data=[{"class": each, "train": count.train, "test": count.test} for each, count in shown],
    )


def _draw(figure: "Figure", title: str, shown: Sequence[tuple[str, ClassCount]]) -> None:
    axes = figure.subplots()
    places = range(len(shown))
    train = [count.train for _, count in shown]
    test = [count.test for _, count in shown]
    axes.barh(places, train, height=0.7, color=PALETTE[0], label="training")
    axes.barh(places, test, left=train, height=0.7, color=PALETTE[1], label="held out")
    for place, (_, count) in zip(places, shown, strict=True):
        axes.annotate(
            str(count.images), (count.images, place), xytext=(4, 0),
            textcoords="offset points", va="center", fontsize=9,
        )  # fmt: skip
    axes.set_yticks(places, [plain(name, _LABEL) for name, _ in shown])
    axes.invert_yaxis()
    axes.grid(axis="y", visible=False)
    axes.margins(x=0.1)
    axes.set_xlim(left=0)
    axes.set_xlabel("images")
    axes.set_title(title)
    figure.legend(loc="outside lower left", ncols=2)
