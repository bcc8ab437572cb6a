"""Median and its uncertainty over few repeats.

Intervals are percentile bootstrap intervals of the median at 95 %: the repeats are drawn anew,
with replacement, :data:`RESAMPLES` times from a generator with a fixed seed, and the interval runs
from the 2.5th to the 97.5th percentile of the medians. With three repeats that is from the fastest
to the slowest; below three there is none. Nothing is assumed of the times' distribution.
"""

from collections.abc import Sequence

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
    return float(np.median(values)) if values else None


def median_interval(values: Sequence[float]) -> Interval:
    """The 95 % interval of the median of ``values``; (None, None) under three of them."""
    if len(values) < FEWEST_REPEATS:
        return NO_INTERVAL
    return _percentiles(_medians(values, np.random.default_rng(SEED)))


def ratio_interval(numerator: Sequence[float], denominator: Sequence[float]) -> Interval:
    """The 95 % interval of median(numerator) / median(denominator), resampled independently.

    (None, None) where either has under three values. The denominator's values are above 0.
    """
    if min(len(numerator), len(denominator)) < FEWEST_REPEATS:
        return NO_INTERVAL
    generator = np.random.default_rng(SEED)
    above = _medians(numerator, generator)
    return _percentiles(above / _medians(denominator, generator))


def _medians(values: Sequence[float], generator: np.random.Generator) -> NDArray[np.float64]:
    sample = np.asarray(values, dtype=np.float64)
    chosen = generator.integers(0, len(sample), size=(RESAMPLES, len(sample)))
    return np.asarray(np.median(sample[chosen], axis=1))


def _percentiles(values: NDArray[np.float64]) -> Interval:
    low, high = np.percentile(values, PERCENTILES)
    return float(low), float(high)
