"""Sheets of images: thumbnails in rows, each with its three most probable classes.

Below each image is a bar per class, as long as its probability. A prediction of low confidence has
a dashed frame and a question mark, an image unlike the training images such a frame and a ≠, a
wrong one a frame and a cross, a correct one a tick: no mark is shown by its colour alone.
"""

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from weather_hpc.files import write_bytes
from weather_hpc.runs.paths import RunPaths
from weather_hpc.runs.predictions import PredictionSummary

if TYPE_CHECKING:
    from PIL import Image, ImageDraw, ImageFont

    from weather_hpc.predict.network import Images

COLUMNS, ROWS = 6, 6
FEWEST_COLUMNS = 4
"""The head needs so much room."""
SIDE_PX, GAP_PX, FRAME_PX, DASH_PX = 192, 12, 4, 12
FONT_PX, HEAD_FONT_PX, LINE_PX, BAR_PX = 13, 16, 19, 16
CAPTION_PX = 3 * (BAR_PX + 3) + 2 * LINE_PX + 4
CELL_WIDTH_PX, CELL_HEIGHT_PX = SIDE_PX + GAP_PX, SIDE_PX + CAPTION_PX + GAP_PX

INK, FAINT_INK, PAPER = "#1a1a1a", "#5c5c5c", "white"
FIRST_BAR, OTHER_BAR, TRACK = "#8fbbe3", "#cfdfee", "#eef1f4"
LOW, WRONG, RIGHT = "#b35c00", "#b00020", "#1a6b36"
"""Colours of marks, dark enough for text on white."""


@dataclass(frozen=True)
class Picture:
    """One image, uint8 (side, side, 3), with its file and most probable classes."""

    image: "Images"
    file: str
    top: list[tuple[str, float]]
    """Up to three classes with their probabilities, the most probable first."""
    low_confidence: bool
    true_class: str | None
    unlike: bool = False
    """Whether it is unlike the training images."""

    @property
    def wrong(self) -> bool:
        """Whether the true class is known and another one was predicted."""
        return self.true_class is not None and self.true_class != self.top[0][0]

    @property
    def mark(self) -> tuple[str, str] | None:
        """What is to be said about the prediction, and its colour; None where nothing is."""
        low = ", ? low" if self.low_confidence else ""
        low += ", ≠ unlike" if self.unlike else ""
        if self.wrong:
            return f"✗ is {self.true_class}{low}", WRONG
        if self.true_class is not None:
            return f"✓ correct{low}", LOW if low else RIGHT
        if self.unlike:
            return ("≠ unlike training" + (", ? low" if self.low_confidence else ""), LOW)
        return ("? low confidence", LOW) if low else None


class SheetWriter:
    """Writes ``sheet-1.png``, ``sheet-2.png``, ... into a folder; none where not ``enabled``."""

    def __init__(self, paths: RunPaths, *, enabled: bool = True) -> None:
        self.paths = paths
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

    def close(self, summary: PredictionSummary) -> list[Path]:
        """Write the last sheet and the heads of all; returns the sheets."""
        from PIL import Image

        if self.pictures:
            self._write()
        for number, path in enumerate(self.written, start=1):
            with Image.open(path) as body:
                sheet = _with_head(body, head_lines(summary, number, len(self.written)))
            _save(sheet, path)
        return self.written

    def _write(self) -> None:
        path = self.paths.sheet(len(self.written) + 1)
        _save(_body(self.pictures), path)
        self.written.append(path)
        self.pictures = []


def remove_old_sheets(folder: Path, sheets: Sequence[str]) -> None:
    """Remove the sheets in ``folder`` that are not among ``sheets``: of an earlier, longer call."""
    for stale in set(folder.glob("sheet-*.png")) - set(map(Path, sheets)):
        stale.unlink()


def head_lines(summary: PredictionSummary, number: int, sheets: int) -> list[str]:
    """The head of sheet ``number``: network, accuracy, classes, meaning of the marks."""
    page = f" (sheet {number} of {sheets})" if sheets > 1 else ""
    network = summary.run or summary.checkpoint
    truth = (
        f"Accuracy {summary.accuracy}"
        if summary.accuracy
        else "Accuracy not known: no folder has the name of a class that the network knows"
    )
    unlike = "" if summary.temperature is None else " Dashed and ≠: unlike the training images."
    marks = (
        f"Dashed frame and ?: probability below {summary.low_confidence:g}.{unlike} "
        "✗ and the true class: wrong. ✓: correct."
    )
    return [
        f"{summary.images} new images, classified by {network}{page}",
        truth,
        f"Known classes: {', '.join(summary.known_classes)}",
        marks,
    ]


def _save(sheet: "Image.Image", path: Path) -> None:
    content = io.BytesIO()  # Pillow does not say why it could not write a file
    sheet.save(content, format="PNG")
    write_bytes(path, content.getvalue())


