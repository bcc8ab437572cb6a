"""The key findings in words, every number computed from the tables."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

from weather_hpc.analysis.advice import MOST_WORKS
from weather_hpc.analysis.table import ScalingTable
from weather_hpc.runs.finding import Finding, Severity
from weather_hpc.text import counted


def key_findings(
    tables: Sequence[ScalingTable], findings: Sequence[Finding], extra: Sequence[str] = ()
) -> list[str]:
    """What to take home: the fastest and the best scaling configurations, and what to doubt.

    ``extra`` are sentences of other parts of the analysis, such as its laws and advice.
    """
    return [
        *_doubts(findings),
        *(sentence for table in tables for sentence in _of_table(table)),
        *extra,
    ]


def _doubts(findings: Sequence[Finding]) -> Iterator[str]:
    errors = sum(finding.severity is Severity.ERROR for finding in findings)
    warnings = sum(finding.severity is Severity.WARNING for finding in findings)
    if errors or warnings:
        counts = [counted(n, noun) for n, noun in ((errors, "error"), (warnings, "warning")) if n]
        yield f"The audit holds {' and '.join(counts)}: read it before trusting a figure."


def _of_table(table: ScalingTable) -> Iterator[str]:
    """For each amount of work that is comparable: same study, network, image size, epochs."""
    work = [
        c for c in ("study", "scaling", "model", "image_size_px", "epochs") if c in table.columns
    ]
    comparable: dict[tuple[Any, ...], list[dict[str, Any]]] = defaultdict(list)
    for row in table.measured:
        comparable[tuple(row[column] for column in work)].append(row)
    if table.rows and not comparable:
        yield f"{table.title}: no run was measured."
    parallel = [
        [
            row
            for row in rows
            if row["speedup"] is not None and table.workers(row) > 1 and not row["audit_errors"]
        ]
        for rows in comparable.values()
    ]
    best = [max(rows, key=lambda row: row["speedup"]) for rows in parallel if rows]
    yield from (_best(table, row) for row in best[:MOST_WORKS])
    if len(best) > MOST_WORKS:
        more = counted(len(best) - MOST_WORKS, "more work")
        yield f"{table.title}'s speedups for {more} are in tables/{table.name}.csv."


def _best(table: ScalingTable, row: dict[str, Any]) -> str:
    low, high = row["speedup_low"], row["speedup_high"]
    interval, doubt = "", ""
    if table.superlinear(row):
        doubt = " It is super-linear: more often a mistake than a discovery."
    if low is not None:
        interval = f" (95 % interval {low:.2f} to {high:.2f})"
        if low <= 1 < row["speedup"]:
            doubt = " The interval holds 1: these runs do not show that it is faster at all."
    if row["speedup"] <= 1:
        doubt = " Nothing with more workers was faster than its baseline."
    return (
        f"{table.title}'s best speedup is {row['speedup']:.2f}{interval}, with {table.label(row)}, "
        f"over {row['baseline']}: an efficiency of {100 * row['efficiency']:.0f} %.{doubt}"
    )
