"""Median and its uncertainty over few repeats.

Intervals are percentile bootstrap intervals of the median at 95 %: the repeats are drawn anew,
with replacement, :data:`RESAMPLES` times from a generator with a fixed seed, and the interval runs
from the 2.5th to the 97.5th percentile of the medians. Nothing is assumed of the times'
distribution. Of three to five repeats that is from the fastest to the slowest; below three there
is none. docs/measuring.md tells how often such intervals hold the true median.
"""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 2000
SEED = 20230
FEWEST_REPEATS = 3
PERCENTILES = (2.5, 97.5)

Interval = tuple[float | None, float | None]
NO_INTERVAL: Interval = (None, None)


def median(values: Sequence[float]) -> float | None:
    """The median; None of nothing."""
    if not values:
        return None
    ordered, size = sorted(values), len(values)
    return (ordered[(size - 1) // 2] + ordered[size // 2]) / 2


def median_interval(values: Sequence[float]) -> Interval:
    """The 95 % interval of the median of ``values``; (None, None) under three of them."""
    if len(values) < FEWEST_REPEATS:
        return NO_INTERVAL
    return percentile_interval(resampled_medians(values))


def ratio_interval(numerator: Sequence[float], denominator: Sequence[float]) -> Interval:
    """The 95 % interval of median(numerator) / median(denominator), resampled independently.

    (None, None) where either has under three values, or the denominator one that is not above 0.
    """
    if min(len(numerator), len(denominator)) < FEWEST_REPEATS or min(denominator) <= 0:
        return NO_INTERVAL
    ratios = resampled_medians(numerator) / resampled_medians(denominator, stream=1)
    return percentile_interval(ratios)


def resampled_medians(values: Sequence[float], stream: int = 0) -> NDArray[np.float64]:
    """The medians of :data:`RESAMPLES` resamples of ``values``; draws differ between streams."""
    ordered = np.sort(np.asarray(values, dtype=np.float64))
    return np.asarray(ordered[_middles(len(ordered), stream)].mean(axis=0))


def percentile_interval(values: NDArray[np.float64]) -> Interval:
    """Where the middle 95 % of ``values`` lie."""
    low, high = np.percentile(values, PERCENTILES)
    return float(low), float(high)


@lru_cache(maxsize=128)
def _middles(size: int, stream: int) -> NDArray[np.intp]:
    """Places, among ``size`` sorted values, of the middle two of each resample: (2, RESAMPLES).

    A resample's place is ``size`` times a uniform number, rounded down; of ``size`` such numbers
    the k-th smallest is Beta(k, size - k + 1) distributed, and the smallest of m others above it
    is, on what is left of the way to 1, Beta(1, m). So the middle is drawn without the rest
    (David and Nagaraja, Order Statistics, 2003).
    """
    generator = np.random.default_rng([SEED, stream])
    below = (size + 1) // 2
    lower = generator.beta(below, size - below + 1, RESAMPLES)
    upper = lower
    if size % 2 == 0:
        upper = lower + (1 - lower) * generator.beta(1, size - below, RESAMPLES)
    return np.minimum(np.stack([lower, upper]) * size, size - 1).astype(np.intp)
