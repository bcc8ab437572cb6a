"""Which row of ours each row of a reference is the configuration of."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from weather_hpc.analysis.table import ScalingTable
from weather_hpc.collect.reference_row import IDENTITY, SETTINGS, ReferenceRow


@dataclass(frozen=True)
class ReferenceMatch:
    """A row of the reference and our row of the same configuration; None: there is none."""

    theirs: ReferenceRow
    ours: dict[str, Any] | None = None
    problem: str | None = None
    """Why the two cannot be compared."""


def pairs(table: ScalingTable, theirs: Sequence[ReferenceRow]) -> list[ReferenceMatch]:
    """Each of ``theirs`` with the row of ``table`` that is the same configuration.

    A setting that is missing on one side matches any value. ``problem`` says if several rows
    match, or if only other settings differ (epochs, precision, number of images).
    """
    matches = [_match(table, row) for row in theirs]
    taken = [pair.ours for pair in matches if pair.ours is not None]
    result = []
    for pair in matches:
        lines = [other.theirs.where for other in matches if other.ours is pair.ours]
        if pair.ours is not None and len(lines) > 1:
            problem = f"several rows of the reference match: {' and '.join(lines)}"
            pair = ReferenceMatch(pair.theirs, pair.ours, problem)
        elif pair.ours is None and pair.problem is None:
            pair = _match_other_work(table, pair.theirs, taken)
        result.append(pair)
    return result


def _match(table: ScalingTable, row: ReferenceRow) -> ReferenceMatch:
    """``row`` with ours of the same configuration, of the same study if that is there."""
    columns = (*IDENTITY[table.name], *SETTINGS[table.name])
    same = [ours for ours in table.rows if not _differences(columns, ours, row)]
    of_study = [ours for ours in same if ours.get("study") == row.key.get("study")]
    matching = of_study or same
    if len(matching) > 1:
        labels = "; ".join(map(table.label, matching))
        return ReferenceMatch(row, None, f"{len(matching)} configurations here match: {labels}")
    return ReferenceMatch(row, matching[0] if matching else None)


def _match_other_work(
    table: ScalingTable, row: ReferenceRow, taken: Sequence[dict[str, Any]]
) -> ReferenceMatch:
    """``row`` with ours of the same identity, if one alone is left; its settings differ."""
    named = [
        ours for ours in table.rows
        if not _differences(IDENTITY[table.name], ours, row)
        and not any(ours is other for other in taken)
    ]  # fmt: skip
    if len(named) != 1:
        return ReferenceMatch(row)
    return ReferenceMatch(
        row, named[0], "; ".join(_differences(SETTINGS[table.name], named[0], row))
    )


def _differences(columns: Sequence[str], ours: Mapping[str, Any], row: ReferenceRow) -> list[str]:
    """The settings that both sides have with different values."""
    return [
        f"{column} {ours[column]} here, {row.key[column]} in the reference"
        for column in columns
        if ours.get(column) is not None
        and column in row.key
        and not _equal(ours[column], row.key[column])
    ]


def _equal(ours: Any, theirs: Any) -> bool:
    """Whether two settings are equal; tables hold six digits of a number."""
    if isinstance(ours, float) and isinstance(theirs, float):
        return math.isclose(ours, theirs, rel_tol=1e-5)
    if isinstance(ours, str) and isinstance(theirs, str):  # ResNet-50 is resnet50
        return _letters(ours) == _letters(theirs)
    return bool(ours == theirs)


def _letters(text: str) -> str:
    return re.sub(r"[\W_]+", "", text.lower())
