"""Where the blocks of a map of cells lie: all cells alike, as large as the figure allows."""

from collections.abc import Sequence
from dataclasses import dataclass

TOP, BOTTOM = 0.32, 0.36
"""Space above for the title and below for the key, inches."""
_HEAD = 0.42
"""Above the cells of a block: its title and its columns."""
_BETWEEN = 0.2
"""Between two blocks side by side."""
_LARGEST = (2.4, 1.0)
"""Width and height of a cell, however few there are."""
_SHAPE = 1.7
"""Width over height at which a cell holds its text best."""
_LABEL = 0.085
"""Width of a character of a row's label or of a block's title."""


@dataclass(frozen=True)
class Layout:
    """Sizes in inches, from the figure's top left."""

    width: float
    """Of a cell."""
    height: float
    places: tuple[tuple[float, float], ...]
    """The top left cell's corner of each block."""
    firsts: frozenset[int]
    """The blocks that begin a line of blocks."""

    @property
    def gap(self) -> float:
        """Half of the space between two cells."""
        return min(0.035, max(0.02, 0.07 * self.height))


def layout_of(
    columns: Sequence[int], titles: Sequence[str], rows: Sequence[str], size: tuple[float, float]
) -> Layout:
    """The blocks, of so many ``columns`` each, one below its title, in as many lines as give the
    largest cells in a figure of ``size`` inches. ``rows`` are the labels of their rows."""
    left = 0.15 + _LABEL * max(map(len, rows), default=0)
    titled = [0.15 + _LABEL * len(title) for title in titles]
    found = [
        _in_lines(_split(columns, lines), columns, titled, len(rows), left, size)
        for lines in range(1, len(columns) + 1)
    ]
    return max(found, key=lambda layout: min(layout.width / _SHAPE, layout.height))


def _in_lines(
    lines: Sequence[Sequence[int]],
    columns: Sequence[int],
    titled: Sequence[float],
    rows: int,
    left: float,
    size: tuple[float, float],
) -> Layout:
    free_width, free_height = size[0] - left - 0.1, size[1] - TOP - BOTTOM
    width = min(_widest(line, columns, titled, free_width) for line in lines)
    height = min((free_height / len(lines) - _HEAD) / rows, _LARGEST[1])
    places: dict[int, tuple[float, float]] = {}
    y = TOP + (free_height - len(lines) * (_HEAD + rows * height)) / 3
    for line in lines:
        x, y = left, y + _HEAD
        for block in line:
            places[block] = x, y
            x += max(columns[block] * width, titled[block]) + _BETWEEN
        y += rows * height
    ordered = tuple(places[block] for block in range(len(columns)))
    return Layout(width, height, ordered, frozenset(line[0] for line in lines))


def _widest(
    line: Sequence[int], columns: Sequence[int], titled: Sequence[float], free: float
) -> float:
    """The widest cell with which the blocks of ``line`` fit, by bisection."""
    low, high = 0.0, _LARGEST[0]
    for _ in range(20):
        middle = (low + high) / 2
        used = sum(max(columns[block] * middle, titled[block]) for block in line)
        fits = used + _BETWEEN * (len(line) - 1) <= free
        low, high = (middle, high) if fits else (low, middle)
    return low


def _split(columns: Sequence[int], lines: int) -> list[list[int]]:
    """The blocks in at most so many lines, in order, about equally wide."""
    target, used = sum(columns) / lines, 0
    parts: list[list[int]] = [[]]
    for block, count in enumerate(columns):
        if parts[-1] and len(parts) < lines and used + count / 2 > target:
            parts.append([])
            used = 0
        parts[-1].append(block)
        used += count
    return parts
