"""Sheets: what marks say, and that they are told apart without colours."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from weather_hpc.predict.sheet import (
    CELL_HEIGHT_PX,
    COLUMNS,
    GAP_PX,
    ROWS,
    SIDE_PX,
    Picture,
    SheetWriter,
    head_lines,
    remove_old_sheets,
)
from weather_hpc.runs.paths import RunPaths
from weather_hpc.runs.predictions import Accuracy, PredictionSummary

GREY = np.full((64, 64, 3), 128, np.uint8)


def picture(
    top: float = 0.9, true_class: str | None = None, low: bool = False, unlike: bool = False
) -> Picture:
    shares = [("fog", top), ("rain", 1 - top)]
    return Picture(GREY, "new/fog/a.jpg", shares, low, true_class, unlike)


def summary(images: int, accuracy: Accuracy | None = None) -> PredictionSummary:
    return PredictionSummary(
        images=images, classes={"fog": images}, skipped=[], predictions="predictions.csv",
        sheets=[], checkpoint="runs/train-1/checkpoint.pt", run="train-1",
        known_classes=["fog", "rain"], low_confidence=0.5, low_confidence_images=0,
        accuracy=accuracy,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("shown", "mark"),
    [
        (picture(), None),
        (picture(low=True), "? low confidence"),
        (picture(true_class="fog"), "✓ correct"),
        (picture(true_class="fog", low=True), "✓ correct, ? low"),
        (picture(true_class="rain"), "✗ is rain"),
        (picture(true_class="rain", low=True), "✗ is rain, ? low"),
        (picture(unlike=True), "≠ unlike training"),
        (picture(low=True, unlike=True), "≠ unlike training, ? low"),
        (picture(true_class="fog", unlike=True), "✓ correct, ≠ unlike"),
    ],
)
def test_every_mark_is_told_in_words(shown: Picture, mark: str | None) -> None:
    assert (shown.mark and shown.mark[0]) == mark


def drawn(folder: Path, shown: Picture) -> Image.Image:
    """The image of a sheet with one picture, frame included."""
    writer = SheetWriter(RunPaths(folder))
    writer.add(shown)
    (path,) = writer.close(summary(1))
    with Image.open(path) as sheet:
        top = sheet.height - CELL_HEIGHT_PX
        return sheet.crop((GAP_PX, top, GAP_PX + SIDE_PX, top + SIDE_PX))


def test_low_confidence_has_a_dashed_frame_and_a_wrong_class_a_solid_one(tmp_path: Path) -> None:
    def edge(shown: Picture) -> set[tuple[int, ...]]:
        """The colours of a line of pixels along the left edge."""
        image = drawn(tmp_path, shown)
        return {image.getpixel((1, y)) for y in range(SIDE_PX // 4, SIDE_PX // 2)}  # type: ignore[misc]

    assert edge(picture()) == {(128, 128, 128)}
    assert edge(picture(true_class="fog")) == {(128, 128, 128)}
    assert len(edge(picture(true_class="rain"))) == 1
    assert len(edge(picture(low=True))) == 2
    assert (255, 255, 255) in edge(picture(low=True))


def test_full_sheets_are_numbered_and_those_of_a_longer_call_removed(tmp_path: Path) -> None:
    (tmp_path / "sheet-3.png").touch()
    writer = SheetWriter(RunPaths(tmp_path))
    for _ in range(COLUMNS * ROWS + 1):
        writer.add(picture())
    sheets = writer.close(summary(COLUMNS * ROWS + 1))
    assert [path.name for path in sheets] == ["sheet-1.png", "sheet-2.png"]
    remove_old_sheets(tmp_path, list(map(str, sheets)))
    assert not (tmp_path / "sheet-3.png").exists()
    heights = []
    for path in sheets:
        with Image.open(path) as sheet:
            heights.append(sheet.height)
    assert heights[0] > 4 * heights[1]


def test_the_head_says_network_accuracy_and_classes() -> None:
    known = Accuracy(images=4, correct=3, accuracy=0.75, low=0.3, high=0.95)
    network, truth, classes, marks = head_lines(summary(5, known), 1, 2)
    assert network == "5 new images, classified by train-1 (sheet 1 of 2)"
    assert truth == "Accuracy 75.0% (3 of 4 images, 95 % interval 30.0% to 95.0%)"
    assert classes == "Known classes: fog, rain"
    assert "below 0.5" in marks
    assert "Accuracy not known" in head_lines(summary(5), 1, 1)[1]
