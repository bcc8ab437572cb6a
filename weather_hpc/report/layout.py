"""Which columns and cells of a table people see, whatever the format."""

from typing import Any

from weather_hpc.analysis.table import SETTINGS, ScalingTable, Table
from weather_hpc.report.section import Card, Report
from weather_hpc.text import rounded, shown

DOCUMENT_ROWS = 200
"""Rows of a table in a Markdown or LaTeX report; the table's file has all."""

MOST_COLUMNS = 7
"""Columns of a table that the page shows first."""

_MEASURED = ("time_s", "speedup", "efficiency", "test_accuracy", "node_hours", "images_per_s")
"""Columns of scaling tables with measured values, the most important first."""

_TRAILING = [*SETTINGS, "audit_errors", "note"]


def precise(table: Table) -> list[dict[str, Any]]:
    """The rows as programs read them: six significant digits."""
    return [{column: rounded(row[column]) for column in table.columns} for row in table.rows]


def readable_columns(table: Table) -> list[str]:
    """The columns a person needs.

    Left out are empty columns, settings that all rows share (:func:`constants`), and the ends of
    intervals, which :func:`cell_text` shows after their value.
    """
    left_out = (set(_TRAILING) - set(table.varying(_trailing(table)))) | interval_ends(table)
    return [
        column
        for column in table.columns
        if column not in left_out and any(row[column] is not None for row in table.rows)
    ]


def main_columns(table: Table) -> list[str]:
    """Those of :func:`readable_columns` that are shown first, at most :data:`MOST_COLUMNS`.

    In a scaling table: what tells its rows apart, then what they measured, the most important
    first.
    """
    columns = readable_columns(table)
    if not isinstance(table, ScalingTable):
        return columns[:MOST_COLUMNS]
    apart = [*table.key, *table.varying(["nodes"] if "nodes" in columns else [])]
    apart += [table.workers_column, *table.distinguishing]
    wanted = list(dict.fromkeys(c for c in (*apart, *_MEASURED) if c in columns))
    # room for time and speedup, however many settings differ
    values = [column for column in _MEASURED if column in columns]
    kept = [c for c in wanted if c not in _MEASURED][: MOST_COLUMNS - min(2, len(values))]
    kept += values[: MOST_COLUMNS - len(kept)]
    return [column for column in columns if column in kept]


def cell_text(row: dict[str, Any], column: str) -> str:
    """The value of ``row`` in ``column``, with its interval where there is one."""
    return f"{shown(column, row[column])} {interval_text(row, column)}".rstrip()


def interval_text(row: dict[str, Any], column: str) -> str:
    """The interval of that value in brackets; it may be open at one end."""
    # rounded like the value
    low, high = (shown(column, row.get(f"{column}_{end}")) for end in ("low", "high"))
    if low and high:
        return f"({low}–{high})"
    return f"(from {low})" if low else f"(up to {high})" if high else ""


def interval_ends(table: Table) -> set[str]:
    """The columns that hold the ends of another column's interval."""
    return {
        f"{column}_{end}"
        for column in table.columns
        if {f"{column}_low", f"{column}_high"} <= set(table.columns)
        for end in ("low", "high")
    }


def constants(table: Table) -> str:
    """The settings that all rows share, which :func:`readable_columns` leaves out, as text."""
    if not table.rows:
        return ""
    varying = table.varying(_trailing(table))
    first = table.rows[0]
    same = [c for c in _trailing(table) if c not in varying and first[c] is not None]
    return "; ".join(f"{column}: {first[column]}" for column in same)


def shared(table: Table, max_rows: int | None = None, full_file: str | None = None) -> str:
    """What all rows share, and where all rows are if only ``max_rows`` are shown; may be empty."""
    same = constants(table)
    parts = [f"In all rows: {same}."] if same else []
    if max_rows is not None and len(table.rows) > max_rows:
        parts.append(f"The first {max_rows} of {len(table.rows)} rows; all are in {full_file}.")
    return " ".join(parts)


def caption(table: Table, max_rows: int | None = None, full_file: str | None = None) -> str:
    """The meaning of the columns, and :func:`shared`."""
    return f"{table.caption} {shared(table, max_rows, full_file)}".rstrip()


def is_text(table: Table, column: str) -> bool:
    """Whether a column holds text, which is set flush left."""
    return any(isinstance(row[column], str) for row in table.rows)


def _trailing(table: Table) -> list[str]:
    return [column for column in _TRAILING if column in table.columns]


def card_text(card: Card) -> str:
    """``card`` in one line."""
    value = f"{card.value} {card.interval}".rstrip()
    return f"{card.label}: {value}" + (f", {card.detail}" if card.detail else "")


def left_out_sentence(report: Report) -> str:
    """What the report does not show, as one sentence; empty where it shows everything."""
    if not report.left_out:
        return ""
    return f"Not shown, because these runs have no data for it: {'; '.join(report.left_out)}."
