"""One table in four formats: CSV and JSON for programs, Markdown and LaTeX for people."""

from pathlib import Path

from weather_hpc.analysis.table import Table
from weather_hpc.collect.csv_file import write_csv
from weather_hpc.files import write_json, write_text
from weather_hpc.report.text import latex, markdown, rounded, shown

_TRAILING = ["study", "scaling", "model", "epochs", "threads_per_rank", "image_size_px", "note"]


def write_table(folder: Path, table: Table) -> None:
    """Write ``table`` into ``folder`` as .csv, .json, .md and .tex."""
    rows = [{column: rounded(value) for column, value in row.items()} for row in table.rows]
    write_csv(folder / f"{table.name}.csv", table.columns, rows)
    write_json(folder / f"{table.name}.json", rows)
    write_text(folder / f"{table.name}.md", markdown_table(table))
    write_text(folder / f"{table.name}.tex", latex_table(table))


def readable_columns(table: Table) -> list[str]:
    """The columns a person needs: those that only repeat one setting in every row are left out."""
    constant = set(_TRAILING) - set(table.varying(_trailing(table)))
    return [column for column in table.columns if column not in constant]


def constants(table: Table) -> str:
    """The settings that all rows share, which :func:`readable_columns` leaves out, in words."""
    if not table.rows:
        return ""
    varying = table.varying(_trailing(table))
    first = table.rows[0]
    same = [c for c in _trailing(table) if c not in varying and first[c] is not None]
    return "; ".join(f"{column} {first[column]}" for column in same)


def _trailing(table: Table) -> list[str]:
    return [column for column in _TRAILING if column in table.columns]


def _caption(table: Table) -> str:
    same = constants(table)
    return table.caption + (f" In all rows: {same}." if same else "")


def markdown_table(table: Table) -> str:
    """``table`` as a pipe table under its title and caption."""
    columns = readable_columns(table)
    lines = [f"# {table.title}", "", markdown(_caption(table)), ""]
    if not table.rows:
        return "\n".join([*lines, "No runs.", ""])
    lines.append("| " + " | ".join(map(markdown, columns)) + " |")
    lines.append("|" + "|".join("---" if _is_text(table, c) else "--:" for c in columns) + "|")
    for row in table.rows:
        cells = [markdown(shown(column, row[column])) for column in columns]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join([*lines, ""])


def latex_table(table: Table) -> str:
    r"""``table`` as a LaTeX table; needs \usepackage{booktabs} and, being wide, {graphicx}."""
    columns = readable_columns(table)
    form = "".join("l" if _is_text(table, c) else "r" for c in columns)
    head = " & ".join(map(latex, columns)) + r" \\"
    body = [
        " & ".join(latex(shown(column, row[column])) for column in columns) + r" \\"
        for row in table.rows
    ]
    return "\n".join(
        [
            r"% \usepackage{booktabs,graphicx}",
            r"\begin{table}",
            rf"\caption{{{latex(table.title)}. {latex(_caption(table))}}}",
            rf"\label{{tab:{table.name}}}",
            r"\resizebox{\textwidth}{!}{%",
            rf"\begin{{tabular}}{{{form}}}",
            r"\toprule",
            head,
            r"\midrule",
            *body,
            r"\bottomrule",
            r"\end{tabular}}",
            r"\end{table}",
            "",
        ]
    )


def _is_text(table: Table, column: str) -> bool:
    return any(isinstance(row[column], str) for row in table.rows)
