"""Reading figures to compare with: our own tables of an earlier day, or anybody's CSV."""

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
from weather_hpc.study.spec import Device, Stage, Strategy

FIGURES = ("time_s", "speedup", "test_accuracy")

IDENTITY = {
    "preprocess": ("backend", "workers"),
    "training": ("strategy", "device", "nodes", "world_size",
                 "batch_size_per_device", "batch_size_global"),
}  # fmt: skip
"""The columns that name a configuration in anybody's table, by table."""

SETTINGS = {
    table: ["images", *(c for c in setting_columns(kind) if c not in ("study", *IDENTITY[table]))]
    for table, kind in (("preprocess", "preprocess"), ("training", "train"))
}
"""The columns of all other settings, by table: times are comparable where they are equal."""

_FOREIGN = ("scaling", "image_size_px", "images", "model", "epochs", "threads_per_rank")
"""Those that are read from other people's tables, where a column ``precision`` may be a score."""

_PARSE = {s.column or s.name: s.parse for s in ALL_SETTINGS.values()}
"""How a setting's text is read; a count where it is int, as is everything that is not a setting."""

_AS_WRITTEN = ("study", "model", "weights")
"""Text whose case matters."""

_ALIASES = {
    "batch_size_per_device": ("batch_size", "batch", "bs"),
    "time_s": ("time", "seconds", "total_s", "total_time", "total_time_s"),
    "test_accuracy": ("accuracy",),
}
_WORKERS = ("world_size", "ranks", "gpus", "procs", "processes", "workers", "cpus")
"""What foreign tables call our ``workers`` or ``world_size``; the first that is there counts."""

_OUR_FILES = ("preprocess.csv", "training.csv")
_OUR_COLUMNS = {"baseline", "runs"}


@dataclass(frozen=True)
class ReferenceRow:
    """One configuration's figures. A key that the reference does not tell is not in ``key``."""

    table: str
    """``preprocess`` or ``training``."""
    key: Mapping[str, Any]
    """The configuration: columns of IDENTITY and SETTINGS, and ``study``."""
    figures: Mapping[str, float]
    """Those of FIGURES that are told, and their ends, such as ``time_s_low``."""
    where: str
    """File and line."""

    @property
    def label(self) -> str:
        """The configuration in words."""
        return ", ".join(f"{name} {value}" for name, value in self.key.items() if name != "study")


@dataclass(frozen=True)
class Reference:
    """Figures to compare with."""

    path: Path
    rows: tuple[ReferenceRow, ...]
    unused: tuple[str, ...] = ()
    """What of the files is not used, in words."""


@dataclass(frozen=True)
class _Form:
    """How one CSV is to be read."""

    path: Path
    table: str
    columns: dict[str, str]
    """The file's name of each of our columns that it has."""
    implied: dict[str, Any]
    """What the file's name tells of all rows."""


def load_reference(path: Path) -> Reference:
    """The reference in ``path``: a CSV, a folder of such, or a results folder with ``tables/``.

    In a folder with tables of ours only those are read; else every CSV that has a column of
    figures. Raises UserError with file and line for whatever cannot be read as one.
    """
    if not path.exists():
        raise UserError(f"--reference {path}: no such file or folder")
    unused: list[str] = []
    rows: list[ReferenceRow] = []
    for file in _files(path, unused):
        rows += _read(file, unused)
    if not rows:
        raise UserError(f"--reference {path}: holds no row with any of {', '.join(FIGURES)}")
    return Reference(path, tuple(rows), tuple(unused))


def _files(path: Path, unused: list[str]) -> list[Path]:
    if not path.is_dir():
        return [path]
    folder = path / "tables" if (path / "tables").is_dir() else path
    ours = [folder / name for name in _OUR_FILES if (folder / name).is_file()]
    ours = [file for file in ours if set(_header(file)) >= _OUR_COLUMNS]
    if ours:
        return ours
    found = []
    for file in sorted(folder.glob("*.csv")):
        if _our_names(_header(file)).keys() & set(FIGURES):
            found.append(file)
        else:
            unused.append(f"{file.name} (no column {' or '.join(FIGURES)})")
    if not found:
        raise UserError(f"--reference {folder}: holds no CSV with a column time_s")
    return found


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
    """The file's column by our name for it; our own name comes before any other."""
    # Time (s) and Num GPUs are time_s and gpus
    words = {name: re.sub(r"\W+", "_", name.lower()).strip("_") for name in header}
    plain = {re.sub(r"^(?:n|num|number_of)_", "", word): name for name, word in words.items()}
    found: dict[str, str] = {}
    settings: tuple[str, ...] = _FOREIGN
    if set(header) >= _OUR_COLUMNS:
        settings = tuple(column for columns in SETTINGS.values() for column in columns)
    names = dict.fromkeys(("study", *IDENTITY["preprocess"], *IDENTITY["training"], *settings))
    ends = [f"{figure}_{end}" for figure in FIGURES for end in ("low", "high")]
    for ours in (*names, *FIGURES, *ends):
        for name in (ours, *_ALIASES.get(ours, ())):
            if name in plain:
                found.setdefault(ours, plain[name])
    workers = next((plain[name] for name in _WORKERS if name in plain), None)
    return found | ({} if workers is None else {"workers": workers})


