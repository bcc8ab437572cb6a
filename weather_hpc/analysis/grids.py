"""The scaling tables in the reproduced study's form: workers across, batch sizes or backends down.

One table for each strategy on each device, and one for each other stage. They hold the medians of
the scaling tables, arranged.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from weather_hpc.analysis.baselines import measured, method, work_settings
from weather_hpc.analysis.comparison import Comparison, Configuration, StageComparison
from weather_hpc.analysis.published import published_comparison
from weather_hpc.analysis.series import apart, repeated
from weather_hpc.analysis.table import Table, training_words
from weather_hpc.study.spec import Stage
from weather_hpc.study.tasks import BatchMode

PREFIX, PUBLISHED_PREFIX = "grid_", "published_grid_"

MEASURES = ("time_s", "speedup", "efficiency")

_CAPTION = (
    "time_s_N is the {time} with N {worker}s, seconds, speedup_N its speedup and efficiency_N its "
    "speedup / N.{more}{batch}"
)
_MORE = " Baselines, runs and intervals are in tables/{table}.csv."
_BATCH: dict[str, str] = {
    BatchMode.PER_DEVICE: " batch_size is each device's.",
    BatchMode.GLOBAL: " batch_size is that of all devices together.",
}


def grid_tables(comparison: Comparison) -> list[Table]:
    """The tables of ``comparison``, each followed by the study's own of the same, if there is one.

    Only what was measured with several numbers of workers, or at several batch sizes (or with
    several methods), has a table.
    """
    published = {table.name: table for table in _grids(published_comparison(), PUBLISHED_PREFIX)}
    tables = []
    for table in _grids(comparison, PREFIX):
        tables.append(table)
        theirs = published.get(PUBLISHED_PREFIX + table.name.removeprefix(PREFIX))
        if theirs is not None:
            tables.append(theirs)
    return tables


def _grids(comparison: Comparison, prefix: str) -> list[Table]:
    tables: dict[str, Table] = {}
    for stage in comparison.stages:
        for words, members in _parts(stage).items():
            label = words.replace(" on ", " ").lower()
            name = prefix + re.sub(r"[^a-z0-9]+", "_", label).strip("_")
            alike = [known for known in tables if re.fullmatch(rf"{name}(_\d+)?", known)]
            name += f"_{len(alike) + 1}" if alike else ""
            table = _grid(name, words, members, published=prefix == PUBLISHED_PREFIX)
            if table is not None:
                tables[name] = table
    return list(tables.values())


def _parts(stage: StageComparison) -> dict[str, list[Configuration]]:
    """The measured configurations of each table."""
    parts: dict[str, list[Configuration]] = defaultdict(list)
    for one in stage.configurations:
        row = one.group.settings
        if one.cells["time_s"] is not None and row.workers:
            training = row.stage == Stage.TRAIN
            words = training_words(row.strategy, row.device) if training else stage.table.name
            parts[words].append(one)
    return parts


def _grid(
    name: str, words: str, members: Sequence[Configuration], *, published: bool
) -> Table | None:
    stage = measured(members[0].group.settings)
    rows = _rows(members)
    sizes = sorted({int(one.group.settings.workers or 0) for one in members})
    if len(rows) < 2 and len(sizes) < 2:
        return None
    leading = _leading([settings for settings, _ in rows], stage.method)
    cells = []
    for settings, found in rows:
        line: dict[str, Any] = {column: settings.get(column) for column in leading}
        for size, one in found.items():
            line |= {f"{measure}_{size}": one.cells[measure] for measure in MEASURES}
        errors = [f"{n}: {one.cells['audit_errors']}" for n, one in found.items()
                  if one.cells["audit_errors"]]  # fmt: skip
        cells.append(line | {"audit_errors": ", ".join(errors) or None})
    values = [f"{measure}_{size}" for measure in MEASURES for size in sizes]
    columns = [*leading, *(c for c in values if _says_something(c, cells)), "audit_errors"]
    modes = {str(one.group.settings.batch_mode) for one in members}
    caption = _CAPTION.format(
        time="printed time" if published else "median time",
        worker=stage.worker,
        more="" if published else _MORE.format(table=stage.table),
        batch=_BATCH.get(modes.pop(), "") if len(modes) == 1 else "",
    )
    down = "batch size" if "batch_size" in leading else stage.method
    title = f"{words if stage.stage is Stage.TRAIN else stage.title}: {down} by {stage.worker}s"
    if published:
        title = f"As published, {title[0].lower()}{title[1:]}"
    filled = [dict.fromkeys(columns) | {c: line.get(c) for c in columns} for line in cells]
    return Table(name, title, caption, columns, filled)


def _rows(
    members: Sequence[Configuration],
) -> list[tuple[dict[str, Any], dict[int, Configuration]]]:
    """The settings of each row, and its configurations by their number of workers."""
    by_group = {id(one.group): one for one in members}
    alike: dict[tuple[Any, ...], list[Configuration]] = defaultdict(list)
    for one in members:
        row = one.group.settings
        alike[method(row), row.batch_mode, *work_settings(row).values()].append(one)
    rows = []
    for same in alike.values():
        row = same[0].group.settings
        shared = {
            measured(row).method: method(row), "batch_mode": row.batch_mode, **work_settings(row),
        }  # fmt: skip
        for part, names in apart([one.group for one in same]):
            if repeated(part) is None:  # else its configurations differ in no column
                details = {name: getattr(part[0].settings, name) for name in names}
                found = {int(group.settings.workers or 0): by_group[id(group)] for group in part}
                rows.append((shared | details, dict(sorted(found.items()))))
    return sorted(rows, key=lambda row: _order(row[0]))


def _order(settings: dict[str, Any]) -> tuple[Any, ...]:
    """Rows in the order of the tables, but by batch size within equal settings."""
    return (str(settings.get("study")), settings.get("batch_size") or 0)


def _leading(rows: Sequence[dict[str, Any]], method_column: str) -> list[str]:
    """The columns that tell rows apart, the batch size last; without one, the method last."""
    names = dict.fromkeys(name for row in rows for name in row)
    modes = {row["batch_mode"] for row in rows} - {None}
    if len(modes) < 2:
        names.pop("batch_mode", None)
    varying = [name for name in names if len({str(row.get(name)) for row in rows}) > 1]
    has_batch = any(row.get("batch_size") is not None for row in rows)
    varying = [name for name in varying if name != "batch_size"]
    if has_batch:
        return [*varying, "batch_size"]
    return [*(name for name in varying if name != method_column), method_column]


def _says_something(column: str, rows: Iterable[dict[str, Any]]) -> bool:
    """Whether ``column`` has a value; a baseline's speedup of 1 over itself is none."""
    values = [row[column] for row in rows if row.get(column) is not None]
    return any(value != 1 or column.startswith("time_s") for value in values)


def is_grid(table: Table) -> bool:
    """Whether ``table`` is one of :func:`grid_tables`."""
    return is_grid_name(table.name)


def is_grid_name(name: str) -> bool:
    """Whether ``name`` is that of a grid, or of its file without the suffix."""
    return name.startswith((PREFIX, PUBLISHED_PREFIX))
