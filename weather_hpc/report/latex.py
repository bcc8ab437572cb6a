r"""LaTeX: one table for \input, and the whole report as a document of its own."""

from collections.abc import Iterator, Sequence
from typing import Any

from weather_hpc.analysis.table import Table
from weather_hpc.report.layout import DOCUMENT_ROWS, caption, is_text, readable_columns
from weather_hpc.report.sections import Report, Section
from weather_hpc.report.text import latex, shown

_PER_PAGE = 24
"""Rows of a part of a table: a page on its side holds them."""
_WORDS_FROM = 40
"""Characters of a cell from which its column is broken into lines."""

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


def latex_report(report: Report) -> str:
    """``report`` as a document that pdflatex, xelatex and lualatex take, beside ``plots/``."""
    lines = [_HEAD + rf"\section*{{{latex(report.title)}}}"]
    for section in report.sections:
        lines += _section(section)
    return "\n".join([*lines, r"\end{document}", ""])


def _section(section: Section) -> Iterator[str]:
    yield rf"\subsection*{{{latex(section.title)}}}"
    if section.text:
        yield latex(section.text) + r"\par"
    items = [rf"\textbf{{{latex(label)}}}: {latex(text)}" for label, text in section.facts]
    items += map(latex, section.sentences)
    if items:
        yield r"\begin{itemize}"
        yield from (rf"\item {item}" for item in items)
        yield r"\end{itemize}"
    for plot in section.plots:
        if plot.svg is None:
            yield rf"{latex(plot.title)}: not drawn, because {latex(plot.text)}.\par"
        else:
            width = 0.9 if plot.wide else 0.49
            size = rf"width={width}\linewidth,height=0.8\textheight,keepaspectratio"
            yield rf"\includegraphics[{size}]{{plots/{plot.name}.png}}"
    for table in section.tables:
        yield latex_table(table, most=DOCUMENT_ROWS, whole=section.whole(table))
    yield r"\clearpage"


def latex_table(table: Table, most: int | None = None, whole: str | None = None) -> str:
    r"""``table`` as floats of a page each; needs \usepackage{booktabs,graphicx}.

    At most ``most`` rows, and then where the ``whole`` is.
    """
    rows = table.rows[:most]
    columns = readable_columns(table)
    form = "".join(_form(table, column) for column in columns)
    parts = [rows[i : i + _PER_PAGE] for i in range(0, len(rows), _PER_PAGE)] or [rows]
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


def _tabular(columns: Sequence[str], form: str, rows: Sequence[dict[str, Any]]) -> Iterator[str]:
    # shrunk where it is too wide, never blown up
    yield r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%"
    yield rf"\begin{{tabular}}{{{form}}}"
    yield r"\toprule"
    yield " & ".join(map(latex, columns)) + r" \\"
    yield r"\midrule"
    for row in rows:
        yield " & ".join(latex(shown(column, row[column])) for column in columns) + r" \\"
    yield r"\bottomrule"
    yield r"\end{tabular}}"


def _form(table: Table, column: str) -> str:
    if max((len(shown(column, row[column])) for row in table.rows), default=0) > _WORDS_FROM:
        return "p{80mm}"
    return "l" if is_text(table, column) else "r"
