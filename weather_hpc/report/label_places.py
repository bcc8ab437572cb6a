"""Labels of points in a plot, placed where they cover no point and no other label."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from weather_hpc.report.colours import INK
from weather_hpc.report.drawing import plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.transforms import Bbox

_LONGEST = 32
"""Characters of a label."""
_AWAY, _FREE = 7.0, 5.0
"""Points between a point and its label, and around the middle of every point that stay free."""
_WIDER = 1.12
"""Fonts of pages are wider than the one that labels are measured with."""
_PLACES = (
    (1, 1), (1, -1), (-1, 1), (-1, -1), (1, 0), (-1, 0), (0, 1), (0, -1),
)  # fmt: skip
"""Where a label is beside its point, by preference: right and above, and so on."""

Label = tuple[str, float, float]
"""Its text, and the x and y of its point."""


def place_labels(
    figure: "Figure",
    axes: "Axes",
    labels: Iterable[Label],
    points: Sequence[tuple[float, float]],
) -> None:
    """Write ``labels``, the first ones first; those that fit nowhere are left out.

    ``points``, in units of the axes, and texts that are there stay free. To be called when
    everything else is drawn: a later change of the layout would move points under labels.
    """
    from matplotlib.transforms import Bbox

    figure.draw_without_rendering()  # computes the layout
    pixels = figure.dpi / 72
    taken = [_around(axes, *point, _FREE * pixels) for point in points]
    taken += [text.get_window_extent() for text in axes.texts]
    frame = axes.get_window_extent()
    for text, *point in labels:
        for right, above in _PLACES:
            away = _AWAY if right == 0 or above == 0 else 0.8 * _AWAY
            label = axes.annotate(
                plain(text, _LONGEST), (point[0], point[1]), xytext=(away * right, away * above),
                textcoords="offset points", fontsize=8, color=INK,
                ha={1: "left", 0: "center", -1: "right"}[right],
                va={1: "bottom", 0: "center", -1: "top"}[above],
            )  # fmt: skip
            label.set_in_layout(False)
            box = _wider(label.get_window_extent(), right)
            if _within(box, frame) and Bbox.count_overlaps(box, taken) == 0:
                taken.append(box)
                break
            label.remove()


def _around(axes: "Axes", x: float, y: float, half: float) -> "Bbox":
    """The square around a point, in pixels."""
    from matplotlib.transforms import Bbox

    across, up = axes.transData.transform((x, y))
    return Bbox.from_extents(across - half, up - half, across + half, up + half)


def _wider(box: "Bbox", right: int) -> "Bbox":
    """The room that ``box`` may need on a page; it grows away from its point."""
    from matplotlib.transforms import Bbox

    more = (_WIDER - 1) * box.width
    left = box.x0 - {1: 0.0, 0: more / 2, -1: more}[right]
    return Bbox.from_extents(left, box.y0, left + _WIDER * box.width, box.y1)


def _within(box: "Bbox", frame: "Bbox") -> bool:
    wide = frame.x0 <= box.x0 and box.x1 <= frame.x1
    return bool(wide and frame.y0 <= box.y0 and box.y1 <= frame.y1)
