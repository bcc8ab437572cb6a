"""One table in four formats: CSV and JSON for programs, Markdown and LaTeX for people."""

from pathlib import Path

from weather_hpc.analysis.table import Table
from weather_hpc.files import write_csv, write_json, write_text
from weather_hpc.report.latex import latex_table
from weather_hpc.report.layout import precise
from weather_hpc.report.markdown import markdown_table


def write_table(folder: Path, table: Table) -> None:
    """Write ``table`` into ``folder`` as .csv, .json, .md and .tex."""
    rows = precise(table)
    write_csv(folder / f"{table.name}.csv", table.columns, rows)
    write_json(folder / f"{table.name}.json", rows)
    write_text(folder / f"{table.name}.md", markdown_table(table))
    write_text(folder / f"{table.name}.tex", latex_table(table))
