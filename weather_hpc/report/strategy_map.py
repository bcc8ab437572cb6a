"""The strategy map: time and speedup of every configuration of one work, as a heat map.

One block per strategy and device, batch size down and ranks across; of other stages one block,
method down and workers across. Fills and the text on them are fixed, so that they can be read on a
light and on a dark page; outlines have the page's own text colour.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from weather_hpc.analysis.candidates import ties
from weather_hpc.analysis.comparison import Configuration
from weather_hpc.analysis.statistics import FEWEST_REPEATS
from weather_hpc.analysis.subject import Subject
from weather_hpc.report.cell_colours import UNKNOWN, cell_colour, text_colour
from weather_hpc.report.colours import FAINT, INK, colour_of
from weather_hpc.report.curve import identity
from weather_hpc.report.drawing import SINGLE_WIDTH, Drawing, plain
from weather_hpc.report.map_blocks import Block, blocks_of, fitting, row_labels
from weather_hpc.report.map_layout import BOTTOM, Layout, layout_of
from weather_hpc.study.spec import Stage
from weather_hpc.text import significant

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NAME = "strategy_map"
SIZE = (SINGLE_WIDTH, 0.64 * SINGLE_WIDTH)
_OUTLINES = {
    "best": "fastest", "untested": "fastest, not tested", "tied": "statistically tied with it",
}  # fmt: skip
"""Kinds of outlines and what they mean."""

_LARGEST_FONT, _SMALLEST_FONT = 11.0, 5.5
_CHARACTER = 0.62
"""Width of a character, as a share of its size."""


def strategy_map(subject: Subject, *, trusted: bool) -> Drawing:
    """The map of ``subject``. The fastest and its ties are outlined if the numbers are
    ``trusted``."""
    blocks, left_out = fitting(blocks_of(subject))
    title = f"{subject.of.title}: {_value_name(subject)} and speedup"
    rows = row_labels(blocks)
    outlined = _outlined(subject) if trusted else {}
    return Drawing(
        NAME,
        title,
        _as_text(subject, blocks),
        lambda figure: _draw(figure, f"{title}, {_axes_name(subject)}", blocks, rows, outlined),
        SIZE,
        left_out,
        data=[_values(subject, one, outlined) for block in blocks for one in block.cells.values()],
    )


def _values(subject: Subject, one: Configuration, outlined: Mapping[int, str]) -> dict[str, Any]:
    """What the cell of ``one`` shows."""
    row = identity(subject.stage.table, one.cells)
    if one.group.errors:
        return row | {"audit_errors": one.cells["audit_errors"]}
    row |= {_value_column(one): _value(one), "speedup": one.speedup}
    outline = outlined.get(id(one.group))
    return row | ({"outline": _OUTLINES[outline]} if outline else {})


def _value_column(one: Configuration) -> str:
    return "images_per_s" if one.group.is_weak else "time_s"


def _value(one: Configuration) -> float | None:
    """The seconds of ``one``; weak scaling: its images per second."""
    return one.group.median(_value_column(one))


def _outlined(subject: Subject) -> dict[int, str]:
    """How the cell of each group is outlined, by the group's id."""
    best = subject.fastest
    if best is None or subject.work is None or len(subject.work.candidates) == 1:
        return {}
    tied = {id(other.group): "tied" for other in ties(best, subject.work.candidates)}
    known = len(best.group.speeds) >= FEWEST_REPEATS
    return tied | {id(best.group): "best" if known else "untested"}


def _draw(
    figure: "Figure",
    title: str,
    blocks: Sequence[Block],
    rows: Sequence[Any],
    outlined: Mapping[int, str],
) -> None:
    figure.set_layout_engine("none")
    width, height = figure.get_size_inches()
    axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    axes.set_xlim(0, width)
    axes.set_ylim(height, 0)  # inches from the top left
    axes.set_axis_off()
    axes.text(0.05, 0.17, plain(title, 90), fontsize=11, va="center", color=INK)
    labels = ["" if row is None else str(row) for row in rows]
    columns = [sorted({column for _, column in block.cells}) for block in blocks]
    titles = [block.title for block in blocks]
    layout = layout_of(list(map(len, columns)), titles, labels, (width, height))
    speedups = [one.speedup for b in blocks for one in b.cells.values() if one.speedup]
    font = _font(layout, blocks)
    for number, (block, sizes) in enumerate(zip(blocks, columns, strict=True)):
        x, y = layout.places[number]
        if block.name:
            colour = colour_of(block.name)
            _rectangle(axes, x + 0.03, y - 0.34, 0.09, 0.09, facecolor=colour, edgecolor="none")
        begin = x + (0.18 if block.name else 0.03)
        axes.text(begin, y - 0.29, plain(block.title), fontsize=9, va="center", color=INK)
        for column, size in enumerate(sizes):
            middle = x + (column + 0.5) * layout.width
            axes.text(middle, y - 0.1, f"{size}", fontsize=8, ha="center", va="center", color=INK)
        for line, row in enumerate(rows):
            top = y + line * layout.height
            if number in layout.firsts:
                middle = top + layout.height / 2
                axes.text(
                    x - 0.08, middle, labels[line], fontsize=8, ha="right", va="center", color=INK
                )
            for column, size in enumerate(sizes):
                one = block.cells.get((row, size))
                corner = x + column * layout.width, top
                _cell(axes, corner, layout, one, font, speedups)
                if one is not None and id(one.group) in outlined:
                    extent = layout.width, layout.height
                    _outline(axes, corner, extent, layout.gap, outlined[id(one.group)])
    _key(axes, height - BOTTOM / 2, speedups, outlined, layout)


