"""Writes the report as report.html, .md, .tex and .json, and the tables that it adds."""

from collections.abc import Collection, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from weather_hpc import __version__
from weather_hpc.analysis.comparison import Comparison
from weather_hpc.analysis.grids import is_grid_name
from weather_hpc.analysis.table import Table
from weather_hpc.files import write_bytes, write_csv, write_json, write_text
from weather_hpc.report.documents import latex_report, latex_table, markdown_report, markdown_table
from weather_hpc.report.drawing import Drawing
from weather_hpc.report.layout import precise
from weather_hpc.report.page import html_page
from weather_hpc.report.sections import Report, report_of
from weather_hpc.runs.paths import StudyPaths
from weather_hpc.runs.row import Finding, Row


def write_table(folder: Path, table: Table) -> None:
    """Write ``table`` into ``folder`` as .csv, .json, .md and .tex."""
    rows = precise(table)
    write_csv(folder / f"{table.name}.csv", table.columns, rows)
    write_json(folder / f"{table.name}.json", rows)
    write_text(folder / f"{table.name}.md", markdown_table(table))
    write_text(folder / f"{table.name}.tex", latex_table(table))


def remove_old_grids(folder: Path, names: Collection[str]) -> None:
    """Remove grids of an earlier collection whose names are not among ``names``.

    Which grids there are depends on what was measured.
    """
    for file in folder.glob("*.*"):
        if is_grid_name(file.stem) and file.stem not in names:
            file.unlink()


def write_report(
    to: StudyPaths,
    comparison: Comparison,
    findings: Sequence[Finding],
    plots: Sequence[Drawing],
    extras: Sequence[Table] = (),
    sentences: Sequence[str] = (),
) -> None:
    """Write the report; see :func:`weather_hpc.report.sections.report_of` for its arguments.

    The scaling tables and ``extras`` have their own files already; ``plots`` are those that
    :func:`weather_hpc.report.plots.write_plots` wrote into the same results folder.
    """
    report = report_of(comparison, findings, plots, extras, sentences)
    for table in report.own_tables:
        write_table(to.tables, table)
    for picture in (picture for section in report.sections for picture in section.pictures):
        write_bytes(to.plots / f"{picture.name}.png", picture.png)
    write_text(to.report, html_page(report))
    write_text(to.report_markdown, markdown_report(report))
    write_text(to.report_latex, latex_report(report))
    write_json(to.report_json, json_report(report, comparison.rows, findings))


def json_report(report: Report, rows: Sequence[Row], findings: Sequence[Finding]) -> dict[str, Any]:
    """The report for programs: complete tables, findings and rejects; the runs are in rows.csv."""
    return {
        "title": report.title,
        "weather_hpc": __version__,
        "sections": [
            {
                "name": section.name,
                "title": section.title,
                "text": section.text,
                "facts": dict(section.facts),
                "sentences": list(section.sentences),
                "tables": [_table(table) for table in section.tables],
                "plots": [
                    {
                        "name": plot.name,
                        "title": plot.title,
                        "text": plot.text,
                        "file": f"plots/{plot.name}.svg" if plot.svg else None,
                        "left_out": plot.left_out,
                    }
                    for plot in section.plots
                ],
                "pictures": [
                    {
                        "name": picture.name,
                        "title": picture.title,
                        "text": picture.text,
                        "file": f"plots/{picture.name}.png",
                    }
                    for picture in section.pictures
                ],
            }
            for section in report.sections
        ],
        "findings": [asdict(finding) for finding in findings],
        "rejects": [
            {"run_id": row.run_id, "status": row.status, "reason": row.reason}
            for row in rows
            if row.is_rejected
        ],
    }


def _table(table: Table) -> dict[str, Any]:
    return {
        "name": table.name,
        "title": table.title,
        "caption": table.caption,
        "columns": table.columns,
        "rows": precise(table),
    }
