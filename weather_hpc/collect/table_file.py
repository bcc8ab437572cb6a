"""Tables in text files: CSV with any delimiter, aligned columns, Markdown, grids, LaTeX.

Only how a table is written is decided here, not what its columns mean.
"""

import csv
import html
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from weather_hpc.collect.latex_tabular import tabulars
from weather_hpc.errors import UserError
from weather_hpc.reading import read_bytes

_SIGNATURES = {
    b"PK\x03\x04": "a workbook (.xlsx or .ods) or another archive; save its sheet as CSV",
    b"\xd0\xcf\x11\xe0": "an Excel workbook (.xls); save its sheet as CSV",
    b"PAR1": "a Parquet file; write it as CSV",
    b"%PDF": "a PDF; copy its table into a CSV",
    b"\x1f\x8b": "a compressed file; unpack it first",
}
"""How files begin that hold tables but are no text."""

_OTHER_TEXT = {
    r"\A\s*(?:<!doctype|<html)|<table": "HTML; copy its table into a CSV",
    r"\A\s*(?:\{|\[\s*[\[{\d\"])": "JSON; expected a CSV or a Markdown table",
}
"""What text with a table has in forms that are not read."""

_BOXES = str.maketrans(
    {**dict.fromkeys("│┃║┆┊", "|"), **dict.fromkeys("─━═╌┄", "-")}
    | dict.fromkeys("┌┐└┘├┤┬┴┼╭╮╰╯┏┓┗┛┣┫┳┻╋╔╗╚╝╠╣╦╩╬╞╡╪╟╢╫┡┩╇┠┨╂┝┥┿╒╕╘╛╤╧", "+")
)
"""Signs that draw the lines of a table."""

_RULE = re.compile(r"(?=.*[-=])(?=.*[|+])[\s|+:=-]+")
"""The line between a table's header and its rows."""

_DELIMITERS = ";\t|,"
"""In the order of preference where two fit: a comma may be a decimal sign."""

_COMMENT = re.compile(r"\s*(?:#(?!\d)|//)")  # #1 is the first of something

_NOTE = re.compile(r"[*†‡§¹²³]|\(?(?:note|source|remark)s?\b", re.IGNORECASE)
"""How a line below or above a table begins that explains it."""


@dataclass
class TextTable:
    """One table of a file."""

    path: Path
    line: int
    """Of its header."""
    header: list[str]
    rows: list[tuple[int, list[str]]]
    """Line number and cells."""
    comma_decimals: bool = False
    """Whether a comma in a cell may be a decimal sign: another sign is between the cells."""
    passed_over: list[int] = field(default_factory=list)
    """Numbers of lines beside the table: titles, comments, footnotes."""


LONGEST_LINE = 2**15
"""Characters."""

LARGEST_TABLE = 16 * 2**20
"""Bytes of a file of reference values."""


def read_tables(path: Path) -> list[TextTable]:
    """The tables in ``path``, at least one; an empty file has one without columns.

    Raises UserError for a file that is no text, or a CSV whose quotes do not match.
    """
    text = _text(path)
    lines = text.splitlines()
    if max(map(len, lines), default=0) > LONGEST_LINE:
        raise UserError(
            f"{path}: a line of more than {LONGEST_LINE} characters is no row of a table"
        )
    if r"\begin{" in text:
        typeset = [
            TextTable(path, rows[0][0], rows[0][1], rows[1:]) for rows in tabulars(path, text)
        ]
        if typeset:
            return typeset
    drawn = list(_drawn(path, lines))
    if drawn:
        return drawn
    for mark, kind in _OTHER_TEXT.items():
        if re.search(mark, text, re.IGNORECASE):
            raise UserError(f"{path}: {kind}")
    return [_delimited(path, lines)]


def _text(path: Path) -> str:
    data = read_bytes(path, LARGEST_TABLE)
    for signature, kind in _SIGNATURES.items():
        if data.startswith(signature):
            raise UserError(f"{path}: {kind}")
    wide = data.startswith((b"\xff\xfe", b"\xfe\xff"))  # Excel's "Unicode text"
    try:
        text = data.decode("utf-16" if wide else "utf-8-sig")
    except UnicodeDecodeError as error:
        if wide:
            raise UserError(f"{path}: not a CSV in UTF-8: {error}") from None
        # of older Excel: numbers are ASCII in it, and signs such as ± and µ are right
        text = data.decode("cp1252", "replace")
    if "\0" in text:
        raise UserError(f"{path}: not a CSV in UTF-8: it holds zero bytes")
    return text


def _drawn(path: Path, lines: list[str]) -> Iterator[TextTable]:
    """Tables whose rows have ``|`` between cells: Markdown, org, psql, grids of box signs."""
    block: list[tuple[int, str]] = []
    for number, line in enumerate([*(line.translate(_BOXES) for line in lines), ""], 1):
        inner = re.sub(r"^(?:\s*>)*\s*|\s+$", "", line)  # in Markdown, it may be quoted
        if "|" in inner or _RULE.fullmatch(inner):
            block.append((number, inner))
            continue
        yield from _of_block(path, block)
        block = []


