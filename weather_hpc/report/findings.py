"""Key findings as sentences; audit and rejects grouped by message."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from weather_hpc.analysis.advice_sentences import MOST_WORKS
from weather_hpc.analysis.baselines import task
from weather_hpc.analysis.comparison import Comparison, StageComparison
from weather_hpc.analysis.statistics import interval_name
from weather_hpc.analysis.table import ScalingTable, Table
from weather_hpc.report.collected import Collected
from weather_hpc.report.section import ReportSection
from weather_hpc.runs.row import Finding, Row, Severity
from weather_hpc.text import alike, counted

MOST_ALIKE = 10
"""Above this, messages that differ only in numbers and names become one line."""
_EXAMPLES = 3
"""Runs that a group names."""


def key_findings(
    comparison: Comparison, findings: Sequence[Finding], extra: Sequence[str] = ()
) -> list[str]:
    """The best speedups in sentences, preceded by the number of audit errors and warnings.

    ``extra`` are sentences of other parts of the analysis, such as its laws and advice.
    """
    return [
        *audit_counts(findings),
        *(sentence for stage in comparison.stages for sentence in _best_speedups(stage)),
        *superlinear(comparison),
        *extra,
    ]


def audit_counts(findings: Sequence[Finding]) -> Iterator[str]:
    """The number of errors and warnings of the audit, where it has any."""
    errors = sum(finding.severity is Severity.ERROR for finding in findings)
    warnings = sum(finding.severity is Severity.WARNING for finding in findings)
    if errors or warnings:
        counts = [counted(n, noun) for n, noun in ((errors, "error"), (warnings, "warning")) if n]
        yield f"The audit has {' and '.join(counts)}: review audit.csv before using these numbers."


def _best_speedups(stage: StageComparison) -> Iterator[str]:
    """A sentence on the best speedup of each task."""
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
    yield from (_best_speedup(table, row) for row in best[:MOST_WORKS])
    if len(best) > MOST_WORKS:
        more = counted(len(best) - MOST_WORKS, "more work")
        yield f"{table.title}: the best speedups of {more} are in tables/{table.name}.csv."


def superlinear(comparison: Comparison) -> Iterator[str]:
    """The configurations that are faster than their workers explain, the farthest first."""
    found = [
        (row["efficiency"], f"{stage.table.label(row)} ({row['speedup']:.2f})")
        for stage in comparison.stages
        for row in stage.table.rows
        if stage.table.superlinear(row)
    ]
    if found:
        names = [name for _, name in sorted(found, key=lambda pair: -pair[0])]
        more = f" and {len(names) - _EXAMPLES} more" if len(names) > _EXAMPLES else ""
        count = counted(len(names), "configuration")
        yield (
            f"Super-linear speedups, above the number of workers, in {count}: "
            f"{' | '.join(names[:_EXAMPLES])}{more}; audit.csv has each."
        )


def _best_speedup(table: ScalingTable, row: dict[str, Any]) -> str:
    low, high = row["speedup_low"], row["speedup_high"]
    interval, doubt = "", ""
    if table.superlinear(row):
        doubt = " It is super-linear, which is often a measurement error."
    if low is not None:
        interval = f" ({interval_name(row['runs'])} {low:.2f} to {high:.2f})"
        if low <= 1 < row["speedup"]:
            doubt = " The interval includes 1: these runs do not show that it is faster."
    if row["speedup"] <= 1:
        doubt = " No configuration with more workers was faster than its baseline."
    whose = table.title + ("'" if table.title.endswith("s") else "'s")
    efficiency = ""
    if not table.other_program(row):
        efficiency = f": an efficiency of {100 * row['efficiency']:.0f} %"
    return (
        f"{whose} best speedup is {row['speedup']:.2f}{interval}, with {table.label(row)}, "
        f"over {row['baseline']}{efficiency}.{doubt}"
    )


def audit_groups(findings: Iterable[Finding]) -> "list[EntryGroup]":
    """Findings of one kind and message together, errors first."""
    order = list(Severity)
    groups = group_entries(Entry((f.severity, f.code), f.source, f.message) for f in findings)
    return sorted(groups, key=lambda group: order.index(Severity(group.kind[0])))


def audit_table(findings: Iterable[Finding]) -> Table:
    """One row per kind of finding and message, errors first."""
    return Table(
        name="audit",
        title="Findings",
        caption="error: a number is wrong; warning: it may be wrong.",
        columns=["severity", "code", "runs", "source", "evidence"],
        rows=[
            {
                "severity": group.kind[0],
                "code": group.kind[1],
                "runs": len(group.runs),
                "source": group.examples,
                "evidence": group.text,
            }
            for group in audit_groups(findings)
        ],
    )


def reject_groups(rows: Iterable[Row]) -> "list[EntryGroup]":
    """Runs that are in no table for the same reason together."""
    return group_entries(
        Entry((row.status,), row.run_id, row.reason or "no reason given")
        for row in rows
        if row.is_rejected
    )


def rejects_table(rows: Iterable[Row]) -> Table:
    """One row per reason why runs are in no table."""
    return Table(
        name="rejects",
        title="Rejected runs",
        caption="Runs that are in no table, and why.",
        columns=["status", "runs", "run_id", "reason"],
        rows=[
            {
                "status": group.kind[0],
                "runs": len(group.runs),
                "run_id": group.examples,
                "reason": group.text,
            }
            for group in reject_groups(rows)
        ],
    )


@dataclass(frozen=True)
class Entry:
    """One line of audit.csv or rejects.csv."""

    kind: tuple[str, ...]
    """Severity and code, or status."""
    run: str
    text: str


@dataclass(frozen=True)
class EntryGroup:
    """Entries of one kind whose texts are equal, or differ in numbers and names only."""

    entries: Sequence[Entry]

    @property
    def kind(self) -> tuple[str, ...]:
        """The kind of all entries."""
        return self.entries[0].kind

    @property
    def runs(self) -> list[str]:
        """Each run once."""
        return list(dict.fromkeys(entry.run for entry in self.entries))

    @property
    def examples(self) -> str:
        """The first few runs, and how many more there are."""
        more = len(self.runs) - _EXAMPLES
        return ", ".join(self.runs[:_EXAMPLES]) + (f" and {more} more" if more > 0 else "")

    @property
    def text(self) -> str:
        """The text of all entries, or that of the first as an example."""
        text = self.entries[0].text
        return text if all(e.text == text for e in self.entries) else f"for example: {text}"


def group_entries(entries: Iterable[Entry]) -> list[EntryGroup]:
    """``entries`` grouped by kind and text, in the order of their first entries.

    More than :data:`MOST_ALIKE` texts that differ in numbers and names only are one group.
    """
    similar: dict[tuple[tuple[str, ...], str], list[Entry]] = defaultdict(list)
    for entry in entries:
        similar[entry.kind, alike(entry.text)].append(entry)
    return [EntryGroup(part) for members in similar.values() for part in _by_text(members)]


def _by_text(entries: Sequence[Entry]) -> Collection[Sequence[Entry]]:
    by_text: dict[str, list[Entry]] = defaultdict(list)
    for entry in entries:
        by_text[entry.text].append(entry)
    return by_text.values() if len(by_text) <= MOST_ALIKE else [entries]


def audit_section(collected: Collected) -> ReportSection:
    """What looks wrong, and the runs that are in no table."""
    audit, rejects = audit_table(collected.findings), rejects_table(collected.comparison.rows)
    return ReportSection(
        "audit",
        "Audit and rejected runs",
        tables=[table for table in (audit, rejects) if table.rows],
        files={audit.name: "audit.csv", rejects.name: "rejects.csv"},
        optional=True,
    )
