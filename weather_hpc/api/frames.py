"""Data frames from tables, rows and the files of runs."""

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import UnionType
from typing import Any, TypeVar, get_args, get_type_hints

import pandas as pd

from weather_hpc.analysis.table import Table
from weather_hpc.report.collected import run_folders
from weather_hpc.report.layout import main_columns
from weather_hpc.runs.epochs import Epoch
from weather_hpc.runs.paths import RunPaths
from weather_hpc.runs.row import Row
from weather_hpc.runs.telemetry import Sample

T = TypeVar("T")

_DTYPES: Mapping[type, str] = {bool: "boolean", int: "Int64", float: "Float64", str: "string"}
"""Those with a missing value of their own; a column never changes its kind because one is missing.
"""


class TableFrame(pd.DataFrame):
    """A data frame that shows its most important columns when it is printed; it has all of them.

    What is made from it, by a selection or a sum, is a plain data frame.
    """

    _first: Sequence[str] = ()
    _metadata = ["_first"]  # noqa: RUF012 - pandas' name, for what copies keep

    @property
    def _constructor(self) -> type[pd.DataFrame]:
        return pd.DataFrame

    def _shown(self) -> tuple[pd.DataFrame, str]:
        """The columns to show, and how many more there are."""
        first = [column for column in self._first if column in self.columns]
        more = len(self.columns) - len(first)
        if not first or not more:
            return pd.DataFrame(self), ""
        return pd.DataFrame(self[first]), f"{more} more columns are in .columns"

    def __repr__(self) -> str:
        shown, more = self._shown()
        with pd.option_context("display.max_columns", None, "display.expand_frame_repr", False):
            return f"{shown!r}\n\n[{more}]" if more else repr(shown)

    def _repr_html_(self) -> str:
        shown, more = self._shown()
        html: str = shown._repr_html_()  # type: ignore[operator]
        return f"{html}\n<p>{more}</p>" if more else html


def frame(rows: Iterable[Mapping[str, Any]], columns: Sequence[str]) -> pd.DataFrame:
    """``columns`` of ``rows``; what is None there is ``pandas.NA``."""
    records = list(rows)
    return pd.DataFrame(
        {column: _column(column, [row[column] for row in records]) for column in columns}
    )


def table_frame(table: Table) -> TableFrame:
    """``table`` with every column, those that the report shows first in front."""
    first = main_columns(table)
    columns = [*first, *(column for column in table.columns if column not in first)]
    made = TableFrame(frame(table.rows, columns))
    made._first = first
    return made


def run_frame(
    rows: Sequence[Row],
    settings: Sequence[str],
    record: type[T],
    read: Callable[[RunPaths], Iterable[T]],
) -> pd.DataFrame:
    """What ``read`` finds in the files of each run: ``run_id``, ``settings``, fields of ``record``.

    A run that has no such file, as runs from text logs, has no line.
    """
    known = ["run_id", *settings]
    columns = [*known, *(field.name for field in dataclasses.fields(record))]  # type: ignore[arg-type]
    lines = (
        {column: getattr(row, column) for column in known} | vars(each)
        for row, files in run_folders(rows)
        for each in read(files)
    )
    return frame(lines, columns)


def _column(name: str, values: Sequence[Any]) -> "pd.Series[Any]":
    """``values`` as a column whose kind is that of the field ``name``, else of the values."""
    kinds = {type(value) for value in values if value is not None}
    found = float if kinds == {int, float} else next(iter(kinds), object)
    kind = _KINDS.get(name, found)
    if kind not in _DTYPES or not all(issubclass(each, _taken(kind)) for each in kinds):
        return pd.Series([pd.NA if value is None else value for value in values], dtype=object)
    return pd.Series(values, dtype=_DTYPES[kind])


def _taken(kind: type) -> type | UnionType:
    """What a column of ``kind`` takes."""
    return int | float if kind is float else kind


def _kinds(*records: type) -> dict[str, type]:
    """The one kind of value besides None that each field of ``records`` has, by its name."""
    found = {}
    for record in records:
        for name, hint in get_type_hints(record).items():
            kinds = [kind for kind in get_args(hint) or (hint,) if kind is not type(None)]
            if len(kinds) == 1 and kinds[0] in _DTYPES:
                found[name] = kinds[0]
    return found


_KINDS = _kinds(Row, Epoch, Sample)
