"""Comparison: everything that rows say of each other, computed once.

Runs of one configuration are a group. A group's baseline did the same work on one worker, and is
what its speedup is measured against. Groups that differ in the number of workers only are a series.

Strong scaling (the same images for all): speedup is the baseline's median time over the
configuration's. Weak scaling (the same images per worker): speedup is the ratio of median images
per second. Efficiency is speedup per worker. Studies are never compared with each other.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from weather_hpc.analysis.baselines import (
    Baselines,
    baseline_label,
    batch_size,
    batch_words,
    measured,
    method,
)
from weather_hpc.analysis.groups import Group, stage_groups
from weather_hpc.analysis.laws import serial_fraction
from weather_hpc.analysis.series import Series, stage_series
from weather_hpc.analysis.statistics import NO_INTERVAL, Interval, median_interval
from weather_hpc.analysis.table import (
    COLUMNS,
    ScalingTable,
    above,
)
from weather_hpc.runs.record import EDA_PARTS
from weather_hpc.runs.row import Row
from weather_hpc.study.spec import Stage
from weather_hpc.study.stages import MEASURED, MeasuredStage

_CAPTION = (
    "time_s is the median over the runs, time_s_low and time_s_high the ends of its bootstrap "
    "interval (from three runs on; docs/measuring.md says what it covers). Speedup is the "
    "baseline's time over this one (weak scaling: the ratio of images per second), efficiency is "
    "speedup per {worker}. serial_fraction is Karp and Flatt's (weak scaling: Gustafson's), the "
    "serial share of the work that would explain the speedup. Start-up is not part of time_s."
)
_MORE = {
    Stage.TRAIN: " batch_mode says which batch size is fixed while ranks are added: the baseline "
    "has that one. node_hours is nodes x the whole duration of the job, start-up included, its "
    "median.",
    Stage.EDA: " The columns from reading_s on are seconds of all workers together for each part "
    "of the work.",
    Stage.ARRAY: " array_input disk is out of core: chunks are read in measured time. Engines are "
    "different programs, so the speedup of one over another may exceed the workers; it has no "
    "serial_fraction.",
}
"""What else the captions of single stages say."""

_KEYS = {
    Stage.TRAIN: ["strategy", "device", "batch_size_per_device"],
    Stage.ARRAY: ["operation", "engine"],
}
"""The columns that tell configurations of a stage apart, where it is not its method alone."""


@dataclass(frozen=True)
class Configuration:
    """One configuration of a stage, with what it is compared with."""

    group: Group
    candidates: tuple[Group, ...]
    """The groups that may be its baseline: several where nothing known says which."""

    @property
    def baseline(self) -> Group | None:
        """What its speedup is measured against, perhaps itself; None where none or several fit."""
        return self.candidates[0] if len(self.candidates) == 1 else None

    @cached_property
    def speedup(self) -> float | None:
        """Over the baseline; None where there is none, or one of the two was not measured."""
        return None if self.baseline is None else self.group.speedup(self.baseline)

    @cached_property
    def speedup_interval(self) -> Interval:
        """The bootstrap interval of the speedup."""
        if self.baseline is None or self.speedup is None:
            return NO_INTERVAL
        return self.group.speedup_interval(self.baseline)

    @cached_property
    def cells(self) -> dict[str, Any]:
        """Its row of the scaling table."""
        group, row, value = self.group, self.group.settings, self.speedup
        low, high = self.speedup_interval
        low_time, high_time = median_interval(group.values("time_s"))
        images = group.median("images")
        cells = {column: getattr(row, column, None) for column in COLUMNS[measured(row).stage]}
        for part in EDA_PARTS if measured(row).stage is Stage.EDA else ():
            cells[f"{part}_s"] = group.median(f"{part}_s")
        return cells | {
            "world_size": row.workers,
            "runs": len(group.measured),
            "time_s": group.median("time_s"),
            "time_s_low": low_time,
            "time_s_high": high_time,
            "startup_s": group.median("startup_s"),
            "images_per_s": group.median("images_per_s"),
            "speedup": value,
            "speedup_low": low,
            "speedup_high": high,
            "efficiency": self._efficiency(value),
            "efficiency_low": self._efficiency(low),
            "efficiency_high": self._efficiency(high),
            "serial_fraction": self._serial_fraction(value),
            # the more speedup, the less is serial
            "serial_fraction_low": self._serial_fraction(high),
            "serial_fraction_high": self._serial_fraction(low),
            "baseline": baseline_label(self.baseline) if self.baseline and value else None,
            "test_accuracy": group.median("test_accuracy"),
            "node_hours": group.median("node_hours"),
            "images": row.images_asked if images is None else round(images),
            "audit_errors": "; ".join(group.errors) or None,
            "note": self._note,
            "sharing": "; ".join(group.sharing) or None,
            "baseline_sharing": self._baseline_sharing,
            "device_asked": row.device_asked,
        }

    def _efficiency(self, speedup: float | None) -> float | None:
        workers = self.group.settings.workers
        return None if speedup is None or not workers else speedup / workers

    def _serial_fraction(self, speedup: float | None) -> float | None:
        workers = self.group.settings.workers
        if not speedup or workers is None or workers < 2 or self._other_program:
            return None
        return serial_fraction(speedup, workers, weak=self.group.is_weak)

    @property
    def _other_program(self) -> bool:
        """Whether the baseline is another program: its speedup is not one of scaling alone."""
        row, baseline = self.group.settings, self.baseline
        others = baseline is not None and method(row) != method(baseline.settings)
        return others and measured(row).programs

    @property
    def _baseline_sharing(self) -> str | None:
        """How the baseline's threads shared CPUs, which explains a speedup above the workers."""
        if self.baseline is None or self.baseline is self.group:
            return None
        return "; ".join(self.baseline.sharing) or None

    @property
    def _note(self) -> str | None:
        """What a reader of the row should know, the group's own note first."""
        row, notes = self.group.settings, [self.group.note]
        workers, count = row.workers or 0, len(self.candidates)
        if workers > 1 and self.group.measured and count > 1:
            notes.append(f"any of {count} configurations may be its baseline")
        elif workers > 1 and self.group.measured and row.stage == Stage.TRAIN:
            if self.speedup is None:
                notes.append(f"no baseline on one device with {batch_words(row)}")
            elif row.batch_mode is None and batch_size(row) is not None:
                notes.append(f"{batch_words(row)} as stated; per device or global is not known")
        fraction = self._serial_fraction(self.speedup)
        if self._baseline_sharing:
            notes.append(f"its baseline: {self._baseline_sharing}")
        elif fraction is not None and fraction < 0:
            notes.append("super-linear: serial fraction below 0")
        elif not self._other_program and above(self.speedup, self.speedup_interval[0], workers):
            notes.append("super-linear: faster than its workers explain")
        if fraction is not None and fraction > 1:
            notes.append("slower than its baseline: serial fraction above 1")
        return "; ".join(filter(None, notes)) or None


