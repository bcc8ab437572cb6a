"""Reads a run's telemetry.csv, whose last line a killed run may have left half."""

import csv
import math
from collections.abc import Iterator, Mapping
from dataclasses import fields
from pathlib import Path

from weather_hpc.errors import UserError
from weather_hpc.reading import check_size
from weather_hpc.runs.inputs import LARGEST
from weather_hpc.runs.telemetry import Sample

_OPTIONAL = tuple(name for name in (f.name for f in fields(Sample)) if name.startswith("device_"))
_REQUIRED = tuple(f.name for f in fields(Sample) if f.name not in _OPTIONAL)


def read_telemetry(path: Path) -> tuple[Sample, ...]:
    """The samples of a run by time: of a resumed run those of all its processes.

    Empty where there is no such file, or it cannot be read. A line that is torn, or has a value
    that is no number, is left out; an empty cell is None.
    """
    return tuple(sorted(_samples(path), key=lambda sample: sample.at))


def _samples(path: Path) -> Iterator[Sample]:
    try:
        check_size(path)
        with path.open(encoding="utf-8", errors="replace", newline="") as file:
            # a torn line may hold an open quote, which must not swallow the lines after it
            lines = csv.reader((line.replace("\0", "") for line in file), quoting=csv.QUOTE_NONE)
            names = next(lines, [])
            for cells in lines:
                if len(cells) != len(names):
                    continue
                if found := _sample(dict(zip(names, cells, strict=True))):
                    yield found
    except (OSError, UserError, csv.Error):
        return


def _sample(cells: Mapping[str, str]) -> Sample | None:
    """The sample in ``cells``; None where a value is missing or wrong."""
    values: dict[str, float | None] = {}
    for name in (*_REQUIRED, *_OPTIONAL):
        text = cells.get(name, "")
        if not text and name in _OPTIONAL:
            values[name] = None
            continue
        try:
            value = float(text)
        except ValueError:
            return None
        if not (math.isfinite(value) and 0 <= value <= LARGEST):
            return None
        values[name] = value
    return Sample(**values)  # type: ignore[arg-type]
