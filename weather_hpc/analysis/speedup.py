"""How many times faster one configuration is than another, with its uncertainty."""

import numpy as np
from numpy.typing import NDArray

from weather_hpc.analysis.groups import Group
from weather_hpc.analysis.statistics import (
    NO_INTERVAL,
    Interval,
    median,
    ratio_interval,
    resampled_medians,
)
from weather_hpc.study.spec import Scaling


def speedup(group: Group, other: Group) -> float | None:
    """The median time of ``other`` over that of ``group``; weak scaling: images per second.

    None where either was not measured.
    """
    above, below = _values(group, other)
    top, bottom = median(above), median(below)
    return None if top is None or not bottom else top / bottom


def speedup_interval(group: Group, other: Group) -> Interval:
    """The 95 % bootstrap interval of :func:`speedup`; none under three runs of either.

    A group against itself has none either: it is exactly 1.
    """
    return NO_INTERVAL if group is other else ratio_interval(*_values(group, other))


def resampled_speedups(group: Group, other: Group, stream: int) -> NDArray[np.float64]:
    """Bootstrap resamples of :func:`speedup`, to be used beside those of other groups.

    ``other`` is drawn alike in every call, ``group`` independently of it and by ``stream`` > 0.
    """
    above, below = _values(group, other)
    streams = (stream, 0) if is_weak(group) else (0, stream)
    return resampled_medians(above, streams[0]) / resampled_medians(below, streams[1])


def speeds(group: Group) -> list[float]:
    """What speed is judged by, run by run: seconds, or images per second in weak scaling."""
    return group.values("images_per_s" if is_weak(group) else "time_s")


def is_weak(group: Group) -> bool:
    """Whether images grow with the workers."""
    return group.asked.scaling == Scaling.WEAK


def _values(group: Group, other: Group) -> tuple[list[float], list[float]]:
    """Numerator and denominator of how many times faster ``group`` is."""
    pair = speeds(group), speeds(other)
    return pair if is_weak(group) else pair[::-1]
