"""Repeats of one configuration, together, in the order of the tables."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from weather_hpc.analysis.statistics import (
    NO_INTERVAL,
    Interval,
    Outlier,
    find_outliers,
    median,
    ratio_interval,
    resampled_medians,
)
from weather_hpc.runs.cpus import more_than_cpus
from weather_hpc.runs.ending import without_log
from weather_hpc.runs.row import Row
from weather_hpc.study.spec import Scaling, Stage
from weather_hpc.study.stages import MEASURED
from weather_hpc.text import alike, brief


@dataclass(frozen=True)
class Group:
    """Runs of one configuration on one kind of device: those measured, and those that were not."""

    measured: tuple[Row, ...]
    others: tuple[Row, ...]

    @property
    def settings(self) -> Row:
        """Any of the runs: their settings are the same."""
        return (self.measured or self.others)[0]

    @property
    def is_weak(self) -> bool:
        """Whether images grow with the workers."""
        return self.settings.scaling == Scaling.WEAK

    @property
    def speeds(self) -> list[float]:
        """What speed is judged by, run by run: seconds, or images per second in weak scaling."""
        return self.values("images_per_s" if self.is_weak else "time_s")

    def speedup(self, other: "Group") -> float | None:
        """The median time of ``other`` over that of this; weak scaling: images per second.

        None where either was not measured.
        """
        above, below = self._ratio_of(other)
        top, bottom = median(above), median(below)
        return None if top is None or not bottom else top / bottom

    def speedup_interval(self, other: "Group") -> Interval:
        """The bootstrap interval of :meth:`speedup`; none below three runs of either.

        A group against itself has none either: it is exactly 1.
        """
        return NO_INTERVAL if self is other else ratio_interval(*self._ratio_of(other))

    def resampled_speedups(self, other: "Group", stream: int) -> NDArray[np.float64]:
        """Bootstrap resamples of :meth:`speedup`, to be used together with those of other groups.

        ``other`` is drawn alike in every call, this independently of it and by ``stream`` > 0.
        """
        above, below = self._ratio_of(other)
        streams = (stream, 0) if self.is_weak else (0, stream)
        return resampled_medians(above, streams[0]) / resampled_medians(below, streams[1])

    def _ratio_of(self, other: "Group") -> tuple[list[float], list[float]]:
        """Numerator and denominator of how many times faster this is."""
        pair = self.speeds, other.speeds
        return pair if self.is_weak else pair[::-1]

    def values(self, column: str) -> list[float]:
        """The numbers of the measured runs in ``column``; a missing one is left out."""
        found = (getattr(row, column) for row in self.measured)
        return [float(value) for value in found if value is not None]

    def median(self, column: str) -> float | None:
        """The median of ``column`` over the measured runs; None where none has it."""
        return median(self.values(column))

    @property
    def outliers(self) -> list[tuple[Row, Outlier]]:
        """The measured runs whose time is far from that of their repeats."""
        timed = [row for row in self.measured if row.time_s is not None]
        return [(timed[found.position], found) for found in find_outliers(self.values("time_s"))]

    @property
    def errors(self) -> list[str]:
        """Codes of the errors that the audit found in the measured runs."""
        found = [row.audit_errors.split("; ") for row in self.measured if row.audit_errors]
        return sorted({code for codes in found for code in codes})

    @property
    def note(self) -> str | None:
        """What a reader of the numbers should know: runs missing, restarted or outlying."""
        notes = []
        total = len(self.measured) + len(self.others)
        ends: dict[tuple[str, str], list[Row]] = defaultdict(list)
        for row in self.others:
            ends[row.status, alike(without_log(row.reason or ""))].append(row)
        for (status, _), rows in ends.items():
            count, reason = len(rows), without_log(rows[0].reason or "no reason recorded")
            word = "rejected" if status == "ok" else status
            share = f"{count} of {total} " if self.measured else ""
            notes.append(f"{share}{word}: {reason}")
        asked_for, used = self.settings.device_asked, self.settings.device
        if self.measured and asked_for not in (None, "auto", used):
            notes.append(f"requested {asked_for}, ran on {used}")
        notes += self.sharing
        restarted = sum(bool(row.restarts) for row in self.measured)
        if restarted:
            notes.append(f"{restarted} of {total} restarted")
        outliers = self.outliers
        if outliers:
            times = ", ".join(f"{brief(found.value)} s" for _, found in outliers)
            notes.append(f"{len(outliers)} of {total} outlying: {times}")
        return "; ".join(notes) or None

    @property
    def sharing(self) -> list[str]:
        """How many workers shared how many CPUs, in how many of the runs; empty: they did not.

        Its speed then says what sharing costs, not how the work scales.
        """
        of, total = self.settings, len(self.measured)
        noun = MEASURED[Stage(str(of.stage))].worker
        found = Counter((row.cpus, row.oversubscribed) for row in self.measured)
        return [
            ("" if count == total else f"{count} of {total} with ")
            + f"{more_than_cpus(of.workers or 0, noun, of.threads_per_rank or 1, cpus or 0)}, {how}"
            for (cpus, how), count in found.items()
            if how is not None
        ]


def group_rows(rows: Iterable[Row]) -> list[Group]:
    """``rows`` by configuration and, where repeats ran on different devices, by device."""
    configurations: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        if row.configuration is not None:
            configurations[row.configuration].append(row)
    groups = []
    for members in configurations.values():
        measured: dict[str | None, list[Row]] = defaultdict(list)
        for row in members:
            if row.table is not None:
                measured[row.device].append(row)
        others = tuple(row for row in members if row.table is None)
        first, *more = measured.values() or [[]]
        groups.append(Group(tuple(first), others))
        groups += [Group(tuple(rows), ()) for rows in more]
    return groups


def stage_groups(rows: Iterable[Row], stage: Stage) -> list[Group]:
    """The runs of each configuration of ``stage``, in the order of its table."""
    groups = group_rows(row for row in rows if row.stage == stage)
    return sorted(groups, key=_training_order if stage is Stage.TRAIN else _worker_order)


def _worker_order(group: Group) -> tuple[Any, ...]:
    of = group.settings
    stage = MEASURED[Stage(str(of.stage))]
    return (
        *_study_order(of),
        of.operation or "",
        of.array_input or "",
        _position(stage.methods, getattr(of, stage.method)),
        of.workers or 0,
        of.image_size_px or 0,
        of.images_asked or 0,
        of.chunk_images or 0,
    )


def _training_order(group: Group) -> tuple[Any, ...]:
    of = group.settings
    return (
        *_study_order(of),
        _position(MEASURED[Stage.TRAIN].methods, of.strategy),
        of.device or "",
        of.model or "",
        of.nodes or 0,
        of.workers or 0,
        of.batch_size_per_device or 0,
        of.batch_size_global or 0,
        of.threads_per_rank or 0,
    )


def _study_order(row: Row) -> tuple[str, str]:
    return row.study or "", row.scaling or ""


def _position(order: Sequence[str], name: str | None) -> int:
    return order.index(name) if name in order else len(order)
