"""A table as the page shows it: its most important columns, the others on request."""

from dataclasses import dataclass
from typing import Any

from weather_hpc.analysis.table import Table
from weather_hpc.report.heads import head
from weather_hpc.report.layout import (
    interval_ends,
    interval_text,
    main_columns,
    readable_columns,
    shared,
)
from weather_hpc.text import rounded, shown

MOST_ROWS = 1000
"""Rows of a table on the page; its file has all."""
_FILTER_FROM = 10
"""Rows from which a table gets a filter."""
_SHORT_LINES_ABOVE, _LONG_LINES_ABOVE = 20, 40
"""Characters above which a cell's text is wrapped, into short and into long lines."""


@dataclass(frozen=True)
class Column:
    """A column of a table on the page."""

    name: str
    """In the table's files."""
    head: str
    numeric: bool
    first: bool
    """Whether it is shown at first."""
    interval: bool
    """Whether the files have two more columns with the ends of its interval."""


@dataclass(frozen=True)
class Cell:
    """What a cell shows."""

    text: str
    interval: str
    """Shown after the text."""
    ends: tuple[Any, Any]
    """Of the interval, six digits; None where there is none."""
    sort: str | None
    """Sort key, where it is not the text."""
    kind: str
    """CSS class: ``number``, ``short-lines``, ``long-lines``, ``error``, ``warning`` or empty."""


@dataclass(frozen=True)
class TableView:
    """A table on the page."""

    columns: list[Column]
    """Those shown at first come first."""
    rows: list[list[Cell]]
    shared: str
    filtered: bool

    @property
    def more(self) -> int:
        """Number of columns that are not shown at first."""
        return sum(not column.first for column in self.columns)


def table_view(table: Table) -> TableView:
    """``table`` for the template."""
    first = main_columns(table)
    names = [*first, *(column for column in readable_columns(table) if column not in first)]
    ends = interval_ends(table)
    columns = [
        Column(name, head(name), _is_numeric(table, name), name in first, f"{name}_low" in ends)
        for name in names
    ]
    rows = table.rows[:MOST_ROWS]
    return TableView(
        columns,
        [[_cell(row, name) for name in names] for row in rows],
        shared(table, MOST_ROWS, "the file"),
        len(rows) >= _FILTER_FROM,
    )


def _is_numeric(table: Table, column: str) -> bool:
    values = [row[column] for row in table.rows if row[column] is not None]
    return bool(values) and all(isinstance(value, int | float) for value in values)


def _cell(row: dict[str, Any], column: str) -> Cell:
    value = row[column]
    text, interval = shown(column, value), interval_text(row, column)
    ends = rounded(row.get(f"{column}_low")), rounded(row.get(f"{column}_high"))
    number = isinstance(value, int | float) and not isinstance(value, bool)
    # as the files have it: a number with its digits, no NaN, a truth value
    precise = rounded(value)
    raw = "" if precise is None else str(precise) if number or isinstance(value, bool) else text
    sort = None if raw == text and not interval else raw
    if column == "severity":
        kind = text
    elif number:
        kind = "number"
    elif " " not in text or len(text) <= _SHORT_LINES_ABOVE:
        kind = ""
    else:
        kind = "long-lines" if len(text) > _LONG_LINES_ABOVE else "short-lines"
    return Cell(text, interval, ends, sort, kind)
