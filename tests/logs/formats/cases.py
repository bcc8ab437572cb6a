"""Logs of other programs and the rows that they must give."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.logs.maker import read_lines


@dataclass(frozen=True)
class Case:
    """One log, and what its row must hold; ``reason``: a part of it, "" where there is none."""

    lines: list[str]
    row: dict[str, Any]
    reason: str = ""
    name: str = "ddp_4gpu_bs32.log"
    errors: frozenset[str] = field(default_factory=frozenset)
    """Codes of the audit's errors."""


def named(programs: dict[str, dict[str, Case]]) -> dict[str, Case]:
    """All cases by program and kind."""
    return {
        f"{program}: {kind}": case
        for program, cases in programs.items()
        for kind, case in cases.items()
    }


def check(folder: Path, case: Case) -> None:
    """Read ``case`` and compare."""
    reading = read_lines(folder, case.lines, case.name)
    row = reading.row
    if case.reason:
        assert case.reason in (row.reason or "")
    else:
        assert (row.table, row.reason) == ("training", None)
    assert {name: getattr(row, name) for name in case.row} == case.row
    found = {str(finding.code) for finding in reading.findings if finding.severity == "error"}
    assert found == case.errors
