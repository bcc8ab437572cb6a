"""Writes the report as report.html, .md, .tex and .json, and the tables that it adds."""

from collections.abc import Collection
from dataclasses import asdict
from pathlib import Path
from typing import Any

from weather_hpc import __version__
from weather_hpc.analysis.grids import is_grid_name
from weather_hpc.analysis.table import Table
from weather_hpc.files import write_bytes, write_csv, write_json, write_text
from weather_hpc.report.collected import Collected
from weather_hpc.report.documents import latex_report, latex_table, markdown_report, markdown_table
from weather_hpc.report.drawing import Drawing
from weather_hpc.report.layout import precise
from weather_hpc.report.page import html_page
from weather_hpc.report.plots import with_plots
from weather_hpc.report.section import Report, ReportSection
from weather_hpc.report.sections import report_of
from weather_hpc.runs.paths import StudyPaths


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


def write_report(to: StudyPaths, collected: Collected) -> Report:
    """Write the report of ``collected``, its plots and its own tables; returns it.

    The scaling tables and those of ``collected.extras`` have their own files already.
    """
    report = with_plots(report_of(collected), to.plots)
    for table in report.own_tables:
        write_table(to.tables, table)
    for picture in (picture for part in report.parts for picture in part.pictures):
        write_bytes(to.plots / f"{picture.name}.png", picture.png)
    write_text(to.report, html_page(report, collected.live))
    write_text(to.report_markdown, markdown_report(report))
    write_text(to.report_latex, latex_report(report))
    write_json(to.report_json, json_report(report, collected))
    return report


def json_report(report: Report, collected: Collected) -> dict[str, Any]:
    """The report for programs: complete tables, findings and rejects; the runs are in rows.csv."""
    first = report.first
    return {
        "title": report.title,
        "weather_hpc": __version__,
        "subject": first.subject,
        "verdict": asdict(first.verdict) if first.verdict else None,
        "cards": [asdict(card) for card in first.cards],
        "sentences": list(first.sentences),
        "plots": [_plot(plot) for plot in first.plots],
        "sections": [_section(section) for section in report.sections],
        "left_out": list(report.left_out),
        "findings": [asdict(finding) for finding in collected.findings],
        "rejects": [
            {"run_id": row.run_id, "status": row.status, "reason": row.reason}
            for row in collected.comparison.rows
            if row.is_rejected
        ],
    }


def _section(section: ReportSection) -> dict[str, Any]:
    return {
        "name": section.name,
        "title": section.title,
        "text": section.text,
        "facts": dict(section.facts),
        "sentences": list(section.sentences),
        "tables": [_table(table) for table in section.tables],
        "plots": [_plot(plot) for plot in section.plots],
        "pictures": [
            {
                "name": picture.name,
                "title": picture.title,
                "text": picture.text,
                "file": f"plots/{picture.name}.png",
            }
            for picture in section.pictures
        ],
        "parts": [_section(part) for part in section.parts],
    }


def _plot(plot: Drawing) -> dict[str, Any]:
    return {
        "name": plot.name,
        "title": plot.title,
        "text": plot.text,
        "file": f"plots/{plot.name}.svg" if plot.svg else None,
        "left_out": plot.left_out,
    }


def _table(table: Table) -> dict[str, Any]:
    return {
        "name": table.name,
        "title": table.title,
        "caption": table.caption,
        "columns": table.columns,
        "rows": precise(table),
    }
