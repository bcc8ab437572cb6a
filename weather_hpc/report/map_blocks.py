"""The blocks of the strategy map, and those of their rows and columns that fit."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from weather_hpc.analysis.baselines import batch_size, method
from weather_hpc.analysis.comparison import Configuration
from weather_hpc.analysis.subject import Subject
from weather_hpc.analysis.table import training_words
from weather_hpc.study.spec import Stage

MOST_BLOCKS, MOST_ROWS, MOST_COLUMNS = 6, 8, 10
"""As many as can be read; of more rows and columns those with the most cells are shown."""


@dataclass(frozen=True)
class Block:
    """The configurations of one strategy on one device."""

    title: str
    name: str
    """The strategy, which has a colour; of other stages empty."""
    cells: Mapping[tuple[Any, int], Configuration]
    """By row (batch size, or method) and workers."""


def blocks_of(subject: Subject) -> list[Block]:
    """The blocks of ``subject``; of configurations with the same row and column the fastest."""
    found: dict[tuple[str, str], dict[tuple[Any, int], Configuration]] = {}
    for one in subject.configurations:
        row = one.group.settings
        training = row.stage == Stage.TRAIN
        title = (training_words(row.strategy, row.device), str(row.strategy))
        title = title if training else ("", "")
        place = (batch_size(row) if training else str(method(row)), row.workers or 0)
        cells = found.setdefault(title, {})
        if place not in cells or (one.group.speedup(cells[place].group) or 0.0) > 1:
            cells[place] = one
    return [Block(*title, cells) for title, cells in found.items()]


def fitting(blocks: Sequence[Block]) -> tuple[list[Block], int]:
    """The blocks, rows and columns that fit, and how many cells do not."""
    kept = blocks[:MOST_BLOCKS]
    rows = _fullest((row for block in kept for row, _ in block.cells), MOST_ROWS)
    fitting = []
    for block in kept:
        columns = _fullest((column for _, column in block.cells), MOST_COLUMNS)
        cells = {
            place: one
            for place, one in block.cells.items()
            if place[0] in rows and place[1] in columns
        }
        fitting.append(replace(block, cells=cells))
    count = sum(len(block.cells) for block in blocks) - sum(len(block.cells) for block in fitting)
    return [block for block in fitting if block.cells], count


def _fullest(values: Iterable[Any], most: int) -> set[Any]:
    counts: dict[Any, int] = {}
    for value in values:
        counts[value] = counts.get(value, 0) + 1
    return set(sorted(counts, key=lambda value: -counts[value])[:most])


def row_labels(blocks: Sequence[Block]) -> list[Any]:
    """Batch sizes in order; methods in the order of the table."""
    rows = list(dict.fromkeys(row for block in blocks for row, _ in block.cells))
    if all(isinstance(row, str) for row in rows):
        return rows
    return sorted(rows, key=lambda row: (row is None, row or 0))