def _body(pictures: Sequence[Picture]) -> "Image.Image":
    from PIL import Image, ImageDraw

    columns = min(COLUMNS, max(FEWEST_COLUMNS, len(pictures)))
    rows = -(-len(pictures) // columns)
    size = (columns * CELL_WIDTH_PX + GAP_PX, rows * CELL_HEIGHT_PX + GAP_PX)
    sheet = Image.new("RGB", size, PAPER)
    draw = ImageDraw.Draw(sheet)
    for index, picture in enumerate(pictures):
        row, column = divmod(index, columns)
        left, top = GAP_PX + column * CELL_WIDTH_PX, GAP_PX + row * CELL_HEIGHT_PX
        small = Image.fromarray(picture.image).resize((SIDE_PX, SIDE_PX), Image.Resampling.LANCZOS)
        sheet.paste(small, (left, top))
        _frame(draw, picture, left, top)
        _caption(draw, picture, left, top + SIDE_PX + 4)
    return sheet


def _frame(draw: "ImageDraw.ImageDraw", picture: Picture, left: int, top: int) -> None:
    """A solid frame for a wrong prediction, a dashed one for low confidence, or none."""
    right, bottom = left + SIDE_PX - 1, top + SIDE_PX - 1
    if picture.wrong:
        draw.rectangle((left, top, right, bottom), outline=WRONG, width=FRAME_PX)
    if not (picture.low_confidence or picture.unlike):
        return
    draw.rectangle((left, top, right, bottom), outline=PAPER, width=FRAME_PX)
    colour = WRONG if picture.wrong else LOW
    for start in range(0, SIDE_PX, 2 * DASH_PX):
        end = min(start + DASH_PX, SIDE_PX) - 1
        for edge in (0, SIDE_PX - FRAME_PX):
            far = edge + FRAME_PX - 1
            draw.rectangle((left + start, top + edge, left + end, top + far), colour)
            draw.rectangle((left + edge, top + start, left + far, top + end), colour)


def _caption(draw: "ImageDraw.ImageDraw", picture: Picture, left: int, top: int) -> None:
    font = _font(FONT_PX)
    for rank, (name, share) in enumerate(picture.top):
        line = top + rank * (BAR_PX + 3)
        bottom = line + BAR_PX - 1
        draw.rectangle((left, line, left + SIDE_PX - 1, bottom), TRACK)
        if filled := round(share * SIDE_PX):
            colour = OTHER_BAR if rank else FIRST_BAR
            draw.rectangle((left, line, left + filled - 1, bottom), colour)
        percent = f"{share:.0%}"
        room = SIDE_PX - font.getlength(percent) - 14
        draw.text((left + 4, line), _fitting(name, font, room), INK, font)
        draw.text((left + SIDE_PX - 4, line), percent, INK, font, anchor="ra")
    below = top + 3 * (BAR_PX + 3)
    if picture.mark is not None:
        text, colour = picture.mark
        draw.text((left, below), _fitting(text, font, SIDE_PX), colour, font)
    name = _fitting(_name(picture.file), font, SIDE_PX)
    draw.text((left, below + LINE_PX), name, FAINT_INK, font)


def _with_head(body: "Image.Image", lines: Sequence[str]) -> "Image.Image":
    from PIL import Image, ImageDraw

    room = body.width - 2 * GAP_PX
    wrapped = [
        (part, HEAD_FONT_PX if number == 0 else FONT_PX)
        for number, line in enumerate(lines)
        for part in _wrapped(line, _font(HEAD_FONT_PX if number == 0 else FONT_PX), room)
    ]
    height = sum(size + 6 for _, size in wrapped) + GAP_PX
    sheet = Image.new("RGB", (body.width, height + body.height), PAPER)
    sheet.paste(body, (0, height))
    draw, top = ImageDraw.Draw(sheet), GAP_PX
    for text, size in wrapped:
        draw.text((GAP_PX, top), text, INK, _font(size))
        top += size + 6
    return sheet


@cache
def _font(size: int) -> "ImageFont.FreeTypeFont":
    from matplotlib import get_data_path
    from PIL import ImageFont

    # matplotlib's font: Pillow's has only ASCII
    return ImageFont.truetype(Path(get_data_path(), "fonts", "ttf", "DejaVuSans.ttf"), size)


def _name(file: str) -> str:
    """The file and its folder, which is often its class."""
    return "/".join(file.split("/")[-2:])


def _wrapped(text: str, font: "ImageFont.FreeTypeFont", room: float) -> Iterator[str]:
    """``text`` in lines of at most ``room`` pixels, broken between words."""
    line = ""
    for word in text.split(" "):
        longer = f"{line} {word}" if line else word
        if line and font.getlength(longer) > room:
            yield line
            longer = word
        line = _fitting(longer, font, room)
    yield line


def _fitting(text: str, font: "ImageFont.FreeTypeFont", room: float) -> str:
    """``text``, shortened at its end to ``room`` pixels."""
    if font.getlength(text) <= room:
        return text
    while text and font.getlength(text + "...") > room:
        text = text[:-1]
    return text + "..."
