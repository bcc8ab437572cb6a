"""What was found: the key findings in words, and audit and rejects grouped by message."""

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any

from weather_hpc.analysis.advice import MOST_WORKS
from weather_hpc.analysis.baselines import task
from weather_hpc.analysis.comparison import Comparison, StageComparison
from weather_hpc.analysis.table import ScalingTable, Table
from weather_hpc.runs.finding import Finding, Severity
from weather_hpc.runs.row import Row
from weather_hpc.text import counted

MOST_ALIKE = 10
"""Above this, lines that differ in nothing but figures and names are told as one."""
_EXAMPLES = 3
Entry = tuple[str, str, str, str]
"""What ranks a line, what it is called, which run it is about, and what it says."""


def key_findings(
    comparison: Comparison, findings: Sequence[Finding], extra: Sequence[str] = ()
) -> list[str]:
    """What to take home: the fastest and the best scaling configurations, and what to doubt.

    ``extra`` are sentences of other parts of the analysis, such as its laws and advice.
    """
    return [
        *_doubts(findings),
        *(sentence for stage in comparison.stages for sentence in _of_stage(stage)),
        *extra,
    ]


def _doubts(findings: Sequence[Finding]) -> Iterator[str]:
    errors = sum(finding.severity is Severity.ERROR for finding in findings)
    warnings = sum(finding.severity is Severity.WARNING for finding in findings)
    if errors or warnings:
        counts = [counted(n, noun) for n, noun in ((errors, "error"), (warnings, "warning")) if n]
        yield f"The audit holds {' and '.join(counts)}: read it before trusting a figure."


def _of_stage(stage: StageComparison) -> Iterator[str]:
    """The best speedup of each task."""
    table = stage.table
    by_task: dict[tuple[object, ...], list[dict[str, Any]]] = defaultdict(list)
    for one in stage.configurations:
        if one.cells["time_s"] is not None:
            by_task[tuple(task(one.group.settings).values())].append(one.cells)
    if table.rows and not by_task:
        yield f"{table.title}: no run was measured."
    parallel = [
        [
            row
            for row in rows
            if row["speedup"] is not None and table.workers(row) > 1 and not row["audit_errors"]
        ]
        for rows in by_task.values()
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


def audit_table(findings: Iterable[Finding]) -> Table:
    """One row per thing found, errors first."""
    order = list(Severity)
    lines = [(f.severity, f.code, f.source, f.message) for f in findings]
    gathered = gather(lines)
    gathered.sort(key=lambda row: order.index(Severity(row[0])))
    columns = ["severity", "code", "runs", "source", "evidence"]
    return Table(
        name="audit",
        title="Findings",
        caption="An error means that a figure is wrong, a warning that it may be.",
        columns=columns,
        rows=[dict(zip(columns, row, strict=True)) for row in gathered],
    )


def rejects_table(rows: Iterable[Row]) -> Table:
    """One row per reason for which runs are in no table."""
    lines = [("", r.status, r.run_id, r.reason or "no reason told") for r in rows if r.is_rejected]
    columns = ["status", "runs", "run_id", "reason"]
    return Table(
        name="rejects",
        title="Rejected runs",
        caption="Runs whose figures are in no table, and why.",
        columns=columns,
        rows=[dict(zip(columns, row[1:], strict=True)) for row in gather(lines)],
    )


def gather(lines: Sequence[Entry]) -> list[tuple[str, str, int, str, str]]:
    """``lines`` as rank, name, number of runs, the first few of them, and what they share."""
    alike: dict[tuple[str, str, str], list[Entry]] = defaultdict(list)
    for line in lines:
        alike[line[0], line[1], _pattern(line[3])].append(line)
    gathered = []
    for members in (part for group in alike.values() for part in _told_apart(group)):
        rank, name, _, text = members[0]
        sources = list(dict.fromkeys(source for _, _, source, _ in members))
        more = len(sources) - _EXAMPLES
        listed = ", ".join(sources[:_EXAMPLES]) + (f" and {more} more" if more > 0 else "")
        same = all(member[3] == text for member in members)
        gathered.append((rank, name, len(sources), listed, text if same else f"such as: {text}"))
    return gathered


def _told_apart(group: Sequence[Entry]) -> Collection[list[Entry]]:
    """``group``, whose lines differ in figures and names only, by text; as one if that is much."""
    by_text: dict[str, list[Entry]] = defaultdict(list)
    for line in group:
        by_text[line[3]].append(line)
    return by_text.values() if len(by_text) <= MOST_ALIKE else [list(group)]


def _pattern(text: str) -> str:
    """``text`` without the words that hold a digit."""
    return re.sub(r"\S*\d\S*", "#", text)
