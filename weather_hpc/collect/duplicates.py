"""Runs that are there twice."""

import dataclasses
from collections import defaultdict
from collections.abc import Hashable, Sequence

from weather_hpc.collect.finding import Code, Finding, Severity
from weather_hpc.collect.reading import Reading
from weather_hpc.collect.row import Row


def without_duplicates(readings: Sequence[Reading]) -> list[Reading]:
    """``readings``, in which a run that is there twice counts once; the others are rejected.

    Of equal contents the one with the fewest errors stays: a log that was copied under the name of
    another configuration does not fit its new name. Of equal run ids the first stays.
    """
    by_content: dict[Hashable, list[Reading]] = defaultdict(list)
    for reading in readings:
        if reading.content is not None:
            by_content[reading.content].append(reading)
    original = {content: min(same, key=_errors) for content, same in by_content.items()}
    by_id: dict[str, Row] = {}
    kept = []
    for reading in readings:
        row = reading.row
        same_content = original.get(reading.content, reading)
        if same_content is not reading:
            kept.append(_copy(reading, same_content.row))
            continue
        same_id = by_id.setdefault(row.run_id, row)
        if same_id is not row:
            reason = f"the run_id is already that of {same_id.source}, which is kept"
            reading = dataclasses.replace(reading, row=rejected(row, reason))
        kept.append(reading)
    return kept


def rejected(row: Row, reason: str) -> Row:
    """``row`` taken out of its table for ``reason``."""
    return dataclasses.replace(row, table=None, reason=reason)


def _copy(reading: Reading, original: Row) -> Reading:
    """``reading``, rejected, with the one finding that matters of it."""
    row = reading.row
    told = {"time_s": row.time_s, "started_at": row.started_at, "ranks": row.world_size_actual}
    shared = ", ".join(f"{name} {value}" for name, value in told.items() if value is not None)
    finding = Finding(
        row.run_id, Severity.ERROR, Code.DUPLICATE_CONTENT,
        f"{row.source} holds the same run as {original.source} ({shared})",
    )  # fmt: skip
    reason = f"same content as {original.run_id} in {original.source}"
    return dataclasses.replace(reading, row=rejected(row, reason), findings=(finding,))


def _errors(reading: Reading) -> int:
    return sum(finding.severity is Severity.ERROR for finding in reading.findings)
