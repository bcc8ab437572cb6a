"""The two scaling tables: what each configuration took, and how much faster than its baseline.

Strong scaling (the same images for all): speedup is the baseline's median time over the
configuration's. Weak scaling (the same images per worker): speedup is the ratio of median images
per second. Efficiency is speedup per worker. Studies are never compared with each other.
"""

from collections.abc import Iterable
from typing import Any

from weather_hpc.analysis.baselines import Baselines, batch_size, batch_words, describe
from weather_hpc.analysis.groups import Group, preprocess_groups, training_groups
from weather_hpc.analysis.laws import serial_fraction
from weather_hpc.analysis.speedup import is_weak, speedup, speedup_interval
from weather_hpc.analysis.statistics import NO_INTERVAL, median, median_interval
from weather_hpc.analysis.table import PREPROCESS_COLUMNS, TRAINING_COLUMNS, ScalingTable
from weather_hpc.runs.row import Row
from weather_hpc.study.spec import Stage

_FIGURES = (
    "time_s is the median over the runs, {low} the ends of its 95 % bootstrap interval (from three "
    "runs on). Speedup is the baseline's time over this one (weak scaling: the ratio of images "
    "per second), efficiency is speedup per {worker}. serial_fraction is Karp and Flatt's (weak "
    "scaling: Gustafson's), the share of the work that not spreading it would explain the "
    "speedup. Start-up is not part of time_s."
)


def preprocess_table(rows: Iterable[Row]) -> ScalingTable:
    """Preprocessing by backend and workers.

    The baseline is ``sequential, 1 worker``, or else the same backend on one worker.
    """
    groups = preprocess_groups(rows)
    baselines = Baselines(groups)
    lines = []
    for group in groups:
        asked = group.asked
        lines.append(
            {
                "backend": asked.backend,
                "workers": asked.workers,
                **_figures(group, baselines),
                "study": asked.study,
                "scaling": asked.scaling,
                "decoder": asked.decoder,
                "image_size_px": asked.image_size_px,
                "images": _whole(group.median("images")) or asked.images_asked,
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

    The baseline is strategy ``single``, or else the same strategy on one rank: on the same kind of
    device, with the same network, recipe, epochs and images, and with the batch size that the row
    keeps while ranks are added, per device or of all devices.
    See :mod:`~weather_hpc.analysis.baselines`.
    """
    groups = training_groups(rows)
    baselines = Baselines(groups)
    lines = []
    for group in groups:
        asked = group.asked
        lines.append(
            {
                "strategy": asked.strategy,
                "device": asked.device,
                "nodes": asked.nodes,
                "world_size": asked.workers,
                "batch_size_per_device": asked.batch_size_per_device,
                "batch_size_global": asked.batch_size_global,
                **_figures(group, baselines),
                "test_accuracy": group.median("test_accuracy"),
                "node_hours": group.median("node_hours"),
                "study": asked.study,
                "scaling": asked.scaling,
                "model": asked.model,
                "recipe": asked.recipe,
                "precision": asked.precision,
                "memory_format": asked.memory_format,
                "execution": asked.execution,
                "epochs": asked.epochs,
                "threads_per_rank": asked.threads_per_rank,
                "batch_mode": asked.batch_mode,
                "images": _whole(group.median("images")) or asked.images_asked,
            }
        )
    return ScalingTable(
        name="training",
        title="Training",
        caption=_FIGURES.format(low="time_s_low and time_s_high", worker="rank")
        + " batch_mode tells which batch size is fixed while ranks are added: the baseline has "
        "that one. node_hours is nodes x the whole duration of the job, start-up included, its "
        "median.",
        columns=TRAINING_COLUMNS,
        rows=[{column: line[column] for column in TRAINING_COLUMNS} for line in lines],
        workers_column="world_size",
        key=["strategy", "device", "batch_size_per_device"],
    )


def _figures(group: Group, baselines: Baselines) -> dict[str, Any]:
    candidates = baselines.candidates(group)
    baseline = candidates[0] if len(candidates) == 1 else None
    times = group.values("time_s")
    value = None if baseline is None else speedup(group, baseline)
    low, high = NO_INTERVAL
    if baseline is not None and value is not None:
        low, high = speedup_interval(group, baseline)
    low_time, high_time = median_interval(times)
    return {
        "runs": len(group.measured),
        "time_s": median(times),
        "time_s_low": low_time,
        "time_s_high": high_time,
        "startup_s": group.median("startup_s"),
        "images_per_s": group.median("images_per_s"),
        "speedup": value,
        "speedup_low": low,
        "speedup_high": high,
        "efficiency": _efficiency(group, value),
        "efficiency_low": _efficiency(group, low),
        "efficiency_high": _efficiency(group, high),
        "serial_fraction": _serial_fraction(group, value),
        # the more speedup, the less is serial
        "serial_fraction_low": _serial_fraction(group, high),
        "serial_fraction_high": _serial_fraction(group, low),
        "baseline": None if baseline is None or value is None else describe(baseline),
        "audit_errors": "; ".join(group.errors) or None,
        "note": _note(group, value, len(candidates)),
    }


def _efficiency(group: Group, value: float | None) -> float | None:
    workers = group.asked.workers
    return None if value is None or not workers else value / workers


def _serial_fraction(group: Group, value: float | None) -> float | None:
    workers = group.asked.workers
    if not value or workers is None or workers < 2:
        return None
    return serial_fraction(value, workers, weak=is_weak(group))


def _note(group: Group, value: float | None, candidates: int) -> str | None:
    """What a reader of the row should know, the group's own note first."""
    asked, notes = group.asked, [group.note]
    workers, training = asked.workers or 0, asked.stage == Stage.TRAIN
    if workers > 1 and group.measured and candidates > 1:
        notes.append(f"any of {candidates} configurations may be its baseline")
    elif workers > 1 and group.measured and training:
        if value is None:
            notes.append(f"no baseline on one device with {batch_words(asked)}")
        elif asked.batch_mode is None and batch_size(asked) is not None:
            notes.append(f"{batch_words(asked)} as stated, of one device or all is not known")
    fraction = _serial_fraction(group, value)
    if fraction is not None and fraction < 0:
        notes.append("super-linear: serial fraction below 0")
    if fraction is not None and fraction > 1:
        notes.append("slower than its baseline: serial fraction above 1")
    return "; ".join(filter(None, notes)) or None


def _whole(value: float | None) -> int | None:
    return None if value is None else round(value)
