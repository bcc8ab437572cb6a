"""Reading a reference: our own tables of an earlier day, or a table from any source."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from weather_hpc.collect.reference_cells import is_absent
from weather_hpc.collect.reference_layout import (
    is_own,
    is_usable,
    layout_of,
    named,
    with_repeated,
    with_units,
)
from weather_hpc.collect.reference_repeats import MEDIAN, Line, merge_repeats
from weather_hpc.collect.reference_row import MEASUREMENTS, Layout, ReferenceRow
from weather_hpc.collect.table_file import TextTable, read_tables
from weather_hpc.errors import UserError
from weather_hpc.study.stages import BY_TABLE
from weather_hpc.text import counted

_OUR_FILES = tuple(f"{table}.csv" for table in BY_TABLE)
_FOREIGN_FILES = (".csv", ".tsv")
"""What is read of a folder."""

_DOCUMENTS = (".md", ".rst", ".org", ".tex", ".txt")
"""What is read where it is named: most hold no table."""

_STATES = ("state", "status", "outcome", "result")
"""Heads of columns that say how a run ended; a time of one that failed is not used."""


@dataclass(frozen=True)
class Reference:
    """The rows to compare with."""

    path: Path
    rows: tuple[ReferenceRow, ...]
    unused: tuple[str, ...] = ()
    """Columns, rows and files that are not used, in words."""
    notes: tuple[str, ...] = ()
    """How it was read, where that is not plain: medians, units, products."""


@dataclass
class _Reader:
    """Reads files, and keeps what has to be said about them."""

    unused: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def read(self, path: Path) -> Iterator[ReferenceRow]:
        """The rows of one file."""
        tables = read_tables(path)
        usable = [table for table in tables if is_usable(table)]
        if len(tables) > 1 and usable:
            others = [f"the table in line {t.line}" for t in tables if t not in usable]
            self.unused += [f"{other} of {path.name}" for other in others]
        for table in usable or [max(tables, key=lambda t: len(named(t)[0]))]:
            yield from self._read_table(table)

    def _read_table(self, table: TextTable) -> list[ReferenceRow]:
        own = is_own(table.header)
        if not own:
            table, filled = with_repeated(with_units(table))
            if filled:
                self.notes.append(f"empty cells of {filled} of {table.path.name} as those above")
        layout = layout_of(table)
        used = {column.head for column in layout.columns.values()}
        other = [head for head in table.header if head and head not in used]
        name = table.path.name
        if other and not own:
            self.unused.append(f"{', '.join(other)} of {name}")
        if table.passed_over:
            numbers = ", ".join(map(str, table.passed_over))
            self.unused.append(f"{'lines' if ',' in numbers else 'line'} {numbers} of {name}")
        if not own:
            self._note_columns(name, layout)
        lines, absent, empty = [], [], 0
        for number, cells in table.rows:
            texts = dict(zip(table.header, cells, strict=True))
            row, missing = layout.row(number, texts)
            failed = [t for h, t in texts.items() if t and h.lower() in _STATES and is_absent(t)]
            if failed:
                row = replace(row, values={})
            absent += missing or failed
            empty += not row.values
            repeat = layout.columns.get("repeat")
            others = {head: texts[head] for head in table.header if head not in used}
            lines.append(Line(row, number, others, texts[repeat.head] if repeat else ""))
        if absent:
            marks = ", ".join(dict.fromkeys(absent))
            self.unused.append(f"{counted(len(absent), 'cell')} of {name} ({marks})")
        if empty:
            self.unused.append(f"{counted(empty, 'row')} of {name} (without values)")
        rows = merge_repeats(lines)
        repeated = sum(row.where.endswith(MEDIAN) for row in rows)
        if repeated:
            self.notes.append(f"medians of {counted(repeated, 'configuration')} of {name}")
        return [row for row in rows if row.values]

    def _note_columns(self, name: str, layout: Layout) -> None:
        """Say what was converted."""
        for ours in ("time_s", "images_per_s"):
            column = layout.columns.get(ours)
            if column and (column.unit or 1.0) != 1.0:
                self.notes.append(f"{column.head} of {name} converted to {ours}")
            if column and column.per_device:
                self.notes.append(f"{column.head} of {name} times the number of devices")
        each = layout.per_node
        if layout.gpus_are_per_node:
            each = layout.workers
        if each and "nodes" in layout.columns:
            self.notes.append(f"{layout.columns['nodes'].head} x {each.head} of {name}")


def load_reference(path: Path) -> Reference:
    """The reference in ``path``: a table, a folder of them, or a results folder with ``tables/``.

    In a folder with tables of ours only those are read; otherwise every CSV with a column of
    MEASUREMENTS. Raises UserError with file and line for anything that cannot be read.
    """
    if not path.exists():
        raise UserError(f"--reference {path}: no such file or folder")
    reader = _Reader()
    rows: list[ReferenceRow] = []
    for file in _files(path, reader.unused):
        rows += reader.read(file)
    if not rows:
        raise UserError(f"--reference {path}: holds no row with any of {', '.join(MEASUREMENTS)}")
    return Reference(path, tuple(rows), tuple(reader.unused), tuple(reader.notes))


def _files(path: Path, unused: list[str]) -> list[Path]:
    """The files to read; the names of those that are not read are added to ``unused``."""
    if not path.is_dir():
        return [path]
    folder = path / "tables" if (path / "tables").is_dir() else path
    ours = [folder / name for name in _OUR_FILES if (folder / name).is_file()]
    ours = [file for file in ours if any(is_own(table.header) for table in read_tables(file))]
    if ours:
        return ours
    foreign = []
    for file in sorted(file for file in folder.iterdir() if file.suffix in _FOREIGN_FILES):
        if any(named(table)[0].keys() & set(MEASUREMENTS) for table in read_tables(file)):
            foreign.append(file)
        else:
            unused.append(f"{file.name} (no column {' or '.join(MEASUREMENTS)})")
    if not foreign:
        named_alone = [file.name for file in folder.iterdir() if file.suffix in _DOCUMENTS]
        hint = f"; name the file with the table: {min(named_alone)}" if named_alone else ""
        raise UserError(f"--reference {folder}: holds no CSV with a column time_s{hint}")
    return foreign
