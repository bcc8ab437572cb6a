"""How results look in a notebook: the first screen of the report and the scaling tables."""

from collections.abc import Sequence
from importlib.resources import files

from weather_hpc.analysis.table import Table
from weather_hpc.report.drawing import inline_svg, render
from weather_hpc.report.heads import head
from weather_hpc.report.html_template import html_template
from weather_hpc.report.layout import cell_text, is_text, main_columns
from weather_hpc.report.section import Report

MOST_ROWS = 20
"""Rows of each table."""


def notebook_html(report: Report, tables: Sequence[Table]) -> str:
    """HTML without a script; its plots take the colour of the notebook's text."""
    from markupsafe import Markup

    text = (files("weather_hpc.api") / "notebook.html.j2").read_text("utf-8")
    plots = [
        inline_svg(render(plot.name, plot.draw, plot.size).svg, plot.name, plot.title)
        for plot in report.first.plots
        if plot.draw is not None
    ]
    return html_template(text).render(
        report=report,
        plots=[Markup(plot) for plot in plots],  # noqa: S704 - matplotlib escapes every label
        tables=[table for table in tables if table.rows],
        most_rows=MOST_ROWS,
        columns_of=main_columns,
        head=head,
        cell_text=cell_text,
        is_text=is_text,
    )
