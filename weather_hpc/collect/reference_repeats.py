"""Repeats in a reference: rows of one configuration are one row with their medians."""

import dataclasses
import re
from collections.abc import Mapping, Sequence

from weather_hpc.analysis.statistics import median, median_interval
from weather_hpc.collect.reference_heads import is_measured
from weather_hpc.collect.reference_row import MEASUREMENTS, ReferenceRow
from weather_hpc.errors import UserError

FURTHEST = 2.0
"""Repeats that differ by more than this factor are no repeats of one configuration."""

MEDIAN = " (median)"
"""After the lines of a row that is the median of several."""

_NAME_OF_RUN = re.compile(r"(?:run|repeat|rep|trial|seed|try)?\W*\d+|[a-z]?", re.IGNORECASE)


@dataclasses.dataclass(frozen=True)
class Line:
    """A row as it stands in the file."""

    row: ReferenceRow
    number: int
    other: Mapping[str, str]
    """The cells that are not read, by head."""
    repeat: str = ""
    """What a column ``run`` or ``seed`` has."""


def merge_repeats(lines: Sequence[Line]) -> list[ReferenceRow]:
    """One row per configuration, with the medians of its repeats and the intervals of these.

    Raises UserError if rows of the same configuration differ in a column that is not read and may
    be a setting, or in their values by more than FURTHEST: these are no repeats.
    """
    groups: dict[tuple[object, ...], list[Line]] = {}
    for line in lines:
        groups.setdefault(tuple(line.row.key.items()), []).append(line)
    return [_merged(group) if len(group) > 1 else group[0].row for group in groups.values()]


def _merged(group: Sequence[Line]) -> ReferenceRow:
    first = group[0].row
    same = f"the same configuration as in line {group[0].number} ({first.label})"
    for line in group[1:]:
        for head, text in line.other.items():
            was = group[0].other[head]
            # a column without a head has numbers of rows, or names
            numbers = text.isdigit() and was.isdigit()
            if text != was and not (is_measured(head) if head else numbers):
                name = head or "the column without a head"
                raise UserError(
                    f"{line.row.where}: {same}, but {name} is {text or 'empty'}, there "
                    f"{was or 'empty'}; expected the rows of one of them"
                )
    if not all(_NAME_OF_RUN.fullmatch(line.repeat) for line in group):
        raise UserError(
            f"{group[1].row.where}: {same}, but the run is {group[1].repeat!r}, there "
            f"{group[0].repeat!r}; expected the rows of one of them"
        )
    measured = [line for line in group if line.row.values]
    values: dict[str, float] = {}
    for name in MEASUREMENTS:
        found = [line.row.values[name] for line in measured if name in line.row.values]
        middle = median(found)
        if middle is None:
            continue
        if min(found) and max(found) > FURTHEST * min(found):
            raise UserError(
                f"{group[-1].row.where}: {same}, and {name} is from {min(found):g} to "
                f"{max(found):g}; expected a column for what differs"
            )
        values[name] = middle
        for end, value in zip(("low", "high"), median_interval(found), strict=True):
            if value is not None:
                values[f"{name}_{end}"] = value
    lines = ",".join(str(line.number) for line in measured or group)
    where = f"{first.path}:{lines}" + (MEDIAN if len(measured) > 1 else "")
    return dataclasses.replace(first, values=values, where=where)
