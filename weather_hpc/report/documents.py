r"""Markdown and LaTeX: one table each, and the whole report as a document of its own."""

import math
from collections.abc import Iterator, Sequence
from typing import Any

from weather_hpc.analysis.table import Table
from weather_hpc.report.drawing import Drawing
from weather_hpc.report.layout import (
    DOCUMENT_ROWS,
    caption,
    card_text,
    cell_text,
    is_text,
    left_out_sentence,
    readable_columns,
    shared,
)
from weather_hpc.report.section import FirstScreen, Report, ReportSection
from weather_hpc.text import latex, markdown

_PER_PAGE = 24
"""Lines of a table on a landscape page."""
_WRAP_ABOVE = 40
"""Characters of a cell above which its column is wrapped."""
_PER_LINE = 50
"""Characters of a wrapped line, 80 mm wide."""
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
    """``report`` with its plots as links to ``plots/*.png``."""
    lines = [f"# {markdown(report.title)}", ""]
    lines += _markdown_first(report.first)
    for section in report.sections:
        lines += _markdown_section(section)
    if report.left_out:
        lines += [markdown(left_out_sentence(report)), ""]
    return "\n".join(lines)


def _markdown_first(first: FirstScreen) -> Iterator[str]:
    if first.subject:
        yield from (markdown(first.subject), "")
    if first.verdict:
        yield from (f"**{first.verdict.trust}**: {markdown(first.verdict.text)}", "")
    for card in first.cards:
        yield f"- {markdown(card_text(card))}"
    yield ""
    yield from (f"- {markdown(sentence)}" for sentence in first.sentences)
    yield ""
    yield from _markdown_plots(first.plots)


def _markdown_plots(plots: Sequence[Drawing]) -> Iterator[str]:
    for plot in plots:
        if plot.svg is not None:
            yield from (f"![{markdown(plot.text)}](plots/{plot.name}.png)", "")


def _markdown_section(section: ReportSection, level: int = 2) -> Iterator[str]:
    yield from (f"{'#' * level} {markdown(section.title)}", "")
    if section.text:
        yield from (markdown(section.text), "")
    if section.facts:
        yield from (f"- {label}: {markdown(text)}" for label, text in section.facts)
        yield ""
    if section.sentences:
        yield from (f"- {markdown(sentence)}" for sentence in section.sentences)
        yield ""
    yield from _markdown_plots(section.plots)
    for picture in section.pictures:
        yield from (f"![{markdown(picture.text)}](plots/{picture.name}.png)", "")
        yield from (markdown(picture.title), "")
    for table in section.tables:
        yield markdown_table(
            table, level=level + 1, max_rows=DOCUMENT_ROWS, full_file=section.full_file(table)
        )
    for part in section.parts:
        yield from _markdown_section(part, level + 1)


def markdown_table(
    table: Table, level: int = 1, max_rows: int | None = None, full_file: str | None = None
) -> str:
    """``table`` as a pipe table under a heading of ``level``, its caption below.

    At most ``max_rows`` rows; then it names the file ``full_file``, which has all.
    """
    columns = readable_columns(table)
    lines = [f"{'#' * level} {markdown(table.title)}", ""]
    if same := shared(table, max_rows, full_file):
        lines += [markdown(same), ""]
    if not table.rows:
        return "\n".join([*lines, "No runs.", ""])
    lines.append("| " + " | ".join(map(markdown, columns)) + " |")
    lines.append("|" + "|".join("---" if is_text(table, c) else "--:" for c in columns) + "|")
    for row in table.rows[:max_rows]:
        cells = [markdown(cell_text(row, column)) for column in columns]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join([*lines, "", markdown(table.caption), ""])


def latex_report(report: Report) -> str:
    """``report`` as a document for pdflatex, xelatex or lualatex; its plots are in ``plots/``."""
    lines = [_HEAD + rf"\section*{{{latex(report.title)}}}"]
    lines += _latex_first(report.first)
    for section in report.sections:
        lines += _latex_section(section)
    if report.left_out:
        lines.append(latex(left_out_sentence(report)) + r"\par")
    return "\n".join([*lines, r"\end{document}", ""])


def _latex_first(first: FirstScreen) -> Iterator[str]:
    if first.subject:
        yield latex(first.subject) + r"\par"
    if first.verdict:
        yield rf"\textbf{{{first.verdict.trust}}}: {latex(first.verdict.text)}\par"
    yield from _latex_items([*map(card_text, first.cards), *first.sentences])
    yield from _latex_plots(first.plots)
    yield r"\clearpage"


def _latex_items(items: Sequence[str]) -> Iterator[str]:
    if items:
        yield r"\begin{itemize}"
        yield from (rf"\item {latex(item)}" for item in items)
        yield r"\end{itemize}"


def _latex_section(section: ReportSection, level: int = 1) -> Iterator[str]:
    yield rf"\{'sub' * level}section*{{{latex(section.title)}}}"
    if section.text:
        yield latex(section.text) + r"\par"
    facts = [f"{label}: {text}" for label, text in section.facts]
    yield from _latex_items([*facts, *section.sentences])
    yield from _latex_plots(section.plots)
    for picture in section.pictures:
        yield rf"{_image(picture.name, 0.9)}\par {latex(picture.title)}\par"
    for table in section.tables:
        yield latex_table(table, max_rows=DOCUMENT_ROWS, full_file=section.full_file(table))
    if section.plots or section.pictures or section.tables:
        yield r"\clearpage"
    for part in section.parts:
        yield from _latex_section(part, level + 1)


def _latex_plots(plots: Sequence[Drawing]) -> Iterator[str]:
    drawn = [plot for plot in plots if plot.svg is not None]
    if drawn:
        yield r"{\raggedright"  # two narrow plots side by side
        for plot in drawn:
            yield _image(plot.name, 0.9 if plot.wide else 0.45)
        yield r"\par}"


def _image(name: str, width: float) -> str:
    """The picture ``name``, ``width`` of a line wide."""
    size = rf"width={width}\linewidth,height=0.8\textheight,keepaspectratio"
    return rf"\includegraphics[{size}]{{plots/{name}.png}}"


def latex_table(table: Table, max_rows: int | None = None, full_file: str | None = None) -> str:
    r"""``table`` as floats of a page each; needs \usepackage{booktabs,graphicx}.

    At most ``max_rows`` rows; then it names the file ``full_file``, which has all. A table without
    rows becomes a sentence.
    """
    columns = readable_columns(table)
    if not columns:
        return rf"{latex(table.title)}: no runs.\par" + "\n"
    form = "".join(_form(table, column) for column in columns)
    parts = _parts(table.rows[:max_rows], columns)
    lines = [r"% \usepackage{booktabs,graphicx}"]
    for number, part in enumerate(parts, start=1):
        of = f" ({number} of {len(parts)})" if len(parts) > 1 else ""
        text = f" {latex(caption(table, max_rows, full_file))}" if number == 1 else ""
        lines += [
            r"\begin{table}[htbp]",
            rf"\caption{{{latex(table.title)}{of}.{text}}}",
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
        needs = math.ceil(longest / _PER_LINE) if longest > _WRAP_ABOVE else 1
        if needs > room or not parts:
            parts.append([])
            room = _PER_PAGE
        parts[-1].append(row)
        room -= needs
    return parts


def _tabular(columns: Sequence[str], form: str, rows: Sequence[dict[str, Any]]) -> Iterator[str]:
    # shrunk where too wide, never enlarged
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
    if max((len(cell_text(row, column)) for row in table.rows), default=0) > _WRAP_ABOVE:
        return "p{80mm}"
    return "l" if is_text(table, column) else "r"