@dataclass(frozen=True)
class StageComparison:
    """The configurations of one stage and their scaling table, row by row."""

    table: ScalingTable
    configurations: tuple[Configuration, ...]
    baselines: Baselines

    @property
    def groups(self) -> list[Group]:
        """The runs of each configuration."""
        return [configuration.group for configuration in self.configurations]

    def label(self, configuration: Configuration) -> str:
        """``configuration`` in words, as its table names it."""
        return self.table.label(configuration.cells)


@dataclass(frozen=True)
class Comparison:
    """What all rows say of each other. Every table, plot and sentence reads it."""

    rows: tuple[Row, ...]
    by_stage: Mapping[Stage, StageComparison]
    """Preprocessing and training always, other stages where they have rows."""

    @property
    def stages(self) -> tuple[StageComparison, ...]:
        """All, in the order in which they are shown."""
        return tuple(self.by_stage.values())

    @property
    def preprocess(self) -> StageComparison:
        """Preprocessing, perhaps without rows."""
        return self.by_stage[Stage.PREPROCESS]

    @property
    def training(self) -> StageComparison:
        """Training, perhaps without rows."""
        return self.by_stage[Stage.TRAIN]

    @property
    def tables(self) -> list[ScalingTable]:
        """The scaling tables of all."""
        return [stage.table for stage in self.stages]

    @cached_property
    def series(self) -> list[Series]:
        """Every series of all, in the order of the tables."""
        return [
            series
            for stage in self.stages
            for series in stage_series(stage.table.name, stage.groups, stage.baselines)
        ]


def compare(rows: Iterable[Row]) -> Comparison:
    """``rows`` compared with each other.

    A baseline has the stage's plain method (``sequential``, ``single``, ``numpy``), else the
    configuration's own, on one worker.
    """
    known = tuple(rows)
    found = {str(row.stage) for row in known} | {Stage.PREPROCESS, Stage.TRAIN}
    return Comparison(known, {s: _compared(known, of) for s, of in MEASURED.items() if s in found})


def _compared(rows: Iterable[Row], of: MeasuredStage) -> StageComparison:
    groups = stage_groups(rows, of.stage)
    baselines = Baselines(groups)
    found = tuple(Configuration(group, tuple(baselines.candidates(group))) for group in groups)
    table = ScalingTable(
        name=of.table,
        title=of.title,
        caption=_CAPTION.format(worker=of.worker) + _MORE.get(of.stage, ""),
        columns=COLUMNS[of.stage],
        rows=[one.cells for one in found],
        workers_column=of.workers_column,
        key=_KEYS.get(of.stage, [of.method]),
    )
    rows_by_group = {id(one.group): one.cells for one in found}
    table.tell_apart(
        [
            (one.cells, rows_by_group[id(one.baseline)])
            for one in found
            if one.baseline is not None and one.cells["baseline"] is not None
        ]
    )
    return StageComparison(table, found, baselines)
