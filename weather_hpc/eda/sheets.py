"""The figures that are pictures, as JPEG."""

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from weather_hpc import cli
from weather_hpc.eda.exploration import Exploration
from weather_hpc.eda.kernels import GREY, LEVELS, Bytes, load_opencv
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


def write_sheets(folder: Path, found: Exploration, seed: int) -> list[Sheet]:
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


def _means(found: Exploration) -> Sheet:
    tiles = [
        Tile(f"{found.classes[label]} ({found.tally.images[label]})", found.tally.mean_image(label))
        for label in found.present()[:MOST_CLASSES]
    ]
    rows = [tiles[at : at + MEANS_PER_ROW] for at in range(0, len(tiles), MEANS_PER_ROW)]
    names = ", ".join(tile.title for tile in tiles)
    text = f"The mean of all images of each class (and their number): {names}."
    return Sheet("mean_images", "Mean images", text, _sheet(rows))


def _equalized(found: Exploration) -> Sheet:
    rows: list[list[Tile]] = []
    for label in found.present()[:MOST_CLASSES]:
        image = found.image(found.typical(label))
        changed = {name: way(image) for name, way in EQUALIZATIONS.items()}
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


def _augmented(found: Exploration, seed: int) -> Sheet:
    rows = []
    for label in found.present()[:AUGMENTED]:
        image = found.image(found.typical(label))
        changed = {"as it is": image, **previews(image, seed)}
        rows.append([Tile(name, new) for name, new in changed.items()])
    names = ", ".join(tile.title for tile in rows[0])
    text = f"{len(rows)} images, each {names}. Seeded: the same seed shows the same."
    return Sheet("augmentation", "Augmentations", text, _sheet(rows))


def _pairs(found: Exploration) -> Sheet:
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


def _pair(found: Exploration, pair: Pair) -> list[Tile]:
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


CLIP_LIMIT = 2.0
"""How many times the mean a bin of a tile's histogram may hold; what is above is shared out."""


TILES = 8
"""Tiles along each side."""


def lightness(image: Bytes) -> Bytes:
    """CIELAB's L of ``image``, uint8 (side, side, 3) RGB -> uint8 (side, side), 255 for white."""
    cv2 = load_opencv()
    plane: Bytes = cv2.cvtColor(image, cv2.COLOR_RGB2LAB)[..., 0]
    return plane


def equalized(image: Bytes) -> Bytes:
    """``image`` with its levels of lightness made equally frequent, as far as one map can."""
    return _with_lightness(image, load_opencv().equalizeHist(lightness(image)))


def clahe(image: Bytes) -> Bytes:
    """The same tile by tile, with contrast limited and tiles blended (Zuiderveld 1994)."""
    tiles = load_opencv().createCLAHE(clipLimit=CLIP_LIMIT, tileGridSize=(TILES, TILES))
    return _with_lightness(image, tiles.apply(lightness(image)))


EQUALIZATIONS = {"as it is": lambda image: image, "equalized": equalized, "CLAHE": clahe}


def _with_lightness(image: Bytes, plane: Bytes) -> Bytes:
    cv2 = load_opencv()
    lab = cv2.cvtColor(image, cv2.COLOR_RGB2LAB)
    lab[..., 0] = plane
    changed: Bytes = cv2.cvtColor(lab, cv2.COLOR_LAB2RGB)
    return changed


SMALLEST_CROP = 0.6
"""Of the image's area."""


LARGEST_TURN = 12.0
"""Degrees."""


JITTER = 0.3
"""Brightness, contrast and saturation are multiplied by 1 ± this."""


ERASED = 0.3
"""Side of the square that is erased, of the image's side."""


Augmentation = Callable[[Bytes, np.random.Generator], Bytes]


def flip(image: Bytes, rng: np.random.Generator) -> Bytes:
    """Left and right exchanged."""
    return np.ascontiguousarray(image[:, ::-1])


def crop(image: Bytes, rng: np.random.Generator) -> Bytes:
    """A random square part, brought back to full size."""
    cv2 = load_opencv()
    side = len(image)
    part = max(1, round(side * rng.uniform(SMALLEST_CROP, 1.0) ** 0.5))
    top, left = rng.integers(0, side - part + 1, size=2)
    chosen = np.ascontiguousarray(image[top : top + part, left : left + part])
    resized: Bytes = cv2.resize(chosen, (side, side), interpolation=cv2.INTER_LINEAR)
    return resized


def turn(image: Bytes, rng: np.random.Generator) -> Bytes:
    """Turned a little about its centre; corners are filled by reflection."""
    cv2 = load_opencv()
    side = len(image)
    centre = ((side - 1) / 2, (side - 1) / 2)
    matrix = cv2.getRotationMatrix2D(centre, rng.uniform(-LARGEST_TURN, LARGEST_TURN), 1.0)
    turned: Bytes = cv2.warpAffine(image, matrix, (side, side), borderMode=cv2.BORDER_REFLECT_101)
    return turned


def jitter(image: Bytes, rng: np.random.Generator) -> Bytes:
    """Brightness, contrast and saturation changed, in this order."""
    brightness, contrast, saturation = rng.uniform(1 - JITTER, 1 + JITTER, size=3)
    pixels = image.astype(np.float32) * brightness
    mean = (pixels @ np.array(GREY, dtype=np.float32)).mean() / sum(GREY)
    pixels = mean + contrast * (pixels - mean)
    grey = (pixels @ np.array(GREY, dtype=np.float32))[..., None] / sum(GREY)
    pixels = grey + saturation * (pixels - grey)
    changed: Bytes = np.rint(pixels.clip(0, 255)).astype(np.uint8)
    return changed


def erase(image: Bytes, rng: np.random.Generator) -> Bytes:
    """A square of it replaced by its mean colour."""
    side = len(image)
    part = max(1, round(side * ERASED))
    top, left = rng.integers(0, side - part + 1, size=2)
    changed = image.copy()
    changed[top : top + part, left : left + part] = image.mean(axis=(0, 1))
    return changed


def together(image: Bytes, rng: np.random.Generator) -> Bytes:
    """Crop, turn, jitter, and every second time a flip."""
    for augmentation in (crop, turn, jitter):
        image = augmentation(image, rng)
    return flip(image, rng) if rng.random() < 0.5 else image


AUGMENTATIONS: dict[str, Augmentation] = {
    "flip": flip,
    "crop": crop,
    "turn": turn,
    "colour jitter": jitter,
    "erase": erase,
    "together": together,
}


def previews(image: Bytes, seed: int) -> dict[str, Bytes]:
    """``image`` under each augmentation; equal seeds give equal pictures."""
    return {
        name: augmentation(image, np.random.default_rng([seed, number]))
        for number, (name, augmentation) in enumerate(AUGMENTATIONS.items())
    }
