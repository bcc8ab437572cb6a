"""Reading a reference: our own tables of an earlier day, or a CSV from any source."""

import csv
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from weather_hpc.analysis.table import setting_columns
from weather_hpc.errors import UserError
from weather_hpc.study.settings import SETTINGS as ALL_SETTINGS
from weather_hpc.study.spec import Stage
from weather_hpc.study.stages import BY_TABLE, MEASURED
from weather_hpc.study.tasks import Device, Strategy
from weather_hpc.text import counted

MEASUREMENTS = ("time_s", "speedup", "test_accuracy")

IDENTITY = {
    "preprocess": ("backend", "workers"),
    "eda": ("backend", "workers"),
    "array": ("operation", "engine", "workers"),
    "training": ("strategy", "device", "nodes", "world_size",
                 "batch_size_per_device", "batch_size_global"),
}  # fmt: skip
"""The columns that identify a configuration in any table, by table."""

SETTINGS = {
    table: ["images", *(c for c in setting_columns(kind) if c not in ("study", *IDENTITY[table]))]
    for table, kind in ((of.table, stage) for stage, of in MEASURED.items())
}
"""The columns of all other settings, by table: times are comparable if these are equal."""

_FOREIGN = ("scaling", "image_size_px", "images", "model", "epochs", "threads_per_rank")
"""The settings read from foreign tables, where a column ``precision`` may be a score."""

_PARSE = {s.column or s.name: s.parse for s in ALL_SETTINGS.values()}
"""The type of each setting; a column that is not a setting is a count too."""

_AS_WRITTEN = ("study", "model", "weights")
"""Columns whose case matters."""

_ALIASES = {
    "batch_size_per_device": ("batch_size", "batch", "bs"),
    "time_s": ("time", "seconds", "total_s", "total_time", "total_time_s"),
    "test_accuracy": ("accuracy",),
}
_WORKERS = ("world_size", "ranks", "gpus", "procs", "processes", "workers", "cpus")
"""Foreign names of our ``workers`` or ``world_size``; the first of them that exists is used."""

_OUR_FILES = tuple(f"{table}.csv" for table in BY_TABLE)
_OUR_COLUMNS = {"baseline", "runs"}


@dataclass(frozen=True)
class ReferenceRow:
    """The measurements of one configuration. A setting that is not given is not in ``key``."""

    table: str
    """The name of a scaling table."""
    key: Mapping[str, Any]
    """The configuration: columns of IDENTITY and SETTINGS, and ``study``."""
    values: Mapping[str, float]
    """The MEASUREMENTS that it has, and the ends of their intervals, such as ``time_s_low``."""
    where: str
    """File and line."""

    @property
    def label(self) -> str:
        """The configuration in words."""
        return ", ".join(f"{name} {value}" for name, value in self.key.items() if name != "study")


@dataclass(frozen=True)
class Reference:
    """The rows to compare with."""

    path: Path
    rows: tuple[ReferenceRow, ...]
    unused: tuple[str, ...] = ()
    """Columns, rows and files that are not used, in words."""


@dataclass(frozen=True)
class _Layout:
    """How one CSV is read."""

    path: Path
    table: str
    columns: dict[str, str]
    """The file's name of each of our columns that it has."""
    strategy: str | None = None
    """The strategy of all rows, from the file's name; None: it is in a column or unknown."""


def load_reference(path: Path) -> Reference:
    """The reference in ``path``: a CSV, a folder of CSVs, or a results folder with ``tables/``.

    In a folder with tables of ours only those are read; otherwise every CSV with a column of
    MEASUREMENTS. Raises UserError with file and line for anything that cannot be read.
    """
    if not path.exists():
        raise UserError(f"--reference {path}: no such file or folder")
    unused: list[str] = []
    rows: list[ReferenceRow] = []
    for file in _files(path, unused):
        rows += _read(file, unused)
    if not rows:
        raise UserError(f"--reference {path}: holds no row with any of {', '.join(MEASUREMENTS)}")
    return Reference(path, tuple(rows), tuple(unused))


