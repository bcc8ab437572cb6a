"""Sheets of pictures, as JPEG: mean images, equalization, augmentations, near-duplicates."""

import io
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from weather_hpc import cli
from weather_hpc.eda.equalization import clahe, equalized, lightness
from weather_hpc.eda.exploration import Exploration
from weather_hpc.eda.kernels import LEVELS, Bytes
from weather_hpc.eda.near_duplicates import NearDuplicatePair
from weather_hpc.eda.tables import straddles
from weather_hpc.files import write_bytes
from weather_hpc.report.colours import PALETTE
from weather_hpc.report.drawing import RC, plain
from weather_hpc.study.recipe import RECIPES, Augmentation

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

EQUALIZATIONS = {"as it is": lambda image: image, "equalized": equalized, "CLAHE": clahe}


@dataclass(frozen=True)
class Sheet:
    """A sheet of pictures. ``jpeg`` is None where there is nothing to show; ``text`` says why."""

    name: str
    title: str
    text: str
    """What it shows, for readers who do not see it."""
    jpeg: bytes | None = None


@dataclass(frozen=True)
class Tile:
    """One place of a sheet: a picture or a plot, with a title."""

    title: str
    image: Bytes | None = None
    draw: "Callable[[Axes], None] | None" = None


def path_of(folder: Path, sheet: Sheet) -> Path:
    """The file of ``sheet`` in ``folder``."""
    return folder / f"{sheet.name}.jpg"


def write_sheets(folder: Path, exploration: Exploration, seed: int) -> list[Sheet]:
    """Write every sheet into ``folder``."""
    makers = (_means, _equalized, partial(_augmented, seed=seed), _pairs)
    sheets = []
    with cli.progress("drawing sheets", total=len(makers)) as advance:
        for make in makers:
            sheet = make(exploration)
            if sheet.jpeg is not None:
                write_bytes(path_of(folder, sheet), sheet.jpeg)
            sheets.append(sheet)
            advance()
    return sheets


def _means(exploration: Exploration) -> Sheet:
    classes, pixels = exploration.classes, exploration.pixels
    tiles = [
        Tile(f"{classes[label]} ({pixels.images[label]})", pixels.mean_image(label))
        for label in exploration.present()[:MOST_CLASSES]
    ]
    rows = [tiles[at : at + MEANS_PER_ROW] for at in range(0, len(tiles), MEANS_PER_ROW)]
    names = ", ".join(tile.title for tile in tiles)
    text = f"The mean of all images of each class (and their number): {names}."
    return Sheet("mean_images", "Mean images", text, _sheet(rows))


def _equalized(exploration: Exploration) -> Sheet:
    rows: list[list[Tile]] = []
    for label in exploration.present()[:MOST_CLASSES]:
        image = exploration.image(exploration.typical(label))
        changed = {method: equalize(image) for method, equalize in EQUALIZATIONS.items()}
        name = exploration.classes[label]
        tiles = [Tile(f"{name}, {method}", new) for method, new in changed.items()]
        drawn = _lightness_of(changed, legend=not rows)
        rows.append([*tiles, Tile("lightness", draw=drawn)])
    text = (
        "For the most typical image of each class: as it is, with its lightness equalized, with "
        "CLAHE, and the three histograms of lightness. Equalization extends them to the whole "
        "range; CLAHE raises local contrast and keeps their shape more."
    )
    return Sheet("equalization", "Histogram equalization", text, _sheet(rows))


def _lightness_of(images: dict[str, Bytes], *, legend: bool) -> "Callable[[Axes], None]":
    def draw(axes: "Axes") -> None:
        for number, (name, image) in enumerate(images.items()):
            counts = np.bincount(lightness(image).ravel(), minlength=LEVELS)
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


def _augmented(exploration: Exploration, seed: int) -> Sheet:
    labels = exploration.present()[:AUGMENTED]
    images = np.stack([exploration.image(exploration.typical(label)) for label in labels])
    try:
        changed = {"as it is": images, **augmented(images, seed)}
    except ImportError:
        print("eda: torch not installed: no sheet of augmentations", file=sys.stderr)
        return Sheet("augmentation", "Augmentations", "not shown, because torch is not installed")
    rows = [[Tile(name, new[at]) for name, new in changed.items()] for at in range(len(labels))]
    text = (
        f"{len(rows)} images, each {', '.join(changed)}: what the training recipes change, one at "
        "a time and together. The same seed shows the same changes."
    )
    return Sheet("augmentation", "Augmentations", text, _sheet(rows))


def augmented(images: Bytes, seed: int) -> dict[str, Bytes]:
    """``images``, uint8 (n, side, side, 3), under each change that a training recipe makes, alone
    and with the recipe's other changes; computed as in training, but every image is flipped.

    Equal seeds give equal pictures. Raises ImportError where torch is not installed.
    """
    import torch

    from weather_hpc.train.augmentation import augment, random_numbers

    numbers = random_numbers(len(images), seed, epoch=0).copy()
    numbers[:, 0] = 0  # in training half of the images are flipped
    changes: dict[str, Augmentation] = {}
    for name, recipe in RECIPES.items():
        used = {field: size for field, size in asdict(recipe.augmentation).items() if size}
        for field, size in used.items():
            title = field if size is True else f"{field} ±{size:.0%}"
            changes[title] = Augmentation(**{field: size})
        if used:
            changes[f"recipe {name}"] = recipe.augmentation
    pixels = torch.from_numpy(images)
    return {
        title: augment(pixels, torch.from_numpy(numbers), change).numpy()
        for title, change in changes.items()
    }


def _pairs(exploration: Exploration) -> Sheet:
    name, title = "near_duplicates", "Near-duplicates on both sides of the split"
    chosen = [pair for pair in exploration.pairs if straddles(exploration, pair)][:MOST_PAIRS]
    if not chosen:
        return Sheet(name, title, "no pair was found")
    tiles = [tile for pair in chosen for tile in _pair(exploration, pair)]
    rows = [tiles[at : at + 4] for at in range(0, len(tiles), 4)]
    paths = [[exploration.item(at)["path"] for at in (pair.first, pair.second)] for pair in chosen]
    names = "; ".join(map(" and ".join, paths))
    return Sheet(name, title, f"Pairs side by side: {names}.", _sheet(rows))


def _pair(exploration: Exploration, pair: NearDuplicatePair) -> list[Tile]:
    tiles = []
    for at in (pair.first, pair.second):
        name = Path(exploration.item(at)["path"]).name
        tiles.append(Tile(f"{exploration.splits[at]}: {name}", exploration.image(at)))
    return tiles


def _sheet(rows: Sequence[Sequence[Tile]]) -> bytes:
    """The tiles in rows, as a JPEG."""
    import warnings

    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns = max(len(row) for row in rows)
    size = (columns * INCHES, len(rows) * (INCHES + 0.25))
    with mpl.rc_context(RC), warnings.catch_warnings():
        # a character that no font has is drawn as a box
        warnings.filterwarnings("ignore", "Glyph", UserWarning)
        figure = Figure(figsize=size)
        FigureCanvasAgg(figure)
        grid = figure.subplots(len(rows), columns, squeeze=False)
        for axes in grid.flat:
            axes.set_axis_off()
        for line, row in zip(grid, rows, strict=True):
            for axes, tile in zip(line, row, strict=False):
                _draw(axes, tile)
        jpeg = io.BytesIO()
        figure.savefig(
            jpeg, format="jpeg", dpi=DPI, facecolor="white", transparent=False,
            pil_kwargs={"quality": 88},
        )  # fmt: skip
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
