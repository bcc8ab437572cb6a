"""Runs whose results appear twice, in full or in part."""

import dataclasses
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterator, Sequence
from itertools import combinations

from weather_hpc.runs.row import CONFIGURATION_COLUMNS, Code, Finding, Reading, Row, Severity

FEWEST_SHARED = 3
"""Two different runs do not have this many epochs with equal values by chance."""

MOST_OWNERS = 50
"""An epoch shared by more runs than this proves nothing: logs print rounded values."""


def without_duplicates(readings: Sequence[Reading]) -> list[Reading]:
    """``readings`` with every copy of a run rejected.

    Readings are copies of one run if their content is equal, or if half of the epochs of one are
    in the other too. The one with the fewest errors is kept, then the one with the fewest
    warnings: a log copied under the name of another configuration does not fit its new name. If it
    fits both names, the one that is kept has an error too. Of several runs with one configuration
    and repeat (or, where those are not known, one run_id) the first that was measured is kept,
    else the first.
    """
    copies = _copies(readings)
    ambiguous = {
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
            kept.append(_rejected_copy(reading, readings[copies[number]]))
            continue
        if number in ambiguous:
            reading = _with_ambiguity(reading, readings[ambiguous[number]].row)
        measured = first[_key(reading)]
        if measured is not row:
            reason = f"the same configuration and repeat as {measured.source}, which is kept"
            reading = dataclasses.replace(reading, row=rejected(row, reason))
        kept.append(reading)
    return kept


def _key(reading: Reading) -> Hashable:
    """Unique to a run: configuration and repeat, or its run_id."""
    return reading.row.run_id if reading.key is None else reading.key


def rejected(row: Row, reason: str) -> Row:
    """``row`` taken out of its table for ``reason``."""
    return dataclasses.replace(row, table=None, reason=reason)


def _copies(readings: Sequence[Reading]) -> dict[int, int]:
    """The positions of the readings that are copies, each with that of its original."""
    group = list(range(len(readings)))

    def first(number: int) -> int:
        while group[number] != number:
            number = group[number]
        return number

    for one, other in (*_equal_content(readings), *_shared_epochs(readings)):
        group[first(other)] = first(one)
    members: dict[int, list[int]] = defaultdict(list)
    for number in range(len(readings)):
        members[first(number)].append(number)
    copies: dict[int, int] = {}
    for same in members.values():
        if len(same) > 1:
            original = min(same, key=lambda number: _problems(readings[number]))
            copies |= {number: original for number in same if number != original}
    return copies


def _equal_content(readings: Sequence[Reading]) -> Iterator[tuple[int, int]]:
    """Pairs with equal content."""
    seen: dict[Hashable, int] = {}
    for number, reading in enumerate(readings):
        if reading.content is not None:
            before = seen.setdefault(reading.content, number)
            if before != number:
                yield before, number


def _shared_epochs(readings: Sequence[Reading]) -> list[tuple[int, int]]:
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


def _rejected_copy(reading: Reading, original: Reading) -> Reading:
    """``reading``, rejected; its errors stay, because they show why it is the copy."""
    row, kept = reading.row, original.row
    shown = {"time_s": row.time_s, "started_at": row.started_at, "ranks": row.world_size_actual}
    values = ", ".join(f"{name} {value}" for name, value in shown.items() if value is not None)
    equal = reading.content is not None and reading.content == original.content
    finding = Finding(
        row.run_id, Severity.ERROR, Code.DUPLICATE_CONTENT,
        f"{row.source} holds {'' if equal else 'epochs of '}the same run as {kept.source} "
        f"({values})",
    )  # fmt: skip
    reason = f"{'same' if equal else 'in part the same'} content as {kept.run_id} in {kept.source}"
    errors = (f for f in reading.findings if f.severity is Severity.ERROR)
    return dataclasses.replace(reading, row=rejected(row, reason), findings=(finding, *errors))


def _with_ambiguity(reading: Reading, copy: Row) -> Reading:
    """``reading``, which is kept, with an error: its copy fits another configuration as well."""
    finding = Finding(
        reading.row.run_id, Severity.ERROR, Code.DUPLICATE_CONTENT,
        f"{copy.source} holds the same run as another configuration; nothing shows which is right, "
        "this one is kept",
    )  # fmt: skip
    return dataclasses.replace(reading, findings=(*reading.findings, finding))


def _identity(row: Row) -> tuple[object, ...]:
    return tuple(getattr(row, name) for name in CONFIGURATION_COLUMNS)


def _errors(reading: Reading) -> int:
    return sum(finding.severity is Severity.ERROR for finding in reading.findings)


def _problems(reading: Reading) -> tuple[int, int]:
    warnings = sum(finding.severity is Severity.WARNING for finding in reading.findings)
    return _errors(reading), warnings