def _files(path: Path, unused: list[str]) -> list[Path]:
    """The CSVs to read; the names of those that are not read are added to ``unused``."""
    if not path.is_dir():
        return [path]
    folder = path / "tables" if (path / "tables").is_dir() else path
    ours = [folder / name for name in _OUR_FILES if (folder / name).is_file()]
    ours = [file for file in ours if set(_header(file)) >= _OUR_COLUMNS]
    if ours:
        return ours
    foreign = []
    for file in sorted(folder.glob("*.csv")):
        if _our_names(_header(file)).keys() & set(MEASUREMENTS):
            foreign.append(file)
        else:
            unused.append(f"{file.name} (no column {' or '.join(MEASUREMENTS)})")
    if not foreign:
        raise UserError(f"--reference {folder}: holds no CSV with a column time_s")
    return foreign


def _header(path: Path) -> list[str]:
    return next((cells for _, cells in _lines(path)), [])


def _lines(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Line number and cells of every line that is not blank."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            first = file.readline()
            file.seek(0)
            delimiter = max(",;\t", key=first.count)  # the first of these where there is none
            reader = csv.reader(file, delimiter=delimiter, strict=True)
            for cells in reader:
                if any(cell.strip() for cell in cells):
                    yield reader.line_num, [cell.strip() for cell in cells]
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from None
    except (csv.Error, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not a CSV in UTF-8: {error}") from None


def _our_names(header: list[str]) -> dict[str, str]:
    """The file's columns by our names; our own name has precedence over other names."""
    # Time (s) and Num GPUs are time_s and gpus
    lower = {name: re.sub(r"\W+", "_", name.lower()).strip("_") for name in header}
    plain = {re.sub(r"^(?:n|num|number_of)_", "", text): name for name, text in lower.items()}
    columns: dict[str, str] = {}
    settings: tuple[str, ...] = _FOREIGN
    if set(header) >= _OUR_COLUMNS:
        settings = tuple(setting for of_table in SETTINGS.values() for setting in of_table)
    identity = (column for columns in IDENTITY.values() for column in columns)
    names = dict.fromkeys(("study", *identity, *settings))
    ends = [f"{name}_{end}" for name in MEASUREMENTS for end in ("low", "high")]
    for ours in (*names, *MEASUREMENTS, *ends):
        for name in (ours, *_ALIASES.get(ours, ())):
            if name in plain:
                columns.setdefault(ours, plain[name])
    workers = next((plain[name] for name in _WORKERS if name in plain), None)
    return columns if workers is None else columns | {"workers": workers}


def _read(path: Path, unused: list[str]) -> Iterator[ReferenceRow]:
    """The rows of one CSV; what is not used of it is added to ``unused``."""
    lines = _lines(path)
    number, header = next(lines, (1, []))
    layout = _layout(path, number, header)
    other = [name for name in header if name and name not in layout.columns.values()]
    if other and not set(header) >= _OUR_COLUMNS:
        unused.append(f"{', '.join(other)} of {path.name}")
    seen: dict[tuple[Any, ...], int] = {}
    empty = 0
    for number, cells in lines:
        if len(cells) != len(header):
            raise UserError(f"{path}:{number}: {len(cells)} cells; the header has {len(header)}")
        row = _row(layout, number, dict(zip(header, cells, strict=True)))
        first = seen.setdefault(tuple(row.key.items()), number)
        if first != number:
            raise UserError(
                f"{path}:{number}: the same configuration as in line {first} ({row.label}); "
                "expected one line per configuration"
            )
        if row.values:
            yield row
        else:
            empty += 1
    if empty:
        unused.append(f"{counted(empty, 'row')} of {path.name} (without values)")


def _layout(path: Path, number: int, header: list[str]) -> _Layout:
    """How to read the table with this header. Raises UserError if its kind is unclear."""
    columns, where = _our_names(header), f"{path}:{number}"
    has = f"columns: {', '.join(header) or 'none'}"
    repeated = [name for name in header if name and header.count(name) > 1]
    if repeated:
        raise UserError(f"{where}: two columns are named {repeated[0]}")
    if not columns.keys() & set(MEASUREMENTS):
        raise UserError(f"{where}: no column {' or '.join(MEASUREMENTS)}; {has}")
    if "workers" not in columns:
        raise UserError(f"{where}: no column workers, world_size or gpus; {has}")
    prefix = re.split(r"[_.\- ]", path.name.lower())[0]
    if "engine" in columns:
        return _Layout(path, "array", columns)
    if "backend" in columns or prefix == Stage.PREPROCESS:
        return _Layout(path, "eda" if path.name == "eda.csv" else "preprocess", columns)
    if prefix in set(Strategy) and "strategy" not in columns:
        return _Layout(path, "training", columns, strategy=prefix)
    of_training = {"strategy", "batch_size_per_device", "batch_size_global"} & columns.keys()
    if not of_training and prefix != "training":
        raise UserError(
            f"{where}: preprocessing or training? Expected a column backend or strategy, or a "
            f"name such as preprocess.csv or ddp_nodes.csv; {has}"
        )
    return _Layout(path, "training", columns)


def _row(layout: _Layout, number: int, cells: dict[str, str]) -> ReferenceRow:
    """One line of a reference; empty cells are left out."""
    where, columns = f"{layout.path}:{number}", layout.columns
    key: dict[str, Any] = {} if layout.strategy is None else {"strategy": layout.strategy}
    values: dict[str, float] = {}
    for name, column in columns.items():
        text = cells[column]
        if not text:
            continue
        parse = _PARSE.get(name, int)
        if parse is str:
            key[name] = text if name in _AS_WRITTEN else text.lower()
        elif parse is float:
            key[name] = _number(where, column, text)
        elif name.removesuffix("_low").removesuffix("_high") in MEASUREMENTS:
            values[name] = _measurement(where, column, name, text)
        else:
            key[name] = _count(where, column, text)
    if "workers" not in key:
        raise UserError(f"{where}: {columns['workers']}: is empty; expected a whole number")
    if layout.table == "training":
        key["world_size"] = key.pop("workers")
        _set_device(key, columns["workers"].lower().endswith("gpus"))
    known = ("study", *IDENTITY[layout.table], *SETTINGS[layout.table])
    if not values.keys() & set(MEASUREMENTS):
        values = {}
    return ReferenceRow(layout.table, {n: key[n] for n in known if n in key}, values, where)


def _set_device(key: dict[str, Any], counts_gpus: bool) -> None:
    """Fill in ``device``: cuda for a GPU's model or a number of GPUs, cpu for 0 GPUs."""
    device = key.get("device")
    if counts_gpus and (key["world_size"] == 0 or device is None):
        device = Device.CUDA if key["world_size"] else Device.CPU
    key["world_size"] = max(1, key["world_size"])
    if device is not None:
        key["device"] = str(Device.CPU if device == Device.CPU else Device.CUDA)


def _number(where: str, column: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise UserError(f"{where}: {column}: {text!r} is not a number") from None


def _count(where: str, column: str, text: str) -> int:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    lowest = 0 if column.lower().endswith(("gpus", "seed", "warmup_steps")) else 1
    if not value.is_integer() or not lowest <= value <= 2**53:
        raise UserError(f"{where}: {column}: {text!r} is not a whole number of at least {lowest}")
    return int(value)


def _measurement(where: str, column: str, name: str, text: str) -> float:
    accuracy = name.startswith("test_accuracy")
    expected = "a fraction between 0 and 1" if accuracy else "a number above 0"
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (0 <= value <= 1 if accuracy else 0 < value < math.inf):
        raise UserError(
            f"{where}: {column}: {text!r} is not {expected} (leave it empty if not measured)"
        )
    return value
