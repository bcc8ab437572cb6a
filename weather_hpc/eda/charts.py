"""Charts, as SVG and PNG."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from weather_hpc import cli
from weather_hpc.dataset.catalogue import Split
from weather_hpc.eda import kernels
from weather_hpc.eda.exploration import Exploration
from weather_hpc.eda.tables import class_counts
from weather_hpc.files import write_bytes, write_text
from weather_hpc.report.colours import FAINT, PALETTE
from weather_hpc.report.drawing import MARKERS, SINGLE_WIDTH, Drawing, plain, render

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CHANNEL_COLOURS = dict(zip(kernels.CHANNELS, ("#D55E00", "#009E73", "#0072B2"), strict=True))
SPLIT_COLOURS = {Split.TRAIN: "#0072B2", Split.TEST: "#E69F00"}
PER_ROW = 3
"""Histograms in a row."""
MOST_POINTS = 5000
"""Points of the map and of the sizes; of more images, every n-th is drawn."""


def write_charts(folder: Path, exploration: Exploration) -> list[tuple[Drawing, str]]:
    """Draw every chart into ``folder``; the charts with their SVG."""
    drawings = [make(exploration) for make in (_counts, _sizes, _histograms, _map)]
    charts = []
    with cli.progress("drawing charts", total=len(drawings)) as advance:
        for drawing in drawings:
            if drawing.draw is None:
                continue
            drawn = render(drawing.name, drawing.draw, drawing.size)
            write_text(folder / f"{drawing.name}.svg", drawn.svg)
            write_bytes(folder / f"{drawing.name}.png", drawn.png)
            charts.append((drawing, drawn.svg))
            advance()
    return charts


def _counts(exploration: Exploration) -> Drawing:
    rows = class_counts(exploration)
    counts = {split: [row[split] for row in rows] for split in Split}
    totals = [row["images"] for row in rows]

    def draw(figure: "Figure") -> None:
        axes = figure.add_subplot()
        names, left = _class_names(exploration), np.zeros(len(exploration.classes))
        for split, values in counts.items():
            if any(values):
                colour = SPLIT_COLOURS[split]
                bars = axes.barh(names, values, left=left, label=split, color=colour)
                left += values
        axes.bar_label(bars, [str(total) for total in totals], padding=4)
        axes.invert_yaxis()
        axes.set_xlabel("images")
        axes.set_title("Images per class")
        axes.grid(visible=False, axis="y")
        axes.margins(x=0.1)
        axes.legend(loc="upper left", bbox_to_anchor=(1, 1))

    counted = ", ".join(
        f"{n}: {total}" for n, total in zip(exploration.classes, totals, strict=True)
    )
    height = 1.2 + 0.36 * len(exploration.classes)
    text = f"Images per class, by split. {counted}."
    return Drawing("class_counts", "Images per class", text, draw, (SINGLE_WIDTH, height))


def _sizes(exploration: Exploration) -> Drawing:
    sizes = exploration.headers.size_array()
    width, height = sizes[_evenly(len(sizes)), :2].T

    def draw(figure: "Figure") -> None:
        axes = figure.add_subplot()
        axes.plot(
            width, height, ".", markersize=4, alpha=0.5, color=PALETTE[0], markeredgewidth=0,
            rasterized=True,
        )  # fmt: skip
        ends = [min(width.min(), height.min()) * 0.9, max(width.max(), height.max()) * 1.1]
        axes.plot(ends, ends, "--", color=FAINT, linewidth=1, label="square")
        for scale in (axes.set_xscale, axes.set_yscale):
            scale("log", base=2)
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.set(xlabel="width, pixels", ylabel="height, pixels", title="Sizes of the files")
        axes.legend(loc="upper left")

    text = (
        f"Width against height of the files, each a point. Widths {sizes[:, 0].min()} to "
        f"{sizes[:, 0].max()}, heights {sizes[:, 1].min()} to {sizes[:, 1].max()} pixels."
    )
    return Drawing("sizes", "Sizes of the files", text, draw if len(sizes) else None)


def _histograms(exploration: Exploration) -> Drawing:
    labels = exploration.present()
    lines = -(-len(labels) // PER_ROW)
    shares = {}
    for label in labels:
        counts = exploration.pixels.class_histogram(label)
        shares[label] = counts / counts.sum(axis=1, keepdims=True)
    # a peak at black or white would flatten everything else
    top = 1.15 * max(share[:, 4:-4].max() for share in shares.values())

    def draw(figure: "Figure") -> None:
        grid = figure.subplots(
            lines, min(PER_ROW, len(labels)), sharex=True, sharey=True, squeeze=False
        )
        for axes, label in zip(grid.flat, labels, strict=False):
            for channel, levels in zip(kernels.CHANNELS, shares[label], strict=True):
                axes.plot(levels * 100, color=CHANNEL_COLOURS[channel], linewidth=1.2)
            axes.set(title=plain(exploration.classes[label]), xlim=(0, 255), ylim=(0, top * 100))
        for axes in grid.flat[len(labels) :]:
            axes.set_axis_off()
        for axes in grid.flat[max(0, len(labels) - grid.shape[1]) : len(labels)]:
            axes.tick_params(labelbottom=True)  # the lowest of its column, if not of the grid
        figure.supxlabel("level", fontsize=10)
        figure.supylabel("share of pixels, %", fontsize=10)
        handles = grid.flat[0].get_lines()
        figure.legend(handles, kernels.CHANNELS, loc="outside upper right", ncols=3)

    means = [
        f"{exploration.classes[label]}: "
        + ", ".join(
            f"{channel} {mean * 255:.0f}"
            for channel, mean in zip(
                kernels.CHANNELS,
                kernels.mean_std(exploration.pixels.class_histogram(label))[0],
                strict=True,
            )
        )
        for label in labels
    ]
    text = f"How often each level occurs, by class and channel. Means: {'; '.join(means)}."
    size = (2 * SINGLE_WIDTH, 0.9 + 2.1 * lines)
    return Drawing("histograms", "Colour histograms per class", text, draw, size)


def _map(exploration: Exploration) -> Drawing:
    chosen = _evenly(len(exploration.positions))
    points, labels = exploration.positions[chosen], exploration.labels[chosen]

    def draw(figure: "Figure") -> None:
        axes = figure.add_subplot()
        for number, label in enumerate(exploration.present()):
            x, y = points[labels == label].T
            axes.plot(
                x, y, MARKERS[number % len(MARKERS)], markersize=4, alpha=0.65, linestyle="",
                color=PALETTE[number % len(PALETTE)], markeredgewidth=0, rasterized=True,
                label=plain(exploration.classes[label]),
            )  # fmt: skip
        axes.set_title("Map of the images")
        for axis, name, share in zip("xy", ("first", "second"), exploration.explained, strict=True):
            label_of: Callable[[str], object] = getattr(axes, f"set_{axis}label")
            label_of(f"{name} principal component ({share:.0%} of the variance)")
        axes.legend(loc="upper left", bbox_to_anchor=(1, 1), markerscale=1.6)

    centres = "; ".join(_centre(exploration, label) for label in exploration.present())
    text = (
        "Each image by the two principal components of its colour moments and gradients. "
        f"Median of each class: {centres}."
    )
    return Drawing("map", "Map of the images", text, draw, (SINGLE_WIDTH, 5.2))


def _centre(exploration: Exploration, label: int) -> str:
    x, y = np.median(exploration.positions[exploration.labels == label], axis=0)
    return f"{exploration.classes[label]} ({x:.2f}, {y:.2f})"


def _evenly(count: int) -> list[int]:
    chosen = np.linspace(0, max(0, count - 1), min(count, MOST_POINTS)).astype(np.int64)
    return [int(position) for position in chosen]


def _class_names(exploration: Exploration) -> list[str]:
    """The classes' names as labels of a figure."""
    return [plain(name) for name in exploration.classes]
