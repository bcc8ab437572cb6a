"""What of a table is shown to a person, whatever the format."""

from typing import Any

from weather_hpc.analysis.table import SETTINGS, Table
from weather_hpc.report.text import rounded

DOCUMENT_ROWS = 200
"""Rows of a table in a document that is read from top to bottom; the table's file has all."""

_TRAILING = [*SETTINGS, "batch_mode", "audit_errors", "note"]


def precise(table: Table) -> list[dict[str, Any]]:
    """The rows as programs read them: six significant digits."""
    return [{column: rounded(row[column]) for column in table.columns} for row in table.rows]


def readable_columns(table: Table) -> list[str]:
    """The columns a person needs: those that are empty, or repeat one setting, are left out."""
    constant = set(_TRAILING) - set(table.varying(_trailing(table)))
    return [
        column
        for column in table.columns
        if column not in constant and any(row[column] is not None for row in table.rows)
    ]


def constants(table: Table) -> str:
    """The settings that all rows share, which :func:`readable_columns` leaves out, in words."""
    if not table.rows:
        return ""
    varying = table.varying(_trailing(table))
    first = table.rows[0]
    same = [c for c in _trailing(table) if c not in varying and first[c] is not None]
    return "; ".join(f"{column} {first[column]}" for column in same)


def caption(table: Table, most: int | None = None, whole: str | None = None) -> str:
    """What the columns mean, what all rows share and, if cut to ``most`` rows, where all are."""
    same = constants(table)
    text = table.caption + (f" In all rows: {same}." if same else "")
    if most is not None and len(table.rows) > most:
        text += f" The first {most} of {len(table.rows)} rows; all are in {whole}."
    return text


def is_text(table: Table, column: str) -> bool:
    """Whether a column holds words, which are set flush left."""
    return any(isinstance(row[column], str) for row in table.rows)


def _trailing(table: Table) -> list[str]:
    return [column for column in _TRAILING if column in table.columns]
