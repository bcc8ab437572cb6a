"""Markdown: one table, and the whole report."""

from collections.abc import Iterator

from weather_hpc.analysis.table import Table
from weather_hpc.report.layout import (
    DOCUMENT_ROWS,
    cell_text,
    is_text,
    readable_columns,
    shared,
)
from weather_hpc.report.sections import Report, Section
from weather_hpc.text import markdown


def markdown_report(report: Report) -> str:
    """``report`` with its plots as links to the PNG files beside it."""
    lines = [f"# {markdown(report.title)}", ""]
    for section in report.sections:
        lines += _section(section)
    return "\n".join(lines)


def _section(section: Section) -> Iterator[str]:
    yield from (f"## {section.title}", "")
    if section.text:
        yield from (markdown(section.text), "")
    if section.facts:
        yield from (f"- {label}: {markdown(text)}" for label, text in section.facts)
        yield ""
    if section.sentences:
        yield from (f"- {markdown(sentence)}" for sentence in section.sentences)
        yield ""
    for plot in section.plots:
        if plot.svg is None:
            yield from (f"{markdown(plot.title)}: not drawn, because {markdown(plot.text)}.", "")
        else:
            yield from (f"![{markdown(plot.text)}](plots/{plot.name}.png)", "")
    for table in section.tables:
        yield markdown_table(table, level=3, most=DOCUMENT_ROWS, whole=section.whole(table))


def markdown_table(
    table: Table, level: int = 1, most: int | None = None, whole: str | None = None
) -> str:
    """``table`` as a pipe table under a heading of ``level``, its caption below.

    At most ``most`` rows, and then where the ``whole`` is.
    """
    columns = readable_columns(table)
    lines = [f"{'#' * level} {markdown(table.title)}", ""]
    if same := shared(table, most, whole):
        lines += [markdown(same), ""]
    if not table.rows:
        return "\n".join([*lines, "No runs.", ""])
    lines.append("| " + " | ".join(map(markdown, columns)) + " |")
    lines.append("|" + "|".join("---" if is_text(table, c) else "--:" for c in columns) + "|")
    for row in table.rows[:most]:
        cells = [markdown(cell_text(row, column)) for column in columns]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join([*lines, "", markdown(table.caption), ""])
