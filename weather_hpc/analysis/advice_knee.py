"""The knee of a series: up to how many workers each added one still pays."""

from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from weather_hpc.analysis.advice_candidates import Candidate
from weather_hpc.analysis.groups import Group
from weather_hpc.analysis.series import Series
from weather_hpc.analysis.speedup import is_weak, speeds
from weather_hpc.analysis.statistics import (
    FEWEST_REPEATS,
    PERCENTILES,
    median,
    resampled_medians,
)
from weather_hpc.text import counted

THRESHOLD = 0.5
"""Marginal efficiency under which an added worker does not pay."""

RULE = (
    "knee is the largest number of workers up to which every step to more of them has a marginal "
    f"efficiency of at least {THRESHOLD:g}: speed gained for each added worker, over the speed for "
    "each worker at the series' smallest size."
)


def knee(series: Series) -> dict[str, Any]:
    """The line of advice on ``series``: its knee, or the reason why there is none."""
    line = {"question": "knee", "stage": series.table, "work": series.label}
    points = [g for g in series.points if g.asked.workers and min(speeds(g), default=0.0) > 0]
    if series.problem:
        return line | {"reason": series.problem}
    if len(points) <= 1:
        return line | {"reason": "measured at one size only: nothing tells what more would bring"}
    first, best, said = points[0], points[0], ""
    for fewer, more in pairwise(points):
        margin = _margin(first, fewer, more)
        size = counted(more.asked.workers, series.unit)
        step = f"the step to {size} has a marginal efficiency of {margin:.2f}"
        step += _doubt(first, fewer, more)
        if margin < THRESHOLD:
            said = f"{step}, under {THRESHOLD:g}"
            break
        best, said = more, f"the most measured: {step}"
    name = f"{series.label}, {counted(best.asked.workers, series.unit)}"
    return line | Candidate(name, best, _efficiency(first, best)).figures | {"reason": said}


def _speed(group: Group) -> float:
    """Work per second: images per second in weak scaling, else runs per second."""
    middle = median(speeds(group)) or 0.0
    return middle if is_weak(group) else 1 / middle


def _efficiency(first: Group, group: Group) -> float:
    return _speed(group) / _workers(group) / (_speed(first) / _workers(first))


def _margin(first: Group, fewer: Group, more: Group) -> float:
    gain = (_speed(more) - _speed(fewer)) / (_workers(more) - _workers(fewer))
    return gain / (_speed(first) / _workers(first))


def _doubt(first: Group, fewer: Group, more: Group) -> str:
    """The margin's 95 % bootstrap interval in words; empty under three runs of any of them."""
    if min(len(speeds(group)) for group in (first, fewer, more)) < FEWEST_REPEATS:
        return ""
    base = _resampled(first, 0)
    below = base if fewer is first else _resampled(fewer, 1)
    added = _workers(more) - _workers(fewer)
    margins = (_resampled(more, 2) - below) / added / (base / _workers(first))
    low, high = map(float, np.percentile(margins, PERCENTILES))
    unsure = ", which may be on either side" if low < THRESHOLD <= high else ""
    return f" ({low:.2f} to {high:.2f}{unsure})"


def _resampled(group: Group, stream: int) -> NDArray[np.float64]:
    medians = resampled_medians(speeds(group), stream)
    return medians if is_weak(group) else 1 / medians


def _workers(group: Group) -> int:
    return group.asked.workers or 1
