"""report.html: one self-contained page."""

import base64
import hashlib
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from weather_hpc.analysis.table import Table
from weather_hpc.report.drawing import inline_svg
from weather_hpc.report.layout import interval_text, left_out_sentence, readable_columns, shared
from weather_hpc.report.live import Live
from weather_hpc.report.section import Report
from weather_hpc.text import rounded, shown

MOST_ROWS = 1000
"""Rows of a table on the page; its file has all."""
_FILTER_FROM = 10
"""Rows from which a table gets a filter."""
_SHORT_LINES_ABOVE, _LONG_LINES_ABOVE = 20, 40
"""Characters above which a cell's text is wrapped, into short and into long lines."""


@dataclass(frozen=True)
class Cell:
    """What a cell shows."""

    text: str
    interval: str
    """Shown after the text."""
    sort: str | None
    """Sort key, where it is not the text."""
    kind: str
    """CSS class: ``number``, ``short-lines``, ``long-lines``, ``error``, ``warning`` or empty."""


def html_page(report: Report, live: Live | None = None) -> str:
    """The report as one page, which loads itself again if it is ``live``. Text is escaped.

    Its content security policy allows only its own script, and loads nothing.
    """
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    templates = files("weather_hpc.report") / "templates"
    names = ["report.js", *(["live.js"] if live else [])]
    scripts = [(templates / name).read_text("utf-8") for name in names]
    template = environment.from_string((templates / "report.html.j2").read_text("utf-8"))
    # style, script and SVG are generated here, and matplotlib escapes every label
    return template.render(
        report=report,
        style=Markup((templates / "report.css").read_text("utf-8")),  # noqa: S704
        scripts=list(map(Markup, scripts)),
        script_hashes=list(map(_hash, scripts)),
        live=live,
        left_out=left_out_sentence(report),
        shown_table=_table,
        data_uri=lambda png: f"data:image/png;base64,{base64.b64encode(png).decode()}",
        inline=lambda plot: Markup(  # noqa: S704
            inline_svg(plot.svg or "", plot.name, f"{plot.title}. {plot.text}")
        ),
    )


def _hash(script: str) -> str:
    """What the page's policy knows ``script`` by."""
    return f"sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}"


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
    if " " not in text or len(text) <= _SHORT_LINES_ABOVE:
        return Cell(text, interval, None, "")
    wrapped = "long-lines" if len(text) > _LONG_LINES_ABOVE else "short-lines"
    return Cell(text, interval, None, wrapped)
