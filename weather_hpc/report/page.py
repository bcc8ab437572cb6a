"""report.html: one page that needs nothing but itself."""

import base64
import hashlib
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from weather_hpc.analysis.table import Table
from weather_hpc.report.drawing import inline_svg
from weather_hpc.report.layout import interval_text, readable_columns, shared
from weather_hpc.report.sections import Report
from weather_hpc.text import rounded, shown

MOST_ROWS = 1000
"""Rows of a table that the page holds; its file holds all."""
_FILTER_FROM = 10
"""Rows from which a table gets a box to filter them."""
_PHRASE_FROM, _WORDS_FROM = 20, 40
"""Characters from which a cell's text is broken into lines, into few and into longer ones."""


@dataclass(frozen=True)
class Cell:
    """What a cell shows."""

    text: str
    interval: str
    """What stands behind the text."""
    sort: str | None
    """What it is sorted by, where that is not its text."""
    kind: str
    """``number``, ``words`` (long text), ``phrase``, ``error``, ``warning`` or nothing."""


def html_page(report: Report) -> str:
    """The report as one page. Whatever a record says appears as text, never as markup.

    The page's own policy lets nothing but its own script run, and nothing be loaded.
    """
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    templates = files("weather_hpc.report") / "templates"
    script = (templates / "report.js").read_text("utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    template = environment.from_string((templates / "report.html.j2").read_text("utf-8"))
    # style and script are our own, and an SVG is our own drawing, in which matplotlib has
    # escaped every label
    return template.render(
        report=report,
        style=Markup((templates / "report.css").read_text("utf-8")),  # noqa: S704
        script=Markup(script),  # noqa: S704
        script_hash=digest,
        shown_table=_table,
        inline=lambda plot: Markup(  # noqa: S704
            inline_svg(plot.svg or "", plot.name, f"{plot.title}. {plot.text}")
        ),
    )


def _table(table: Table) -> dict[str, Any]:
    """``table`` for the template."""
    columns = readable_columns(table)
    rows = table.rows[:MOST_ROWS]
    return {
        "columns": columns,
        "numeric": [_is_numeric(table, column) for column in columns],
        "rows": [[_cell(row, column) for column in columns] for row in rows],
        "caption": table.caption,
        "shared": shared(table, MOST_ROWS, "the file"),
        "filtered": len(rows) >= _FILTER_FROM,
        "wide": len(columns) > 12,
    }


def _is_numeric(table: Table, column: str) -> bool:
    values = [row[column] for row in table.rows if row[column] is not None]
    return bool(values) and all(isinstance(value, int | float) for value in values)


def _cell(row: dict[str, Any], column: str) -> Cell:
    value = row[column]
    text, interval = shown(column, value), interval_text(row, column)
    if column == "severity":
        return Cell(text, interval, None, text)
    if isinstance(value, int | float) and not isinstance(value, bool):
        sort = str(rounded(value))
        return Cell(text, interval, None if sort == text and not interval else sort, "number")
    long = "words" if len(text) > _WORDS_FROM else "phrase" if len(text) > _PHRASE_FROM else ""
    return Cell(text, interval, None, long if " " in text else "")
