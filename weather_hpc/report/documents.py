r"""Markdown and LaTeX: one table each, and the whole report as a document of its own."""

import math
from collections.abc import Iterator, Sequence
from typing import Any

from weather_hpc.analysis.table import Table
from weather_hpc.report.layout import (
    DOCUMENT_ROWS,
    caption,
    cell_text,
    is_text,
    readable_columns,
    shared,
)
from weather_hpc.report.plots import Plot
from weather_hpc.report.sections import Report, Section
from weather_hpc.text import latex, markdown

_PER_PAGE = 24
"""Lines of a part of a table: a page on its side holds them."""
_WORDS_FROM = 40
"""Characters of a cell from which its column is broken into lines."""
_PER_LINE = 50
"""Characters of such a line, which is 80 mm wide."""
_HEAD = r"""\documentclass[a4paper,10pt]{article}
\usepackage[T1]{fontenc}
\usepackage[utf8]{inputenc}
\usepackage{textcomp}
\IfFileExists{lmodern.sty}{\usepackage{lmodern}}{}
\usepackage[landscape,margin=15mm]{geometry}
\usepackage{booktabs,graphicx}
\setlength{\parindent}{0pt}
\begin{document}
"""


def markdown_report(report: Report) -> str:
    """``report`` with its plots as links to the PNG files beside it."""
    lines = [f"# {markdown(report.title)}", ""]
    for section in report.sections:
        lines += _markdown_section(section)
    return "\n".join(lines)


def _markdown_section(section: Section) -> Iterator[str]:
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


def latex_report(report: Report) -> str:
    """``report`` as a document that pdflatex, xelatex and lualatex take, beside ``plots/``."""
    lines = [_HEAD + rf"\section*{{{latex(report.title)}}}"]
    for section in report.sections:
        lines += _latex_section(section)
    return "\n".join([*lines, r"\end{document}", ""])


def _latex_section(section: Section) -> Iterator[str]:
    yield rf"\subsection*{{{latex(section.title)}}}"
    if section.text:
        yield latex(section.text) + r"\par"
    items = [rf"\textbf{{{latex(label)}}}: {latex(text)}" for label, text in section.facts]
    items += map(latex, section.sentences)
    if items:
        yield r"\begin{itemize}"
        yield from (rf"\item {item}" for item in items)
        yield r"\end{itemize}"
    yield from _latex_plots(section.plots)
    for table in section.tables:
        yield latex_table(table, most=DOCUMENT_ROWS, whole=section.whole(table))
    if section.plots or section.tables:
        yield r"\clearpage"


def _latex_plots(plots: Sequence[Plot]) -> Iterator[str]:
    drawn = [plot for plot in plots if plot.svg is not None]
    if drawn:
        yield r"{\raggedright"  # two narrow ones stand side by side, a third on the next line
        for plot in drawn:
            width = 0.9 if plot.wide else 0.45
            size = rf"width={width}\linewidth,height=0.8\textheight,keepaspectratio"
            yield rf"\includegraphics[{size}]{{plots/{plot.name}.png}}"
        yield r"\par}"
    for plot in plots:
        if plot.svg is None:
            yield rf"{latex(plot.title)}: not drawn, because {latex(plot.text)}.\par"


def latex_table(table: Table, most: int | None = None, whole: str | None = None) -> str:
    r"""``table`` as floats of a page each; needs \usepackage{booktabs,graphicx}.

    At most ``most`` rows, and then where the ``whole`` is. A table without rows is a sentence.
    """
    columns = readable_columns(table)
    if not columns:
        return rf"{latex(table.title)}: no runs.\par" + "\n"
    form = "".join(_form(table, column) for column in columns)
    parts = _parts(table.rows[:most], columns)
    lines = [r"% \usepackage{booktabs,graphicx}"]
    for number, part in enumerate(parts, start=1):
        of = f" ({number} of {len(parts)})" if len(parts) > 1 else ""
        words = f" {latex(caption(table, most, whole))}" if number == 1 else ""
        lines += [
            r"\begin{table}[htbp]",
            rf"\caption{{{latex(table.title)}{of}.{words}}}",
            *([rf"\label{{tab:{table.name}}}"] if number == 1 else []),
            *_tabular(columns, form, part),
            r"\end{table}",
        ]
        if len(parts) > 1:
            lines.append(r"\clearpage")
    return "\n".join([*lines, ""])


def _parts(rows: Sequence[dict[str, Any]], columns: Sequence[str]) -> list[list[dict[str, Any]]]:
    """``rows`` in parts of a page each."""
    parts: list[list[dict[str, Any]]] = []
    room = 0
    for row in rows:
        longest = max(len(cell_text(row, column)) for column in columns)
        needs = math.ceil(longest / _PER_LINE) if longest > _WORDS_FROM else 1
        if needs > room or not parts:
            parts.append([])
            room = _PER_PAGE
        parts[-1].append(row)
        room -= needs
    return parts


def _tabular(columns: Sequence[str], form: str, rows: Sequence[dict[str, Any]]) -> Iterator[str]:
    # shrunk where it is too wide, never blown up
    yield r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%"
    yield rf"\begin{{tabular}}{{{form}}}"
    yield r"\toprule"
    yield " & ".join(map(latex, columns)) + r" \\"
    yield r"\midrule"
    for row in rows:
        yield " & ".join(latex(cell_text(row, column)) for column in columns) + r" \\"
    yield r"\bottomrule"
    yield r"\end{tabular}}"


def _form(table: Table, column: str) -> str:
    if max((len(cell_text(row, column)) for row in table.rows), default=0) > _WORDS_FROM:
        return "p{80mm}"
    return "l" if is_text(table, column) else "r"
