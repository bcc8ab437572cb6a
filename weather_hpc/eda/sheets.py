"""The figures that are pictures, as JPEG."""

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from weather_hpc import cli
from weather_hpc.eda import equalize
from weather_hpc.eda.augment import previews
from weather_hpc.eda.gather import Gathered
from weather_hpc.eda.kernels import LEVELS, Bytes
from weather_hpc.eda.near_duplicates import Pair
from weather_hpc.eda.tables import straddles
from weather_hpc.files import write_bytes
from weather_hpc.report.style import PALETTE, RC, plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes

INCHES = 1.75
"""Side of a picture."""
DPI = 110
MOST_CLASSES = 11
"""Classes that a sheet shows."""
MOST_PAIRS = 12
MEANS_PER_ROW = 6
AUGMENTED = 3
"""Images that are shown augmented."""


@dataclass(frozen=True)
class Sheet:
    """A sheet of pictures. ``jpeg`` is None where there is nothing to show; ``text`` says why."""

    name: str
    title: str
    text: str
    """What it shows, for those who do not see it."""
    jpeg: bytes | None = None


@dataclass(frozen=True)
class Tile:
    """One place of a sheet: a picture with words above it, or something drawn."""

    title: str
    image: Bytes | None = None
    draw: "Callable[[Axes], None] | None" = None


def write_sheets(folder: Path, found: Gathered, seed: int) -> list[Sheet]:
    """Make every sheet and write it into ``folder``."""
    makers = (_means, _equalized, lambda found: _augmented(found, seed), _pairs)
    sheets = []
    with cli.progress("drawing sheets", total=len(makers)) as advance:
        for make in makers:
            sheet = make(found)
            path = folder / f"{sheet.name}.jpg"
            if sheet.jpeg is None:
                path.unlink(missing_ok=True)  # of an earlier run
            else:
                write_bytes(path, sheet.jpeg)
            sheets.append(sheet)
            advance()
    return sheets


def _means(found: Gathered) -> Sheet:
    tiles = [
        Tile(f"{found.classes[label]} ({found.tally.images[label]})", found.tally.mean_image(label))
        for label in found.present()[:MOST_CLASSES]
    ]
    rows = [tiles[at : at + MEANS_PER_ROW] for at in range(0, len(tiles), MEANS_PER_ROW)]
    names = ", ".join(tile.title for tile in tiles)
    text = f"The mean of all images of each class (and their number): {names}."
    return Sheet("mean_images", "Mean images", text, _sheet(rows))


def _equalized(found: Gathered) -> Sheet:
    rows: list[list[Tile]] = []
    for label in found.present()[:MOST_CLASSES]:
        image = found.image(found.typical(label))
        changed = {name: way(image) for name, way in equalize.WAYS.items()}
        tiles = [Tile(f"{found.classes[label]}, {name}", new) for name, new in changed.items()]
        drawn = _lightness_of(changed, legend=not rows)
        rows.append([*tiles, Tile("lightness", draw=drawn)])
    text = (
        "For the most typical image of each class: as it is, with its lightness equalized, with "
        "CLAHE, and the three histograms of lightness. Equalization spreads them over the whole "
        "range; CLAHE raises local contrast and keeps their shape more."
    )
    return Sheet("equalization", "Histogram equalization", text, _sheet(rows))


def _lightness_of(images: dict[str, Bytes], *, legend: bool) -> "Callable[[Axes], None]":
    def draw(axes: "Axes") -> None:
        for number, (name, image) in enumerate(images.items()):
            counts = np.bincount(equalize.lightness(image).ravel(), minlength=LEVELS)
            # smoothed, because equalized lightness has gaps between its levels
            smooth = np.convolve(counts, np.ones(9) / 9, mode="same")
            axes.plot(smooth, color=PALETTE[number], linewidth=1.2, label=name)
        axes.set_xlim(0, LEVELS - 1)
        axes.set_xticks([0, 128, 255])
        axes.set_yticks([])
        if legend:
            axes.set_ylim(top=1.5 * axes.get_ylim()[1])
            axes.legend(fontsize=6, handlelength=1, loc="upper right")

    return draw


def _augmented(found: Gathered, seed: int) -> Sheet:
    rows = []
    for label in found.present()[:AUGMENTED]:
        image = found.image(found.typical(label))
        changed = {"as it is": image, **previews(image, seed)}
        rows.append([Tile(name, new) for name, new in changed.items()])
    names = ", ".join(tile.title for tile in rows[0])
    text = f"{len(rows)} images, each {names}. Seeded: the same seed shows the same."
    return Sheet("augmentation", "Augmentations", text, _sheet(rows))


def _pairs(found: Gathered) -> Sheet:
    name, title = "near_duplicates", "Near-duplicates on both sides of the split"
    chosen = [pair for pair in found.pairs if straddles(found, pair)][:MOST_PAIRS]
    if not chosen:
        return Sheet(name, title, "no pair was found")
    tiles = [tile for pair in chosen for tile in _pair(found, pair)]
    rows = [tiles[at : at + 4] for at in range(0, len(tiles), 4)]
    names = "; ".join(
        " and ".join(found.item(at)["path"] for at in (pair.first, pair.second)) for pair in chosen
    )
    return Sheet(name, title, f"Pairs side by side: {names}.", _sheet(rows))


def _pair(found: Gathered, pair: Pair) -> list[Tile]:
    return [
        Tile(f"{found.splits[at]}: {Path(found.item(at)['path']).name}", found.image(at))
        for at in (pair.first, pair.second)
    ]


def _sheet(rows: Sequence[Sequence[Tile]]) -> bytes:
    """The tiles in rows, as a JPEG."""
    import warnings

    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns = max(len(row) for row in rows)
    size = (columns * INCHES, len(rows) * (INCHES + 0.25))
    with mpl.rc_context(RC), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph", UserWarning)  # no font has it: drawn as a box
        figure = Figure(figsize=size)
        FigureCanvasAgg(figure)
        grid = figure.subplots(len(rows), columns, squeeze=False)
        for axes in grid.flat:
            axes.set_axis_off()
        for line, row in zip(grid, rows, strict=True):
            for axes, tile in zip(line, row, strict=False):
                _draw(axes, tile)
        jpeg = io.BytesIO()
        options = {"quality": 88}
        figure.savefig(
            jpeg, format="jpeg", dpi=DPI, facecolor="white", transparent=False, pil_kwargs=options
        )
    return jpeg.getvalue()


def _draw(axes: "Axes", tile: Tile) -> None:
    title = plain(tile.title)
    axes.set_title(title if len(title) <= 26 else f"{title[:25]}…", fontsize=7.5)
    if tile.image is not None:
        axes.imshow(tile.image)
    if tile.draw is not None:
        axes.set_axis_on()
        axes.tick_params(labelsize=6)
        tile.draw(axes)
