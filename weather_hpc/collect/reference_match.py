"""Which of our configurations a row of a reference is about."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from weather_hpc.analysis.table import ScalingTable
from weather_hpc.collect.reference_csv import IDENTITY, SETTINGS, ReferenceRow


@dataclass(frozen=True)
class Pair:
    """A row of the reference, and what was found of ours for it."""

    theirs: ReferenceRow
    ours: dict[str, Any] | None = None
    problem: str | None = None
    """Why the two cannot be compared."""


def pairs(table: ScalingTable, theirs: Sequence[ReferenceRow]) -> list[Pair]:
    """Each of ``theirs`` with the row of ``table`` that is the same configuration.

    A key that one side does not tell fits any. Where that leaves several to choose from, or where
    only other settings differ (epochs, precision, number of images), ``problem`` says so.
    """
    found = [_exact(table, row) for row in theirs]
    taken = [pair.ours for pair in found if pair.ours is not None]
    result = []
    for pair in found:
        rivals = [p.theirs.where for p in found if p.ours is pair.ours]
        if pair.ours is not None and len(rivals) > 1:
            problem = f"several rows of the reference fit: {' and '.join(rivals)}"
            pair = Pair(pair.theirs, pair.ours, problem)
        elif pair.ours is None and pair.problem is None:
            pair = _other_work(table, pair.theirs, taken)
        result.append(pair)
    return result


def _exact(table: ScalingTable, row: ReferenceRow) -> Pair:
    columns = (*IDENTITY[table.name], *SETTINGS[table.name])
    same = [ours for ours in table.rows if not _differences(columns, ours, row)]
    of_study = [ours for ours in same if ours.get("study") == row.key.get("study")]
    fitting = of_study or same
    if len(fitting) > 1:
        labels = "; ".join(map(table.label, fitting))
        return Pair(row, None, f"{len(fitting)} configurations here fit: {labels}")
    return Pair(row, fitting[0] if fitting else None)


def _other_work(table: ScalingTable, row: ReferenceRow, taken: Sequence[dict[str, Any]]) -> Pair:
    named = [
        ours for ours in table.rows
        if not _differences(IDENTITY[table.name], ours, row)
        and not any(ours is other for other in taken)
    ]  # fmt: skip
    if len(named) != 1:
        return Pair(row)
    return Pair(row, named[0], "; ".join(_differences(SETTINGS[table.name], named[0], row)))


def _differences(columns: Sequence[str], ours: Mapping[str, Any], row: ReferenceRow) -> list[str]:
    """Where both sides tell a key and differ in it."""
    return [
        f"{column} {ours[column]} here, {row.key[column]} in the reference"
        for column in columns
        if ours.get(column) is not None
        and column in row.key
        and not _equal(ours[column], row.key[column])
    ]


def _equal(ours: Any, theirs: Any) -> bool:
    """Whether two settings are the same; tables hold six digits of a number."""
    if isinstance(ours, float) and isinstance(theirs, float):
        return math.isclose(ours, theirs, rel_tol=1e-5)
    return bool(ours == theirs)
