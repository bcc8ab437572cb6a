"""What a report is made from."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from weather_hpc.analysis.comparison import Comparison
from weather_hpc.analysis.table import Table
from weather_hpc.analysis.verdict import Trust, Verdict, verdict
from weather_hpc.report.live import Live
from weather_hpc.report.others import OtherValue
from weather_hpc.runs.paths import RunPaths
from weather_hpc.runs.row import Finding, Row


@dataclass(frozen=True)
class Collected:
    """Everything that was read, and what the analysis says of it."""

    comparison: Comparison
    findings: Sequence[Finding] = ()
    extras: Sequence[Table] = ()
    """Tables of the analysis besides the scaling tables."""
    sentences: Sequence[str] = ()
    """Sentences of the analysis, such as its laws and advice."""
    live: Live | None = None
    """Of a study that is running."""
    reference: Sequence[OtherValue] = ()
    """What the tables to compare with have."""
    deadline_s: float | None = None
    """The deadline asked for, in measured seconds."""
    budget_node_hours: float | None = None
    """The budget asked for, of one run."""

    @cached_property
    def verdict(self) -> Verdict | None:
        """Whether to trust the numbers; None where there are none."""
        return verdict(self.comparison, self.findings)

    @property
    def trusted(self) -> bool:
        """Whether the verdict allows superlatives."""
        return self.verdict is not None and self.verdict.trust is not Trust.RED

    def table(self, name: str) -> Table | None:
        """The one of ``extras`` with that name; None where there is none or it has no rows."""
        return next((table for table in self.extras if table.name == name and table.rows), None)


def run_files(row: Row) -> RunPaths | None:
    """The files of the run that ``row`` was read from; None where it is a text log's."""
    folder = Path(row.source)
    return RunPaths(folder) if folder.is_dir() else None


def run_folders(rows: Sequence[Row]) -> Iterator[tuple[Row, RunPaths]]:
    """Each of ``rows`` that has files of its own, with them."""
    for row in rows:
        if files := run_files(row):
            yield row, files
