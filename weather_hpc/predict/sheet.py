"""Picture sheets: small pictures in rows, each over what it was named and how surely."""

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
"""What the bar lacks of a probability of 1."""


@dataclass(frozen=True)
class Picture:
    """One image, uint8 (side, side, 3), with its name and its class."""

    image: "Images"
    file: str
    label: str
    probability: float


class SheetWriter:
    """Fills sheet after sheet into a folder: ``sheet-1.png``, ``sheet-2.png``, ..."""

    def __init__(self, folder: Path, *, wanted: bool = True) -> None:
        self.folder = folder
        self.wanted = wanted
        self.waiting: list[Picture] = []
        self.written: list[Path] = []

    def add(self, picture: Picture) -> None:
        """Put ``picture`` on the sheet; a full sheet is written."""
        if not self.wanted:
            return
        self.waiting.append(picture)
        if len(self.waiting) == COLUMNS * ROWS:
            self._write()

    def close(self) -> list[Path]:
        """Write the last sheet, remove those of an earlier, longer call. All that were written."""
        if self.waiting:
            self._write()
        for stale in set(self.folder.glob("sheet-*.png")) - set(self.written):
            stale.unlink()
        return self.written

    def _write(self) -> None:
        path = self.folder / f"sheet-{len(self.written) + 1}.png"
        with atomic_path(path) as temporary:
            _draw(self.waiting).save(temporary, format="PNG")
        self.written.append(path)
        self.waiting = []


def _draw(pictures: list[Picture]) -> "Image.Image":
    from matplotlib import get_data_path
    from PIL import Image, ImageDraw, ImageFont

    columns = min(COLUMNS, len(pictures))
    rows = -(-len(pictures) // columns)
    width, height = SIDE_PX + GAP_PX, SIDE_PX + CAPTION_PX + GAP_PX
    sheet = Image.new("RGB", (columns * width + GAP_PX, rows * height + GAP_PX), PAPER)
    draw = ImageDraw.Draw(sheet)
    # matplotlib's own, since Pillow's has no letter beyond ASCII
    font = ImageFont.truetype(Path(get_data_path(), "fonts", "ttf", "DejaVuSans.ttf"), FONT_PX)
    for index, picture in enumerate(pictures):
        left = GAP_PX + index % columns * width
        top = GAP_PX + index // columns * height
        small = Image.fromarray(picture.image).resize((SIDE_PX, SIDE_PX), Image.Resampling.LANCZOS)
        sheet.paste(small, (left, top))
        bar = top + SIDE_PX
        draw.rectangle((left, bar, left + SIDE_PX - 1, bar + BAR_PX - 1), REST)
        sure = round(picture.probability * SIDE_PX)
        draw.rectangle((left, bar, left + sure - 1, bar + BAR_PX - 1), BAR)
        below = bar + BAR_PX + 3
        label = _fitting(f"{picture.label} {picture.probability:.0%}", font)
        draw.text((left, below), label, INK, font)
        draw.text((left, below + FONT_PX + 4), _fitting(_name(picture.file), font), FAINT_INK, font)
    return sheet


def _name(file: str) -> str:
    """The file and its folder, which often says what it shows."""
    return "/".join(file.split("/")[-2:])


def _fitting(text: str, font: "ImageFont.FreeTypeFont") -> str:
    """``text``, shortened at its end until it is no wider than a picture."""
    if font.getlength(text) <= SIDE_PX:
        return text
    while text and font.getlength(text + "...") > SIDE_PX:
        text = text[:-1]
    return text + "..."
