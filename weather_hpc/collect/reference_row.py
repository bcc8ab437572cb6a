"""One row of a reference: a configuration and what was measured of it."""

import contextlib
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from weather_hpc.analysis.table import setting_columns
from weather_hpc.collect import reference_cells as cells_of
from weather_hpc.collect.reference_heads import COUNTS, PER_NODE, Column
from weather_hpc.errors import UserError
from weather_hpc.study.settings import SETTINGS as ALL_SETTINGS
from weather_hpc.study.stages import MEASURED
from weather_hpc.study.tasks import Device

MEASUREMENTS = ("time_s", "speedup", "test_accuracy", "images_per_s")

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

_PARSE = {s.column or s.name: s.parse for s in ALL_SETTINGS.values()}
"""The type of each setting; a column that is not a setting is a count too."""

_AS_WRITTEN = ("study", "model", "weights")
"""Columns whose case matters."""

_EACH = re.compile(r"\s*(?:/|\(?per )\s*(?:gpu|device|rank)\)?$", re.IGNORECASE)
"""After a batch size: that of each."""

_STRATEGIES = {
    "distributeddataparallel": "ddp",
    "torchddp": "ddp",
    "pytorchddp": "ddp",
    "dataparallel": "dp",
    "nndataparallel": "dp",
    "singlegpu": "single",
}
"""Our names of strategies, by others' without spaces and signs."""


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
    time_unit: float | None = None
    """Seconds in the unit that the head of its times has; None: seconds, because it has none."""

    @property
    def path(self) -> str:
        """The file."""
        return self.where.rpartition(":")[0]

    @property
    def label(self) -> str:
        """The configuration in words."""
        return ", ".join(f"{name} {value}" for name, value in self.key.items() if name != "study")


@dataclass(frozen=True)
class Layout:
    """How one table is read."""

    path: Path
    table: str
    columns: dict[str, Column]
    """Each of our columns that it has, by our name."""
    strategy: str | None = None
    """The strategy of all rows, from the file's name; None: it is in a column or unknown."""
    gpus_are_per_node: bool = False
    """Whether its number of GPUs is that of each node."""
    signs: dict[str, str | None] = field(default_factory=dict)
    """The decimal sign of each column, by our name; see ``decimal_sign``."""

    @property
    def workers(self) -> Column | None:
        """The column of the number of workers, GPUs or ranks."""
        return next((self.columns[name] for name in COUNTS if name in self.columns), None)

    @property
    def per_node(self) -> Column | None:
        """The column of those on each node."""
        return next((self.columns[name] for name in PER_NODE if name in self.columns), None)

    def row(self, line: int, cells: Mapping[str, str]) -> tuple[ReferenceRow, list[str]]:
        """One line of the table, and what stands in place of values (``OOM``, ``-``).

        Empty cells are left out. Raises UserError with file and line for a cell that is no value.
        """
        where = f"{self.path}:{line}"
        key: dict[str, Any] = {} if self.strategy is None else {"strategy": self.strategy}
        values: dict[str, float] = {}
        marks = []
        for name, column in self.columns.items():
            text = cells[column.head]
            if name == "repeat" or name in COUNTS or name in PER_NODE:
                continue
            if cells_of.is_absent(text):
                marks += [text] if name in MEASUREMENTS and text else []
                continue
            parse = _PARSE.get(name, int)
            if parse is str:
                key[name] = _text(name, text)
            elif name.removesuffix("_low").removesuffix("_high") in MEASUREMENTS:
                values[name] = self._measurement(where, name, column, text)
            elif parse is float:
                key[name] = _number(where, column.head, text)
            else:
                if name == "batch_size_per_device":
                    text = _EACH.sub("", text)
                key[name] = _whole(where, column.head, text)
        self._set_workers(where, key, cells)
        rate = self.columns.get("images_per_s")
        if rate and rate.per_device and "images_per_s" in values:
            values["images_per_s"] *= max(1, key["workers"])
        if self.table == "training":
            key["world_size"] = key.pop("workers")
            counted = self.workers or self.per_node
            _set_device(key, counted is not None and counted.counts_gpus)
        known = ("study", *IDENTITY[self.table], *SETTINGS[self.table])
        if not values.keys() & set(MEASUREMENTS):
            values = {}
        unit = self.columns["time_s"].unit if "time_s" in self.columns else None
        key = {name: key[name] for name in known if name in key}
        return ReferenceRow(self.table, key, values, where, unit), marks

    def _set_workers(self, where: str, key: dict[str, Any], cells: Mapping[str, str]) -> None:
        """``workers``, from nodes and the number on each where the table has these."""
        total = None
        if self.workers is not None:
            head = self.workers.head
            if cells_of.is_absent(cells[head]):
                raise UserError(f"{where}: {head}: is empty; expected a whole number")
            total, nodes = _count(where, head, cells[head])
            if nodes is not None and key.setdefault("nodes", nodes) != nodes:
                raise UserError(f"{where}: {head}: {cells[head]!r}, but {key['nodes']} nodes")
        each = self.per_node
        if each is not None and "nodes" in key and not cells_of.is_absent(cells[each.head]):
            product = key["nodes"] * _count(where, each.head, cells[each.head])[0]
            if total not in (None, product):
                raise UserError(
                    f"{where}: {total} in all, but {key['nodes']} nodes with "
                    f"{cells[each.head]} each are {product}"
                )
            total = product
        elif self.gpus_are_per_node and total is not None:
            total *= key.get("nodes", 1)
        if total is None:
            head = each.head if each else "workers"
            raise UserError(f"{where}: {head} or nodes: is empty; expected a whole number")
        key["workers"] = total

    def _measurement(self, where: str, name: str, column: Column, text: str) -> float:
        sign = self.signs.get(name, ".")
        kind = name.removesuffix("_low").removesuffix("_high")
        try:
            if kind == "time_s":
                value = cells_of.seconds(text, sign, column.unit, column.clock)
            elif kind == "images_per_s":
                value = cells_of.rate(text, sign, column.unit)
            elif kind == "speedup":
                value = cells_of.factor(text, sign)
            else:
                value = cells_of.share(text, sign, column.percent)
        except ValueError:
            value = math.nan
        share = kind == "test_accuracy"
        if 0 <= value <= 1 if share else 0 < value < math.inf:
            return value
        expected = "a fraction between 0 and 1" if share else "a number above 0"
        if kind == "time_s":
            expected += " or a time such as 26 min"
        hint = "leave it empty if not measured"
        if re.fullmatch(r"\d+:\d\d", text):
            hint = f"minutes or hours? Expected such as 0:{text:0>5} or {text}:00"
        elif share and 1 < value <= 100:
            hint = f"if it is in percent, write {text} %"
        elif sign is None and re.search(r"\d,\d", text):
            hint = "is the comma a decimal sign or between thousands? Expected a decimal point"
        raise UserError(f"{where}: {column.head}: {text!r} is not {expected} ({hint})")