def _of_block(path: Path, block: list[tuple[int, str]]) -> Iterator[TextTable]:
    """The table in adjacent lines, if they are one: a header, a line below it, and rows."""
    head: list[tuple[int, list[str]]] = []
    table: TextTable | None = None
    for number, line in block:
        if not _RULE.fullmatch(line):
            cells = _cells(line)
            if table is None:
                head.append((number, cells))
            elif any(cells):
                missing = len(table.header) - len(cells)
                table.rows.append((number, cells + [""] * missing))
        elif head and table is None:
            # a header may be written over several lines
            width = len(head[-1][1])
            parts = [cells for _, cells in head if len(cells) == width]
            header = [" ".join(filter(None, words)) for words in zip(*parts, strict=True)]
            table = TextTable(path, head[-1][0], header, [])
    if table is not None:
        yield table


def _cells(line: str) -> list[str]:
    """The cells of one row; ``\\|`` is part of a cell."""
    inner = re.sub(r"^\||(?<!\\)\|$", "", line)
    return [_plain(cell.replace(r"\|", "|")) for cell in re.split(r"(?<!\\)\|", inner)]


def _plain(cell: str) -> str:
    """A cell of Markdown as text: without emphasis, links, tags and marks of footnotes."""
    text = re.sub(r"\[\^[^\]]+\]|<sup>.*?</sup>", "", cell)
    text = re.sub(r"<[a-z/][^<>]*>", " ", text, flags=re.IGNORECASE)
    text = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", text)
    text = re.sub(r"(\*\*|__|`)(.+?)\1", r"\2", text)
    text = re.sub(r"(?<![\w*])([*_])(?=\S)(.+?)(?<=\S)\1(?![\w*])", r"\2", text)
    text = text.replace(r"\pm", "±").replace(r"\times", "×").replace("$", "")
    text = re.sub(r"\\([\\`*_{}\[\]()#+.!<>~&%-])", r"\1", text)
    return " ".join(html.unescape(text).split())


def _delimited(path: Path, lines: list[str]) -> TextTable:
    """The table of a file that has one line per row."""
    comments = {n: line.strip() for n, line in enumerate(lines, 1) if _COMMENT.match(line)}
    kept = ["" if n in comments else line for n, line in enumerate(lines, 1)]
    kept = ["" if re.fullmatch(r"[-=+ ]{3,}", line.strip()) else line for line in kept]
    sep = re.fullmatch(r"sep=(.)", kept[0].strip('\ufeff" ')) if kept else None
    if sep:  # Excel's own line for the delimiter
        kept[0] = ""
    delimiter = sep[1] if sep else _delimiter(kept)
    records = list(_records(path, kept, delimiter))
    before = [number for number, cells in records if sum(map(bool, cells)) > 1][:1]
    skipped = [r for r in records if before and r[0] < before[0]]
    records = records[len(skipped) :]
    if records and any(map(_is_number, records[0][1])):
        # no header there: it may be the last comment, as gnuplot's files have it
        width = len(records[0][1])
        for number in sorted((n for n in comments if n < records[0][0]), reverse=True):
            text = comments[number].lstrip("#/ ")
            found = next(_records(path, [text], delimiter), (0, []))[1]
            if len(found) == width:
                del comments[number]
                records.insert(0, (number, found))
                break
    if not records:
        return TextTable(path, 1, [], [])
    line, header = records.pop(0)
    while len(header) > 1 and not header[-1] and all(not c[-1] for _, c in records if c):
        header, records = header[:-1], [(n, c[:-1]) for n, c in records]
    result = TextTable(path, line, header, [], delimiter in (";", "\t"))
    result.passed_over += [*comments, *(number for number, _ in skipped)]
    for number, cells in records:
        if len(header) > 1 and not any(cells[1:]) and _NOTE.match(cells[0]):
            result.passed_over.append(number)
        else:
            result.rows.append((number, cells))
    result.passed_over.sort()
    return result


def _is_number(text: str) -> bool:
    return bool(re.fullmatch(r"[-+]?\d+(?:[.,]\d+)?", text))


def _delimiter(lines: list[str]) -> str | None:
    """The sign that most lines have equally often; None: cells are aligned by spaces."""
    lines = [line for line in lines if line.strip()][:50]
    best, most = None, 0
    for delimiter in _DELIMITERS:
        often = Counter(count for line in lines if (count := line.count(delimiter)))
        agreeing = max(often.values(), default=0)
        if agreeing > most:
            best, most = delimiter, agreeing
    return best


def _records(
    path: Path, lines: list[str], delimiter: str | None
) -> Iterator[tuple[int, list[str]]]:
    """Line number and cells of every line that is not blank."""
    if delimiter is None:
        filled = [line.strip() for line in lines if line.strip()]
        wide = len({len(re.split(r"\s{2,}", line)) for line in filled}) == 1
        wide = wide and bool(re.search(r"\S\s{2,}\S", filled[0]))
        for number, line in enumerate(lines, 1):
            if line.strip():
                yield number, re.split(r"\s{2,}" if wide else r"\s+", line.strip())
        return
    reader = csv.reader((f"{line}\n" for line in lines), delimiter=delimiter, strict=True)
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                yield reader.line_num, [" ".join(cell.split()) for cell in cells]
    except csv.Error as error:
        raise UserError(f"{path}: not a CSV in UTF-8: {error}") from None
