"""Table: figures by configuration, ready to be written in any format."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from weather_hpc.runs.record import EDA_PARTS
from weather_hpc.study.settings import TASKS, WORK, Role, columns
from weather_hpc.study.spec import Stage
from weather_hpc.study.stages import BY_TABLE
from weather_hpc.text import counted

_PREPROCESS = [
    "backend", "workers", "runs", "time_s", "time_s_low", "time_s_high", "startup_s",
    "images_per_s", "speedup", "speedup_low", "speedup_high", "efficiency", "baseline",
    "efficiency_low", "efficiency_high",
    "serial_fraction", "serial_fraction_low", "serial_fraction_high",
    "study", "scaling", "decoder", "image_size_px", "images", "audit_errors", "note",
]  # fmt: skip

_TRAINING = [
    "strategy", "device", "nodes", "world_size", "batch_size_per_device", "batch_size_global",
    "runs", "time_s", "time_s_low", "time_s_high", "startup_s", "images_per_s", "speedup",
    "speedup_low", "speedup_high", "efficiency", "test_accuracy", "node_hours", "baseline",
    "efficiency_low", "efficiency_high",
    "serial_fraction", "serial_fraction_low", "serial_fraction_high",
    "study", "scaling", "model", "recipe", "precision", "memory_format", "execution", "epochs",
    "threads_per_rank", "batch_mode", "images", "audit_errors", "note",
]  # fmt: skip

_ELSEWHERE = {
    "device", "batch_size", "nodes", "cpus_per_node", "gpus_per_node", "data", "images_asked",
    "operation",
}  # fmt: skip
"""Settings that tables have other columns for, or that all rows of a study share."""


def setting_columns(kind: str) -> list[str]:
    """The columns of one stage's settings, in the order of the table of settings.

    Without backend or strategy and the number of workers, which come first in every label.
    """
    found = columns(*WORK, Role.DETAIL, kind=kind)
    return [column for column in found if column not in _ELSEWHERE]


def _with_settings(own: list[str], kind: str) -> list[str]:
    """``own`` columns, then those of settings that came later."""
    return own + [column for column in setting_columns(kind) if column not in own]


_EDA = [
    *(column for column in _PREPROCESS if column != "decoder"),
    *(f"{part}_s" for part in EDA_PARTS),
]

_ARRAY = [
    "operation",
    "engine",
    *_PREPROCESS[1:-5],
    "array_input",
    "chunk_images",
    *_PREPROCESS[-4:],
]

COLUMNS = {
    stage: _with_settings(own, stage)
    for stage, own in (
        (Stage.PREPROCESS, _PREPROCESS),
        (Stage.EDA, _EDA),
        (Stage.ARRAY, _ARRAY),
        (Stage.TRAIN, _TRAINING),
    )
}
"""The columns of each measured stage's table."""

PREPROCESS_COLUMNS, TRAINING_COLUMNS = COLUMNS[Stage.PREPROCESS], COLUMNS[Stage.TRAIN]

SETTINGS = list(dict.fromkeys(c for kind in TASKS for c in setting_columns(kind)))
"""Columns that are part of a configuration's label only where they differ between rows."""

_DETAILS = {*columns(Role.DETAIL), "device_asked"}

TOLERANCE = 0.05
"""A speedup without an interval may exceed the number of workers by so much."""


def above(ratio: float | None, low: float | None, ideal: float) -> bool:
    """Whether ``ratio`` is above ``ideal``: its interval, from ``low`` on, else by over 5 %."""
    if ratio is None:
        return False
    return low > ideal if low is not None else ratio > ideal * (1 + TOLERANCE)


@dataclass(frozen=True)
class Table:
    """Rows in reading order, each with every column. A missing value is None."""

    name: str
    """Of its files."""
    title: str
    caption: str
    """What the columns mean."""
    columns: list[str]
    rows: list[dict[str, Any]]

    def varying(self, columns: list[str]) -> list[str]:
        """Those of ``columns`` in which rows differ."""
        return [c for c in columns if len({str(row[c]) for row in self.rows}) > 1]


SHARING = ("sharing", "baseline_sharing")
"""In rows, not in files: how its threads, and its baseline's, shared CPUs; None: they did not."""