def _text(name: str, text: str) -> str:
    if name in _AS_WRITTEN:
        return text
    if name == "strategy":
        return _STRATEGIES.get(re.sub(r"\W|_", "", text.lower()), text.lower())
    return text.lower()


def _set_device(key: dict[str, Any], counts_gpus: bool) -> None:
    """Fill in ``device``: cuda for a GPU's model or a number of GPUs, cpu for 0 GPUs."""
    device = key.get("device")
    if counts_gpus and (key["world_size"] == 0 or device is None):
        device = Device.CUDA if key["world_size"] else Device.CPU
    key["world_size"] = max(1, key["world_size"])
    if device is not None:
        key["device"] = str(Device.CPU if device == Device.CPU else Device.CUDA)


def _number(where: str, head: str, text: str) -> float:
    try:
        return cells_of.number(text, None)
    except ValueError:
        raise UserError(f"{where}: {head}: {text!r} is not a number") from None


def _count(where: str, head: str, text: str) -> tuple[int, int | None]:
    try:
        total, nodes = cells_of.count(text)
    except ValueError:
        total, nodes = -1, None
    lowest = 0 if "gpus" in head.lower() else 1
    if not lowest <= total <= 2**53 or nodes == 0:
        raise UserError(
            f"{where}: {head}: {text!r} is not a whole number of at least {lowest}, nor nodes and "
            "the number on each such as 2x4"
        )
    return total, nodes


def _whole(where: str, head: str, text: str) -> int:
    """A setting that is a whole number."""
    lowest = 0 if head.lower().endswith(("seed", "warmup_steps")) else 1
    value = math.nan
    if re.fullmatch(r"\d{1,3}(?:,\d{3})+", text):
        value = float(text.replace(",", ""))
    elif re.fullmatch(r"[\d.+e]+", text):
        with contextlib.suppress(ValueError):
            value = float(text)
    if not value.is_integer() or not lowest <= value <= 2**53:
        raise UserError(f"{where}: {head}: {text!r} is not a whole number of at least {lowest}")
    return int(value)
