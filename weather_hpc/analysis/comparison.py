"""Comparison: everything that rows say of each other, computed once.

Runs of one configuration are a group. A group's baseline did the same work on one worker, and is
what its speedup is measured against. Groups that differ in the number of workers only are a series.

Strong scaling (the same images for all): speedup is the baseline's median time over the
configuration's. Weak scaling (the same images per worker): speedup is the ratio of median images
per second. Efficiency is speedup per worker. Studies are never compared with each other.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from weather_hpc.analysis.baselines import (
    Baselines,
    baseline_label,
    batch_size,
    batch_words,
    row_kind,
)
from weather_hpc.analysis.groups import Group, stage_groups
from weather_hpc.analysis.laws import serial_fraction
from weather_hpc.analysis.series import Series, stage_series
from weather_hpc.analysis.statistics import NO_INTERVAL, Interval, median_interval
from weather_hpc.analysis.table import (
    PREPROCESS_COLUMNS,
    TRAINING_COLUMNS,
    ScalingTable,
)
from weather_hpc.runs.row import Row
from weather_hpc.study.spec import Stage

_CAPTION = (
    "time_s is the median over the runs, time_s_low and time_s_high the ends of its bootstrap "
    "interval (from three runs on; docs/measuring.md says what it covers). Speedup is the "
    "baseline's time over this one (weak scaling: the ratio of images per second), efficiency is "
    "speedup per {worker}. serial_fraction is Karp and Flatt's (weak scaling: Gustafson's), the "
    "serial share of the work that would explain the speedup. Start-up is not part of time_s."
)
_BATCH_CAPTION = (
    " batch_mode says which batch size is fixed while ranks are added: the baseline has that one. "
    "node_hours is nodes x the whole duration of the job, start-up included, its median."
)
_COLUMNS = {"preprocess": PREPROCESS_COLUMNS, "train": TRAINING_COLUMNS}


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
        cells = {column: getattr(row, column, None) for column in _COLUMNS[row_kind(row)]}
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
        }

    def _efficiency(self, speedup: float | None) -> float | None:
        workers = self.group.settings.workers
        return None if speedup is None or not workers else speedup / workers

    def _serial_fraction(self, speedup: float | None) -> float | None:
        workers = self.group.settings.workers
        if not speedup or workers is None or workers < 2:
            return None
        return serial_fraction(speedup, workers, weak=self.group.is_weak)

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
        if fraction is not None and fraction < 0:
            notes.append("super-linear: serial fraction below 0")
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
    preprocess: StageComparison
    """Baseline: ``sequential, 1 worker``, else the same backend on one worker."""
    training: StageComparison
    """Baseline: strategy ``single``, else the same strategy on one rank."""

    @property
    def stages(self) -> tuple[StageComparison, StageComparison]:
        """Both, in the order in which they are shown."""
        return self.preprocess, self.training

    @property
    def tables(self) -> list[ScalingTable]:
        """The scaling tables of both."""
        return [stage.table for stage in self.stages]

    @cached_property
    def series(self) -> list[Series]:
        """Every series of both, in the order of the tables."""
        return [
            series
            for stage in self.stages
            for series in stage_series(stage.table.name, stage.groups, stage.baselines)
        ]


def compare(rows: Iterable[Row]) -> Comparison:
    """``rows`` compared with each other."""
    known = tuple(rows)
    return Comparison(
        known,
        _compared(
            known, Stage.PREPROCESS, name="preprocess", title="Preprocessing",
            caption=_CAPTION.format(worker="worker"), columns=PREPROCESS_COLUMNS,
            workers_column="workers", key=["backend"],
        ),
        _compared(
            known, Stage.TRAIN, name="training", title="Training",
            caption=_CAPTION.format(worker="rank") + _BATCH_CAPTION, columns=TRAINING_COLUMNS,
            workers_column="world_size", key=["strategy", "device", "batch_size_per_device"],
        ),
    )  # fmt: skip


def _compared(rows: Iterable[Row], stage: Stage, **table: Any) -> StageComparison:
    groups = stage_groups(rows, stage)
    baselines = Baselines(groups)
    found = tuple(Configuration(group, tuple(baselines.candidates(group))) for group in groups)
    cells = [{column: one.cells[column] for column in table["columns"]} for one in found]
    return StageComparison(ScalingTable(rows=cells, **table), found, baselines)