@dataclass(frozen=True)
class ScalingTable(Table):
    """What each configuration of one measured stage took. A row has :data:`SHARING` too."""

    workers_column: str
    """The column that speedup is ideally equal to."""
    key: list[str]
    """The columns that tell one configuration from another."""

    def workers(self, row: Mapping[str, Any]) -> int:
        """How many workers or ranks ``row`` had; 0 where that is not known."""
        return int(row[self.workers_column] or 0)

    def superlinear(self, row: dict[str, Any]) -> bool:
        """Whether ``row``'s speedup is above its workers, see :func:`above`.

        Not where its baseline is another program, or had fewer CPUs than threads: that explains it.
        """
        return self.above_workers(row) and self.explained(row) is None

    def above_workers(self, row: Mapping[str, Any]) -> bool:
        """The same, explained or not."""
        return above(row["speedup"], row["speedup_low"], self.workers(row))

    def explained(self, row: Mapping[str, Any]) -> str | None:
        """Why a speedup above the workers is no surprise in ``row``; None: nothing explains it."""
        if row["baseline_sharing"]:
            return f"its baseline was slowed: {row['baseline_sharing']}"
        return "its baseline is another program" if self.other_program(row) else None

    def other_program(self, row: Mapping[str, Any]) -> bool:
        """Whether ``row``'s method is another program than that of its baseline."""
        stage = BY_TABLE[self.name]
        return stage.programs and row[stage.method] != stage.plain

    @property
    def measured(self) -> list[dict[str, Any]]:
        """The rows that have a time."""
        return [row for row in self.rows if row["time_s"] is not None]

    def label(self, row: Mapping[str, Any], among: Sequence[Mapping[str, Any]] = ()) -> str:
        """``row``'s configuration in words, such as ``ddp on cpu, 2 ranks, batch 32``.

        ``among``: only settings in which these rows differ are named besides; else all rows.
        """
        named = self.distinguishing
        if among:
            named = [c for c in named if len({str(other.get(c)) for other in among}) > 1]
        return ", ".join([*self._words(row), *(f"{c} {row[c]}" for c in named)])

    def _words(self, row: Mapping[str, Any]) -> list[str]:
        """What every label says."""
        if self.name != "training":
            words = [row["operation"]] if self.name == "array" else []
            method = row[BY_TABLE[self.name].method]
            return [*words, str(method), counted(row["workers"], "worker") + _cpus(row)]
        words = [training_words(row["strategy"], row["device"])]
        words.append(counted(row["world_size"], "rank") + _cpus(row))
        batch = row["batch_size_per_device"] or row["batch_size_global"]
        if batch is not None:
            words.append(f"batch {batch}")
        if row["nodes"] and row["nodes"] > 1:
            words.insert(1, f"{row['nodes']} nodes")
        return words

    @cached_property
    def distinguishing(self) -> list[str]:
        """The settings that a label needs, because rows differ in them.

        Details are named only where labels would be equal without them.
        """
        known = [column for column in SETTINGS if column in self.columns]
        known += ["device_asked"] if self.name == "training" else []
        chosen = self.varying([column for column in known if column not in _DETAILS])
        for column in (column for column in known if column in _DETAILS):
            values: dict[tuple[str, ...], set[str]] = defaultdict(set)
            for row in self.rows:
                label = (*self._words(row), *(str(row[name]) for name in chosen))
                values[label].add(str(row.get(column)))
            if any(len(found) > 1 for found in values.values()):
                chosen.append(column)
        return chosen

    def tell_apart(self, baselines: Sequence[tuple[dict[str, Any], Mapping[str, Any]]]) -> None:
        """Make the names of baselines unambiguous: each is of a row and the row of its baseline.

        A name gets the settings in which baselines differ that would else be called the same.
        """
        named = defaultdict(list)
        for row, baseline in baselines:  # an operation's baseline has the same operation
            named[row.get("operation"), row["baseline"]].append((row, baseline))
        for pairs in named.values():
            differing = [
                column
                for column in self.distinguishing
                if len({str(baseline[column]) for _, baseline in pairs}) > 1
            ]
            for row, baseline in pairs:
                details = (f"{column} {baseline[column]}" for column in differing)
                row["baseline"] = ", ".join([row["baseline"], *details])


def _cpus(row: Mapping[str, Any]) -> str:
    """What a label says of CPUs: ``of 0.5 CPUs``, where a study or site gives a number."""
    each = row.get("cpus_per_worker")
    return "" if each is None else f" of {each:g} {'CPU' if each == 1 else 'CPUs'}"


def training_words(strategy: str | None, device: str | None) -> str:
    """``ddp on cuda``, as far as it is known."""
    return (strategy or "training") + (f" on {device}" if device else "")
