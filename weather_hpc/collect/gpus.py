"""What the GPUs of a run's nodes did meanwhile, as the run left it beside its record."""

import csv
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from weather_hpc.analysis.table import Table
from weather_hpc.errors import UserError
from weather_hpc.runs.inputs import check_size
from weather_hpc.runs.paths import RunPaths
from weather_hpc.runs.row import Row
from weather_hpc.text import clean

GPU_COLUMNS = [
    "run_id", "moment", "host", "gpu", "name", "driver", "use_percent", "memory_mb",
    "memory_total_mb", "power_w", "temperature_c", "p_state",
]  # fmt: skip
_FIGURES = {"use_percent", "memory_mb", "memory_total_mb", "power_w", "temperature_c"}

_CAPTION = (
    "All GPUs of its nodes, idle ones too, as nvidia-smi shows them: at the start of the measured "
    "time and once half of its epochs had ended. Each run on GPUs has its own in nvidia-smi.csv."
)


def gpus_table(rows: Sequence[Row]) -> Table:
    """The GPUs beside the run on most of them, of those that are in a table and left a word."""
    on_gpus = [row for row in rows if row.table is not None and row.device == "cuda"]
    for row in sorted(on_gpus, key=lambda row: -(row.workers or 0)):
        lines = [{"run_id": row.run_id} | line for line in _lines(RunPaths(Path(row.source)).gpus)]
        if lines:
            break
    else:
        lines = []
    return Table("gpus", "GPUs beside the largest run", _CAPTION, GPU_COLUMNS, lines)


def _lines(path: Path) -> list[dict[str, Any]]:
    """The lines of a nvidia-smi.csv; none where it is not there, or is something else."""
    try:
        check_size(path)
        found = list(csv.DictReader(path.read_text("utf-8", "replace").splitlines()))
    except (UserError, OSError, csv.Error):
        return []
    columns = GPU_COLUMNS[1:]
    whole = (line for line in found if all(isinstance(line.get(c), str) for c in columns))
    return [{column: _value(column, line[column]) for column in columns} for line in whole]


def _value(column: str, text: str) -> Any:
    if column not in _FIGURES:
        return clean(text) or None
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None
