"""What a row of a table opens: the runs behind it, their command, what they last printed."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from weather_hpc.errors import UserError
from weather_hpc.reading import read_json
from weather_hpc.report.collected import Collected, run_files
from weather_hpc.report.findings import EntryGroup, audit_groups, reject_groups
from weather_hpc.report.section import RowDetails
from weather_hpc.runs.error_line import last_lines
from weather_hpc.runs.row import Row
from weather_hpc.text import clean, shown

MOST_RUNS = 50
"""Runs that one row lists."""
MOST_LISTED = 5000
"""Runs that all rows list together."""
MOST_FILES = 300
"""Files of runs that are read for all rows together."""
_LINES = 12
"""Last lines of standard error that are shown."""

_COLUMNS = ("run_id", "status", "repeat", "time_s", "images_per_s", "test_accuracy", "node_hours",
            "host", "started_at", "reason")  # fmt: skip
"""Columns of the runs; those that are empty in all of them are left out."""


class DetailsReader:
    """Makes the details of rows; reads few files, whatever the number of runs."""

    def __init__(self) -> None:
        self._left = MOST_FILES
        self._listed = MOST_LISTED

    def of(self, rows: Sequence[Row]) -> RowDetails:
        """The details of a table's row that ``rows`` are behind."""
        shown_rows = rows[: min(MOST_RUNS, self._listed)]
        self._listed -= len(shown_rows)
        columns = [c for c in _COLUMNS if any(getattr(row, c) is not None for row in shown_rows)]
        cells = [[shown(c, getattr(row, c)) for c in columns] for row in shown_rows]
        return RowDetails(
            columns,
            cells,
            self._command(shown_rows),
            list(self._printed(row for row in shown_rows if row.status not in ("ok", "skipped"))),
            len(rows) - len(shown_rows),
        )

    def _command(self, rows: Iterable[Row]) -> str:
        for row in rows:
            files = run_files(row) if self._left > 0 else None
            if files is None:
                continue
            self._left -= 1
            if command := _recorded_command(files.record):
                return command
        return ""

    def _printed(self, rows: Iterable[Row]) -> Iterator[tuple[str, str]]:
        for row in rows:
            files = run_files(row) if self._left > 0 else None
            if files is None:
                continue
            self._left -= 1
            if lines := last_lines(files.stderr, _LINES):
                yield row.run_id, "\n".join(clean(line) for line in lines)


def _recorded_command(record: Path) -> str:
    """The command line in a record, as far as it can be read."""
    try:
        command = read_json(record)["provenance"]["command"]
    except (UserError, OSError, KeyError, TypeError):
        return ""
    return clean(" ".join(map(str, command))) if isinstance(command, list) else ""


def row_details(collected: Collected) -> dict[str, list[RowDetails]]:
    """The details of every row of the tables that have any, by the table's name."""
    reader, rows = DetailsReader(), collected.comparison.rows
    by_run = {row.run_id: row for row in rows if row.is_rejected}
    details = {
        "rejects": [
            reader.of([by_run[run] for run in group.runs]) for group in reject_groups(rows)
        ],
        "audit": [_entries(group) for group in audit_groups(collected.findings)],
    }
    for stage in collected.comparison.stages:
        groups = (one.group for one in stage.configurations)
        details[stage.table.name] = [
            reader.of([*group.measured, *group.others]) for group in groups
        ]
    return details


def _entries(group: EntryGroup) -> RowDetails:
    """Every finding of ``group``."""
    if len(group.entries) == 1:
        return RowDetails()
    cells = [(entry.run, entry.text) for entry in group.entries[:MOST_RUNS]]
    return RowDetails(("source", "evidence"), cells, more=len(group.entries) - len(cells))
