"""The work of exploration by its parts, as stacked bars."""

from typing import TYPE_CHECKING, Any

from weather_hpc.analysis.table import ScalingTable
from weather_hpc.report.colours import PALETTE
from weather_hpc.report.drawing import DOUBLE_WIDTH, MOST_BARS, Drawing
from weather_hpc.report.short_label import ShortLabels
from weather_hpc.report.stacked_bars import (
    BAR_HEIGHT,
    bars_as_text,
    label_bars,
    share_bars,
    stack_bars,
)
from weather_hpc.runs.record import EDA_PARTS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLOURS = {f"{part}_s": colour for part, colour in zip(EDA_PARTS, PALETTE, strict=False)}
"""By the parts' columns."""


def part_bars(table: ScalingTable) -> Drawing:
    """A bar per configuration of the table of exploration; of more than fit, the longest ones."""
    name, title = f"{table.name}_parts", f"{table.title}: parts of the work"
    rows = [row for row in table.rows if any(row[column] for column in COLOURS)]
    if not rows:
        return Drawing(name, title, "no measured run recorded the parts of its work")
    longest = sorted(rows, key=_work, reverse=True)[:MOST_BARS]
    shown = [row for row in rows if row in longest]
    bars = [{column: row[column] for column in COLOURS} for row in shown]
    labels, short = [table.label(row) for row in shown], ShortLabels(table)

    def draw(figure: "Figure") -> None:
        left, right = figure.subplots(1, 2, sharey=True)
        stack_bars(left, bars, COLOURS)
        left.set_xlabel("all workers together, s (median over the runs)")
        share_bars(right, bars, COLOURS)
        right.set_xlabel("share, %")
        label_bars(figure, left, title, [short.of(row) for row in shown])

    return Drawing(
        name,
        title,
        "Seconds of all workers together for each part of the work, by configuration. "
        + bars_as_text(zip(labels, bars, strict=True)),
        draw,
        size=(DOUBLE_WIDTH, 1.2 + BAR_HEIGHT * len(shown)),
        left_out=len(rows) - len(shown),
        data=[
            {"configuration": label} | seconds for label, seconds in zip(labels, bars, strict=True)
        ],
    )


def _work(row: dict[str, Any]) -> float:
    return sum(row[column] or 0.0 for column in COLOURS)