def _read(path: Path, unused: list[str]) -> Iterator[ReferenceRow]:
    lines = _lines(path)
    number, header = next(lines, (1, []))
    form = _form(path, number, header)
    left = [name for name in header if name and name not in form.columns.values()]
    if left and not set(header) >= _OUR_COLUMNS:
        unused.append(f"{', '.join(left)} of {path.name}")
    seen: dict[tuple[Any, ...], int] = {}
    empty = 0
    for number, cells in lines:
        if len(cells) != len(header):
            raise UserError(f"{path}:{number}: {len(cells)} cells; the header has {len(header)}")
        row = _row(form, number, dict(zip(header, cells, strict=True)))
        first = seen.setdefault(tuple(row.key.items()), number)
        if first != number:
            raise UserError(
                f"{path}:{number}: the same configuration as in line {first} ({row.label}); "
                "expected one line per configuration"
            )
        if row.figures:
            yield row
        else:
            empty += 1
    if empty:
        unused.append(f"{empty} rows of {path.name} (no figures)")


def _form(path: Path, number: int, header: list[str]) -> _Form:
    """What kind of table this is. Raises UserError where that cannot be told."""
    columns, where = _our_names(header), f"{path}:{number}"
    has = f"columns: {', '.join(header) or 'none'}"
    twice = [name for name in header if name and header.count(name) > 1]
    if twice:
        raise UserError(f"{where}: two columns are named {twice[0]}")
    if not columns.keys() & set(FIGURES):
        raise UserError(f"{where}: no column {' or '.join(FIGURES)}; {has}")
    if "workers" not in columns:
        raise UserError(f"{where}: no column workers, world_size or gpus; {has}")
    word = re.split(r"[_.\- ]", path.name.lower())[0]
    implied: dict[str, Any] = {}
    if "backend" in columns or word == Stage.PREPROCESS:
        return _Form(path, "preprocess", columns, implied)
    if word in set(Strategy) and "strategy" not in columns:
        implied["strategy"] = word
    elif not {"strategy", "batch_size_per_device", "batch_size_global"} & columns.keys() and (
        word != "training"
    ):
        raise UserError(
            f"{where}: preprocessing or training? Expected a column backend or strategy, or a "
            f"name such as preprocess.csv or ddp_nodes.csv; {has}"
        )
    return _Form(path, "training", columns, implied)


def _row(form: _Form, number: int, cells: dict[str, str]) -> ReferenceRow:
    told = {ours: cells[name] for ours, name in form.columns.items() if cells[name]}
    where = f"{form.path}:{number}"
    key: dict[str, Any] = dict(form.implied)
    figures: dict[str, float] = {}
    for name, text in told.items():
        parse = _PARSE.get(name, int)
        if parse is str:
            key[name] = text if name in _AS_WRITTEN else text.lower()
        elif parse is float:
            key[name] = _number(where, form.columns[name], text)
        elif name.removesuffix("_low").removesuffix("_high") in FIGURES:
            figures[name] = _figure(where, form.columns[name], name, text)
        else:
            key[name] = _count(where, form.columns[name], text)
    if "workers" not in key:
        raise UserError(f"{where}: {form.columns['workers']}: is empty; expected a whole number")
    if form.table == "training":
        key["world_size"] = key.pop("workers")
        _on_device(key, form.columns["workers"].lower().endswith("gpus"))
    known = ("study", *IDENTITY[form.table], *SETTINGS[form.table])
    if not figures.keys() & set(FIGURES):
        figures = {}
    return ReferenceRow(form.table, {n: key[n] for n in known if n in key}, figures, where)


def _on_device(key: dict[str, Any], counts_gpus: bool) -> None:
    """Fill in ``device``: a GPU's model, or a number of GPUs, says cuda; no GPU says cpu."""
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


def _figure(where: str, column: str, name: str, text: str) -> float:
    accuracy = name.startswith("test_accuracy")
    wanted = "a fraction between 0 and 1" if accuracy else "a number above 0"
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (0 <= value <= 1 if accuracy else 0 < value < math.inf):
        raise UserError(f"{where}: {column}: {text!r} is not {wanted}; empty means none was had")
    return value
