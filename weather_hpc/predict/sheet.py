"""Sheets of images: thumbnails in rows, each with its predicted class and probability."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from weather_hpc.files import atomic_path

if TYPE_CHECKING:
    from PIL import Image, ImageFont

    from weather_hpc.predict.stage import Images

COLUMNS, ROWS = 6, 6
SIDE_PX, BAR_PX, CAPTION_PX, GAP_PX = 192, 5, 46, 10
FONT_PX = 13
INK, FAINT_INK, BAR, PAPER = "#1a1a1a", "#6a6a6a", "#3b6ea8", "white"
REST = "#d9dfe6"
"""The rest of the bar, up to a probability of 1."""


@dataclass(frozen=True)
class Picture:
    """One image, uint8 (side, side, 3), with its file and predicted class."""

    image: "Images"
    file: str
    label: str
    probability: float


class SheetWriter:
    """Writes ``sheet-1.png``, ``sheet-2.png``, ... into a folder; none where not ``enabled``."""

    def __init__(self, folder: Path, *, enabled: bool = True) -> None:
        self.folder = folder
        self.enabled = enabled
        self.pictures: list[Picture] = []
        self.written: list[Path] = []

    def add(self, picture: Picture) -> None:
        """Add ``picture`` to the sheet; write the sheet when it is full."""
        if not self.enabled:
            return
        self.pictures.append(picture)
        if len(self.pictures) == COLUMNS * ROWS:
            self._write()

    def close(self) -> list[Path]:
        """Write the last sheet and remove those of an earlier, longer call; returns the sheets."""
        if self.pictures:
            self._write()
        for stale in set(self.folder.glob("sheet-*.png")) - set(self.written):
            stale.unlink()
        return self.written

    def _write(self) -> None:
        path = self.folder / f"sheet-{len(self.written) + 1}.png"
        with atomic_path(path) as temporary:
            _draw(self.pictures).save(temporary, format="PNG")
        self.written.append(path)
        self.pictures = []


def _draw(pictures: list[Picture]) -> "Image.Image":
    from matplotlib import get_data_path
    from PIL import Image, ImageDraw, ImageFont

    columns = min(COLUMNS, len(pictures))
    rows = -(-len(pictures) // columns)
    width, height = SIDE_PX + GAP_PX, SIDE_PX + CAPTION_PX + GAP_PX
    sheet = Image.new("RGB", (columns * width + GAP_PX, rows * height + GAP_PX), PAPER)
    draw = ImageDraw.Draw(sheet)
    # matplotlib's font: Pillow's has only ASCII
    font = ImageFont.truetype(Path(get_data_path(), "fonts", "ttf", "DejaVuSans.ttf"), FONT_PX)
    for index, picture in enumerate(pictures):
        left = GAP_PX + index % columns * width
        top = GAP_PX + index // columns * height
        small = Image.fromarray(picture.image).resize((SIDE_PX, SIDE_PX), Image.Resampling.LANCZOS)
        sheet.paste(small, (left, top))
        bar = top + SIDE_PX
        draw.rectangle((left, bar, left + SIDE_PX - 1, bar + BAR_PX - 1), REST)
        filled = round(picture.probability * SIDE_PX)
        draw.rectangle((left, bar, left + filled - 1, bar + BAR_PX - 1), BAR)
        below = bar + BAR_PX + 3
        label = _fitting(f"{picture.label} {picture.probability:.0%}", font)
        draw.text((left, below), label, INK, font)
        draw.text((left, below + FONT_PX + 4), _fitting(_name(picture.file), font), FAINT_INK, font)
    return sheet


def _name(file: str) -> str:
    """The file and its folder, which is often its class."""
    return "/".join(file.split("/")[-2:])


def _fitting(text: str, font: "ImageFont.FreeTypeFont") -> str:
    """``text``, shortened at its end to the width of a picture."""
    if font.getlength(text) <= SIDE_PX:
        return text
    while text and font.getlength(text + "...") > SIDE_PX:
        text = text[:-1]
    return text + "..."
