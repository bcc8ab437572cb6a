"""Audit and rejects in few lines: what many runs share is told once, with their number."""

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence

from weather_hpc.analysis.table import Table
from weather_hpc.collect.finding import Finding, Severity
from weather_hpc.collect.row import Row

MOST_LINES = 100
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
    groups = _by_text(lines, lambda text: text)
    if len(groups) > MOST_LINES:
        groups = _by_text(lines, _pattern)
    gathered = []
    for members in groups.values():
        rank, name, _, text = members[0]
        sources = list(dict.fromkeys(source for _, _, source, _ in members))
        more = len(sources) - _EXAMPLES
        listed = ", ".join(sources[:_EXAMPLES]) + (f" and {more} more" if more > 0 else "")
        alike = all(member[3] == text for member in members)
        gathered.append((rank, name, len(sources), listed, text if alike else f"such as: {text}"))
    return gathered


def _by_text(
    lines: Iterable[Line], reduce: Callable[[str], str]
) -> dict[tuple[str, str, str], list[Line]]:
    groups = defaultdict(list)
    for line in lines:
        groups[line[0], line[1], reduce(line[3])].append(line)
    return groups


def _pattern(text: str) -> str:
    """``text`` without the words that hold a digit."""
    return re.sub(r"\S*\d\S*", "#", text)
