"""report.html: one self-contained page."""

import base64
import hashlib
import json
from collections.abc import Sequence
from importlib.resources import files
from typing import Any

from weather_hpc.report.drawing import Drawing, inline_svg
from weather_hpc.report.heads import head
from weather_hpc.report.html_template import html_template
from weather_hpc.report.layout import left_out_sentence
from weather_hpc.report.live import Live
from weather_hpc.report.section import Report, ReportSection, RowDetails
from weather_hpc.report.table_view import MOST_ROWS, table_view
from weather_hpc.text import rounded

MOST_SENTENCES = 5
"""Sentences of a section that are shown at first."""


def html_page(report: Report, live: Live | None = None) -> str:
    """The report as one page, which loads itself again if it is ``live``. Text is escaped.

    Its content security policy allows only its own script, and loads nothing.
    """
    from markupsafe import Markup

    templates = files("weather_hpc.report") / "templates"
    names = ["report.js", *(["live.js"] if live else [])]
    scripts = [(templates / name).read_text("utf-8") for name in names]
    template = html_template((templates / "report.html.j2").read_text("utf-8"))
    # style, script and SVG are generated here, and matplotlib escapes every label
    return template.render(
        report=report,
        left_out=left_out_sentence(report),
        style=Markup((templates / "report.css").read_text("utf-8")),  # noqa: S704
        scripts=list(map(Markup, scripts)),
        script_hashes=list(map(_hash, scripts)),
        live=live,
        data=Markup(_as_data(report)),  # noqa: S704
        most_sentences=MOST_SENTENCES,
        wide=_is_wide,
        table_view=table_view,
        details_of=lambda table: report.details.get(table.name, ()),
        data_uri=lambda png: f"data:image/png;base64,{base64.b64encode(png).decode()}",
        inline=lambda plot: Markup(  # noqa: S704
            inline_svg(plot.svg or "", plot.name, f"{plot.title}. {plot.text}")
        ),
    )


def _hash(script: str) -> str:
    """What the page's policy knows ``script`` by."""
    return f"sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}"


def _is_wide(section: ReportSection) -> bool:
    """Whether the section has more than text."""
    return bool(section.tables or section.plots or section.pictures or section.parts)


def _as_data(report: Report) -> str:
    """What the script shows on request, as JSON that may stand in a page."""
    details = {
        name: [_details(one) for one in rows[:MOST_ROWS]]
        for name, rows in report.details.items()
        if rows
    }
    plots = {plot.name: _values(plot) for plot in report.drawn if plot.data}
    text = json.dumps({"details": details, "plots": plots}, separators=(",", ":"), allow_nan=False)
    # no text of a record can end the element or open a comment
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _details(one: RowDetails) -> dict[str, Any] | None:
    if not one.rows:
        return None
    return {
        "heads": [head(column) for column in one.columns],
        "rows": one.rows,
        "command": one.command,
        "printed": one.printed,
        "more": one.more,
    }


def _values(plot: Drawing) -> list[Sequence[Any]]:
    """The plotted values as lines of a CSV file, the names of its columns first."""
    columns = list(dict.fromkeys(name for row in plot.data for name in row))
    return [columns, *([rounded(row.get(column)) for column in columns] for row in plot.data)]
