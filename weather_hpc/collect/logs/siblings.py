"""Audit across logs: one that ends earlier than the others of its folder."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator

from weather_hpc.collect.finding import Code, Finding, Severity
from weather_hpc.collect.row import Row


def audit_siblings(rows: Iterable[Row]) -> Iterator[Finding]:
    """Logs with fewer epochs than most others that are asked for the same.

    Logs are compared within their study, stage and claimed epochs; at least two must agree on
    what is usual. Pass rows of logs only: runs of our own have their epochs asked for.
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
