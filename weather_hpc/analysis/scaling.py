"""The two scaling tables: what each configuration took, and how much faster than its baseline.

Strong scaling (the same images for all): speedup is the baseline's median time over the
configuration's. Weak scaling (the same images per worker): speedup is the ratio of median images
per second. Efficiency is speedup per worker. Studies are never compared with each other.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from weather_hpc.analysis.groups import Group, group_rows
from weather_hpc.analysis.statistics import (
    NO_INTERVAL,
    Interval,
    median,
    median_interval,
    ratio_interval,
)
from weather_hpc.analysis.table import PREPROCESS_COLUMNS, TRAINING_COLUMNS, ScalingTable, counted
from weather_hpc.collect.row import Row
from weather_hpc.study.spec import Backend, BatchMode, Device, Scaling, Stage, Strategy

_SAME_INPUT = ("study", "scaling", "data", "image_size_px")
_SAME_TRAINING = (*_SAME_INPUT, "device", "model", "epochs")
# Among several possible baselines the one most alike in these is taken.
_ALIKE = ("threads_per_rank", "learning_rate", "seed", "warmup_steps", "nodes")

_FIGURES = (
    "time_s is the median over the runs, {low} the ends of its 95 % bootstrap interval (from three "
    "runs on). Speedup is the baseline's time over this one (weak scaling: the ratio of images "
    "per second), efficiency is speedup per {worker}. Start-up is not part of time_s."
)


def preprocess_table(rows: Iterable[Row]) -> ScalingTable:
    """Preprocessing by backend and workers; the baseline is ``sequential, 1 worker``."""
    groups = group_rows(row for row in rows if row.stage == Stage.PREPROCESS)
    order = list(map(str, Backend))
    groups.sort(
        key=lambda g: (
            *_study_order(g.asked),
            _position(order, g.asked.backend),
            g.asked.workers or 0,
            g.asked.image_size_px or 0,
            g.asked.images_asked or 0,
        )
    )
    baselines = [g for g in groups if g.asked.backend == Backend.SEQUENTIAL and g.measured]
    lines = []
    for group in groups:
        asked = group.asked
        baseline = _baseline(group, baselines, _SAME_INPUT)
        lines.append(
            {
                "backend": asked.backend,
                "workers": asked.workers,
                **_figures(group, baseline),
                "study": asked.study,
                "scaling": asked.scaling,
                "image_size_px": asked.image_size_px,
                "images": _whole(group.median("images")) or asked.images_asked,
                "note": group.note,
            }
        )
    return ScalingTable(
        name="preprocess",
        title="Preprocessing",
        caption=_FIGURES.format(low="time_s_low and time_s_high", worker="worker"),
        columns=PREPROCESS_COLUMNS,
        rows=[{column: line[column] for column in PREPROCESS_COLUMNS} for line in lines],
        workers_column="workers",
        key=["backend"],
    )


def training_table(rows: Iterable[Row]) -> ScalingTable:
    """Training by strategy, device, ranks and batch size.

    The baseline is strategy ``single`` on the same kind of device, with the same network, epochs,
    images and batch size, and on CPUs with the same threads per rank. The same batch size is the
    one that the study fixed (per device, or of all devices together) or else the other.
    """
    groups = group_rows(row for row in rows if row.stage == Stage.TRAIN)
    order = list(map(str, Strategy))
    groups.sort(
        key=lambda g: (
            *_study_order(g.asked),
            _position(order, g.asked.strategy),
            g.asked.device or "",
            g.asked.model or "",
            g.asked.nodes or 0,
            g.asked.workers or 0,
            g.asked.batch_size_per_device or 0,
            g.asked.threads_per_rank or 0,
        )
    )
    baselines = [g for g in groups if g.asked.strategy == Strategy.SINGLE and g.measured]
    lines = []
    for group in groups:
        asked = group.asked
        # a CPU rank's threads are its device; a GPU rank's only feed it
        same = _SAME_TRAINING + (("threads_per_rank",) if asked.device == Device.CPU else ())
        baseline = None
        for batch in _batches(asked):
            alike = [c for c in baselines if c.asked.batch_size_global == batch]
            baseline = baseline or _baseline(group, alike, same)
        lines.append(
            {
                "strategy": asked.strategy,
                "device": asked.device,
                "nodes": asked.nodes,
                "world_size": asked.workers,
                "batch_size_per_device": asked.batch_size_per_device,
                "batch_size_global": asked.batch_size_global,
                **_figures(group, baseline),
                "test_accuracy": group.median("test_accuracy"),
                "node_hours": group.median("node_hours"),
                "study": asked.study,
                "scaling": asked.scaling,
                "model": asked.model,
                "epochs": asked.epochs,
                "threads_per_rank": asked.threads_per_rank,
                "images": _whole(group.median("images")) or asked.images_asked,
                "note": group.note,
            }
        )
    return ScalingTable(
        name="training",
        title="Training",
        caption=_FIGURES.format(low="time_s_low and time_s_high", worker="rank")
        + " node_hours is nodes x the whole duration of the job, start-up included, its median.",
        columns=TRAINING_COLUMNS,
        rows=[{column: line[column] for column in TRAINING_COLUMNS} for line in lines],
        workers_column="world_size",
        key=["strategy", "device", "batch_size_per_device"],
    )


def _figures(group: Group, baseline: Group | None) -> dict[str, Any]:
    times = group.values("time_s")
    low, high = median_interval(times)
    speedup, interval = _speedup(group, baseline)
    workers = group.asked.workers
    return {
        "runs": len(group.measured),
        "time_s": median(times),
        "time_s_low": low,
        "time_s_high": high,
        "startup_s": group.median("startup_s"),
        "images_per_s": group.median("images_per_s"),
        "speedup": speedup,
        "speedup_low": interval[0],
        "speedup_high": interval[1],
        "efficiency": speedup / workers if speedup is not None and workers else None,
        "baseline": None if speedup is None else _describe(baseline),
    }


def _speedup(group: Group, baseline: Group | None) -> tuple[float | None, Interval]:
    if baseline is None:
        return None, NO_INTERVAL
    if group.asked.scaling == Scaling.WEAK:
        above, below = group.values("images_per_s"), baseline.values("images_per_s")
    else:
        above, below = baseline.values("time_s"), group.values("time_s")
    top, bottom = median(above), median(below)
    if top is None or not bottom:
        return None, NO_INTERVAL
    if group is baseline:
        return 1.0, NO_INTERVAL  # itself by itself: exactly 1, nothing is uncertain
    return top / bottom, ratio_interval(above, below)


def _baseline(group: Group, candidates: Sequence[Group], same: Sequence[str]) -> Group | None:
    """The candidate that did the same work as ``group``; None where there is none."""
    fitting = [
        c for c in candidates
        if _images_each(c.asked) == _images_each(group.asked)
        and all(getattr(c.asked, name) == getattr(group.asked, name) for name in same)
    ]  # fmt: skip
    if any(candidate is group for candidate in fitting):
        return group
    return max(
        fitting,
        key=lambda c: sum(getattr(c.asked, n) == getattr(group.asked, n) for n in _ALIKE),
        default=None,
    )


def _batches(asked: Row) -> tuple[int | None, int | None]:
    """The batch sizes that a baseline may have, the better first."""
    each, together = asked.batch_size_per_device, asked.batch_size_global
    return (together, each) if asked.batch_mode == BatchMode.GLOBAL else (each, together)


def _images_each(row: Row) -> float | None:
    """What must be equal to compare: images in all (strong), or per worker (weak scaling)."""
    if row.images_asked is None or row.scaling != Scaling.WEAK:
        return row.images_asked
    return row.images_asked / (row.workers or 1)


def _describe(baseline: Group | None) -> str | None:
    if baseline is None:
        return None
    asked = baseline.asked
    if asked.stage == Stage.PREPROCESS:
        return f"{asked.backend}, {counted(asked.workers or 1, 'worker')}"
    return f"{asked.strategy} on {asked.device}, batch {asked.batch_size_per_device}"


def _study_order(row: Row) -> tuple[str, str]:
    return row.study or "", row.scaling or ""


def _position(order: Sequence[str], name: str | None) -> int:
    return order.index(name) if name in order else len(order)


def _whole(value: float | None) -> int | None:
    return None if value is None else round(value)
