"""Audit across logs: those that end before the others of their folder, totals that are shared."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence

from weather_hpc.logs.log import is_exact
from weather_hpc.runs.row import Code, Finding, Row, Severity


def audit_siblings(rows: Iterable[Row]) -> Iterator[Finding]:
    """What looks wrong between ``rows``.

    Pass rows of logs only: runs of our own have their epochs asked for, and times made by rule in
    them would look shared.
    """
    rows = list(rows)
    yield from _short(rows)
    yield from _shared_totals(rows)


def _short(rows: Sequence[Row]) -> Iterator[Finding]:
    """Logs with fewer epochs than most others that are asked for the same.

    Logs are compared within their study, stage and claimed epochs; at least two must agree on
    what is usual.
    """
    groups: dict[tuple[str | None, str | None, int | None], list[Row]] = defaultdict(list)
    for row in rows:
        if row.epochs_done is not None:
            groups[row.study, row.stage, row.epochs].append(row)
    for members in groups.values():
        counts = Counter(row.epochs_done for row in members)
        usual, agreeing = max(counts.items(), key=lambda item: (item[1], item[0] or 0))
        for row in members:
            if agreeing > 1 and (row.epochs_done or 0) < (usual or 0):
                yield Finding(
                    row.run_id, Severity.WARNING, Code.INCOMPLETE_EPOCHS,
                    f"ends after {row.epochs_done} epochs; "
                    f"{agreeing} other logs of {row.study} after {usual}",
                )  # fmt: skip


def _shared_totals(rows: Sequence[Row]) -> Iterator[Finding]:
    """Totals that are equal to more digits than two runs can agree in."""
    seen: dict[float, Row] = {}
    for row in rows:
        if row.time_s is not None and is_exact(row.time_s):
            before = seen.setdefault(row.time_s, row)
            if before is not row:
                yield Finding(
                    row.run_id, Severity.WARNING, Code.DUPLICATE_CONTENT,
                    f"its total {row.time_s!r} s is to the last digit that of {before.run_id}",
                )  # fmt: skip
