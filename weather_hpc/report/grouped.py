"""Audit and rejects in few lines: what many runs share is told once, with their number."""

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence

from weather_hpc.analysis.table import Table
from weather_hpc.runs.finding import Finding, Severity
from weather_hpc.runs.row import Row

MOST_ALIKE = 10
"""Above this, lines that differ in nothing but figures and names are told as one."""
_EXAMPLES = 3

Line = tuple[str, str, str, str]
"""What ranks a line, what it is called, which run it is about, and what it says."""


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


def gather(lines: Sequence[Line]) -> list[tuple[str, str, int, str, str]]:
    """``lines`` as rank, name, number of runs, the first few of them, and what they share."""
    alike: dict[tuple[str, str, str], list[Line]] = defaultdict(list)
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


def _told_apart(group: Sequence[Line]) -> Collection[list[Line]]:
    """``group``, whose lines differ in figures and names only, by text; as one if that is much."""
    by_text: dict[str, list[Line]] = defaultdict(list)
    for line in group:
        by_text[line[3]].append(line)
    return by_text.values() if len(by_text) <= MOST_ALIKE else [list(group)]


def _pattern(text: str) -> str:
    """``text`` without the words that hold a digit."""
    return re.sub(r"\S*\d\S*", "#", text)
