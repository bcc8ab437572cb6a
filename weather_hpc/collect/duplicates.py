"""Runs that are there twice, whole or in part."""

import dataclasses
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterator, Sequence
from itertools import combinations

from weather_hpc.runs.row import CONFIGURATION_COLUMNS, Code, Finding, Reading, Row, Severity

FEWEST_SHARED = 3
"""Epochs with the same figures that no two runs have by chance."""

MOST_OWNERS = 50
"""An epoch that more runs than this share proves nothing: figures are printed rounded."""


def without_duplicates(readings: Sequence[Reading]) -> list[Reading]:
    """``readings``, in which a run that is there twice counts once; the others are rejected.

    Runs are the same by their content, or where half of the epochs of one are in the other too.
    Of these the one with the fewest errors stays, then with the fewest warnings: a log that was
    copied under the name of another configuration does not fit its new name. Where it fits both,
    the one that stays is in doubt as well. Of one configuration and repeat (or, where those are
    not known, one run_id) the first that was measured stays, else the first.
    """
    copies = _copies(readings)
    doubted = {
        of: number
        for number, of in copies.items()
        if _errors(readings[number]) == _errors(readings[of])
        and _identity(readings[number].row) != _identity(readings[of].row)
    }
    first: dict[Hashable, Row] = {}
    for number, reading in enumerate(readings):
        row, key = reading.row, _key(reading)
        if number not in copies and (key not in first or (first[key].table is None and row.table)):
            first[key] = row
    kept = []
    for number, reading in enumerate(readings):
        row = reading.row
        if number in copies:
            kept.append(_copy(reading, readings[copies[number]]))
            continue
        if number in doubted:
            reading = _doubted(reading, readings[doubted[number]].row)
        same = first[_key(reading)]
        if same is not row:
            reason = f"the same configuration and repeat as {same.source}, which is kept"
            reading = dataclasses.replace(reading, row=rejected(row, reason))
        kept.append(reading)
    return kept


def _key(reading: Reading) -> Hashable:
    """What no two runs have in common."""
    return reading.row.run_id if reading.key is None else reading.key


def rejected(row: Row, reason: str) -> Row:
    """``row`` taken out of its table for ``reason``."""
    return dataclasses.replace(row, table=None, reason=reason)


def _copies(readings: Sequence[Reading]) -> dict[int, int]:
    """By number, the readings that are copies, and what each is a copy of."""
    group = list(range(len(readings)))

    def first(number: int) -> int:
        while group[number] != number:
            number = group[number]
        return number

    for one, other in (*_equal(readings), *_alike(readings)):
        group[first(other)] = first(one)
    members: dict[int, list[int]] = defaultdict(list)
    for number in range(len(readings)):
        members[first(number)].append(number)
    copies: dict[int, int] = {}
    for same in members.values():
        if len(same) > 1:
            original = min(same, key=lambda number: _doubts(readings[number]))
            copies |= {number: original for number in same if number != original}
    return copies


def _equal(readings: Sequence[Reading]) -> Iterator[tuple[int, int]]:
    """Pairs with equal content."""
    seen: dict[Hashable, int] = {}
    for number, reading in enumerate(readings):
        if reading.content is not None:
            before = seen.setdefault(reading.content, number)
            if before != number:
                yield before, number


def _alike(readings: Sequence[Reading]) -> list[tuple[int, int]]:
    """Pairs that share half of the smaller one's epochs."""
    owners: dict[int, list[int]] = defaultdict(list)
    for number, reading in enumerate(readings):
        for epoch in reading.epochs:
            owners[epoch].append(number)
    shared = Counter(
        pair
        for numbers in owners.values()
        if 1 < len(numbers) <= MOST_OWNERS
        for pair in combinations(numbers, 2)
    )

    def half(pair: tuple[int, int]) -> float:
        return min(len(readings[number].epochs) for number in pair) / 2

    return [pair for pair, count in shared.items() if count >= max(FEWEST_SHARED, half(pair))]


def _copy(reading: Reading, original: Reading) -> Reading:
    """``reading``, rejected, with its errors: they tell why it is the copy."""
    row, of = reading.row, original.row
    told = {"time_s": row.time_s, "started_at": row.started_at, "ranks": row.world_size_actual}
    values = ", ".join(f"{name} {value}" for name, value in told.items() if value is not None)
    same = reading.content is not None and reading.content == original.content
    words = "the same run" if same else "in part the same run"
    finding = Finding(
        row.run_id, Severity.ERROR, Code.DUPLICATE_CONTENT,
        f"{row.source} holds {words} as {of.source} ({values})",
    )  # fmt: skip
    reason = f"{'same' if same else 'in part the same'} content as {of.run_id} in {of.source}"
    errors = (f for f in reading.findings if f.severity is Severity.ERROR)
    return dataclasses.replace(reading, row=rejected(row, reason), findings=(finding, *errors))


def _doubted(reading: Reading, copy: Row) -> Reading:
    """``reading``, which stays, though its copy fits another configuration as well."""
    finding = Finding(
        reading.row.run_id, Severity.ERROR, Code.DUPLICATE_CONTENT,
        f"the same run is in {copy.source} as another configuration; which it was cannot be told, "
        "and this one is kept",
    )  # fmt: skip
    return dataclasses.replace(reading, findings=(*reading.findings, finding))


def _identity(row: Row) -> tuple[object, ...]:
    return tuple(getattr(row, name) for name in CONFIGURATION_COLUMNS)


def _errors(reading: Reading) -> int:
    return sum(finding.severity is Severity.ERROR for finding in reading.findings)


def _doubts(reading: Reading) -> tuple[int, int]:
    warnings = sum(finding.severity is Severity.WARNING for finding in reading.findings)
    return _errors(reading), warnings