def _font(layout: Layout, blocks: Sequence[Block]) -> float:
    """The size of the text in cells, points."""
    texts = [text for block in blocks for one in block.cells.values() for text in _texts(one)]
    longest = max(map(len, texts), default=1)
    wide = (layout.width - 3 * layout.gap) * 72 / (longest * _CHARACTER)
    return max(
        _SMALLEST_FONT, min(_LARGEST_FONT, wide, (layout.height - 2 * layout.gap) * 72 / 2.35)
    )


def _texts(one: Configuration) -> list[str]:
    """Time (weak scaling: images per second) and speedup."""
    if one.group.errors:
        return ["error"]
    speedup = [] if one.speedup is None else [_factor(one.speedup)]
    return [significant(_value(one) or 0.0), *speedup]


def _factor(speedup: float) -> str:
    """Cells are read beside each other: all have as many digits."""
    return f"{significant(speedup)}×"


def _rectangle(axes: "Axes", x: float, y: float, width: float, height: float, **style: Any) -> None:
    from matplotlib.patches import Rectangle

    axes.add_patch(Rectangle((x, y), width, height, **style))


def _cell(
    axes: "Axes",
    corner: tuple[float, float],
    layout: Layout,
    one: Configuration | None,
    font: float,
    speedups: Sequence[float],
) -> None:
    (x, y), width, height = corner, layout.width, layout.height
    gap = layout.gap
    inner = (x + gap, y + gap, width - 2 * gap, height - 2 * gap)
    if one is None:
        _rectangle(axes, *inner, facecolor="none", edgecolor=FAINT, linewidth=0.5, alpha=0.6)
        return
    texts = _texts(one)
    if one.group.errors:
        _rectangle(axes, *inner, facecolor="none", edgecolor=INK, linewidth=0.8, hatch="///")
        colour = INK
    else:
        fill = cell_colour(one.speedup, speedups)
        _rectangle(axes, *inner, facecolor=fill, edgecolor="none")
        colour = text_colour(fill)
    axes.text(
        x + width / 2, y + height / 2, "\n".join(texts), fontsize=font, ha="center", va="center",
        color=colour, linespacing=1.1,
    )  # fmt: skip


def _outline(
    axes: "Axes", corner: tuple[float, float], size: tuple[float, float], gap: float, kind: str
) -> None:
    """Around the cell, in the gap to its neighbours, where it has the page's background."""
    style: dict[str, Any] = {"linewidth": 72 * gap}
    if kind == "tied":
        style = {"linewidth": 50 * gap, "linestyle": (0, (3, 1.5))}
    inset = gap / 3
    _rectangle(
        axes, corner[0] + inset, corner[1] + inset, size[0] - 2 * inset, size[1] - 2 * inset,
        facecolor="none", edgecolor=INK, **style,
    )  # fmt: skip


def _key(
    axes: "Axes",
    y: float,
    speedups: Sequence[float],
    outlined: Mapping[int, str],
    layout: Layout,
) -> None:
    """What colours and outlines mean."""
    x, height = 0.1, 0.2
    for kind, words in _OUTLINES.items():
        if kind in outlined.values():
            _outline(axes, (x, y - height / 2), (0.34, height), layout.gap, kind)
            axes.text(x + 0.42, y, words, fontsize=8, va="center", color=INK)
            x += 0.6 + 0.068 * len(words)
    ends = dict.fromkeys((min([1.0, *speedups]), 1.0, max([1.0, *speedups])))
    x = axes.get_xlim()[1] - 0.62 * len(ends) - 0.1
    for value in ends if speedups else ():
        fill = cell_colour(value, speedups)
        _rectangle(axes, x, y - height / 2, 0.58, height, facecolor=fill, edgecolor="none")
        axes.text(
            x + 0.29, y, _factor(value), fontsize=8, ha="center", va="center",
            color=text_colour(fill),
        )  # fmt: skip
        x += 0.62
    if not speedups:
        _rectangle(axes, x - 1.2, y - height / 2, 0.3, height, facecolor=UNKNOWN, edgecolor="none")
        axes.text(x - 0.82, y, "no baseline", fontsize=8, va="center", color=INK)


def _value_name(subject: Subject) -> str:
    weak = subject.configurations[0].group.is_weak
    return "images per second" if weak else "seconds"


def _axes_name(subject: Subject) -> str:
    of = subject.of
    rows = "batch size" if of.stage == Stage.TRAIN else of.method
    return f"{rows} by {of.worker}s"


def _as_text(subject: Subject, blocks: Sequence[Block]) -> str:
    parts = []
    for block in blocks:
        cells = [
            f"{subject.label(one.group)}: {' '.join(_texts(one))}" for one in block.cells.values()
        ]
        parts.append("; ".join(cells))
    begin = f"{_value_name(subject).capitalize()} and speedup by configuration. "
    return begin + "; ".join(parts) + "."
