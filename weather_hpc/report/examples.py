"""Held-out images that the most accurate run classified right and wrong."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from weather_hpc.errors import UserError
from weather_hpc.report.drawing import DOUBLE_WIDTH, Drawing, plain
from weather_hpc.runs.evaluation import Evaluation, Example, read_strip
from weather_hpc.runs.paths import RunPaths
from weather_hpc.text import clean

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from matplotlib.figure import Figure

    Pixels = npt.NDArray[np.uint8]

NAME, TITLE = "examples", "Examples of held-out images"
_COLUMNS = 6
_LABEL = 20
"""Characters of a class."""


def examples_plot(evaluation: Evaluation, files: RunPaths) -> Drawing:
    """Thumbnails, right ones above wrong ones; nothing where the run left none."""
    if not evaluation.examples:
        return Drawing(NAME, TITLE, "the run left no example images")
    try:
        images = read_strip(files.examples, len(evaluation.examples))
    except UserError as error:
        return Drawing(NAME, TITLE, clean(str(error)))
    names = [clean(name) for name in evaluation.classes]
    pairs = list(zip(evaluation.examples, images, strict=True))
    rows = [
        part
        for right in (True, False)
        if (part := [pair for pair in pairs if pair[0].right == right][:_COLUMNS])
    ]
    parts = [_caption(example, names).replace("\n", ", ") for row in rows for example, _ in row]
    return Drawing(
        NAME,
        TITLE,
        "Of the images classified right and of those classified wrong, the ones of which the "
        f"network was surest, of each class at most one: {'; '.join(parts)}.",
        lambda figure: _draw(figure, rows, names),
        (DOUBLE_WIDTH, 0.3 + 2.75 * len(rows)),
        data=[
            {
                "store_row": example.row,
                "true_class": names[example.true],
                "predicted_class": names[example.predicted],
                "probability": example.probability,
            }
            for row in rows
            for example, _ in row
        ],
    )


def _caption(example: Example, names: Sequence[str]) -> str:
    said = f"{plain(names[example.predicted], _LABEL)} {example.probability:.0%}"
    if example.right:
        return f"✓ {said}"
    return f"✗ {said}\nis {plain(names[example.true], _LABEL)}"


def _draw(
    figure: "Figure", rows: "Sequence[Sequence[tuple[Example, Pixels]]]", names: Sequence[str]
) -> None:
    grid = figure.subplots(len(rows), _COLUMNS, squeeze=False)
    for axes in grid.flat:
        axes.axis("off")
    for line, row in zip(grid, rows, strict=True):
        for axes, (example, pixels) in zip(line, row, strict=False):
            axes.imshow(pixels)
            axes.set_title(_caption(example, names), fontsize=12, loc="left")
