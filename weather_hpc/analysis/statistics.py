"""Median and its uncertainty over few repeats, outliers, and tests whether two samples differ.

Intervals are percentile bootstrap intervals of the median, nominally 95 %: the repeats are
resampled with replacement :data:`RESAMPLES` times from a generator with a fixed seed, and the
interval runs from the 2.5th to the 97.5th percentile of the medians. Nothing is assumed about the
distribution of times. With three to five repeats it runs from the fastest to the slowest; with
fewer than three there is none. docs/measuring.md says how often such intervals contain the true
median.

A run is an outlier by the modified z-score of Iglewicz and Hoaglin (How to Detect and Handle
Outliers, 1993): 0.6745 x |value - median| / MAD above 3.5, where MAD is the median distance from
the median. It needs five repeats. The MAD counts as at least 1 % of the median, so that of repeats
that are nearly equal, such as times in whole seconds, none within 5 % is an outlier. Outliers are
reported, never left out.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 2000
SEED = 20230
FEWEST_REPEATS = 3
PERCENTILES = (2.5, 97.5)

CLAIMS_95_FROM = 6
"""From so many repeats on an interval covers the true median often enough to be called 95 %."""

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


Z_95 = 1.959963984540054
"""The 97.5th percentile of the standard normal distribution."""


def wilson_interval(correct: int, of: int) -> Interval:
    """The 95 % score interval of a share of ``of`` independent cases; (None, None) of no case.

    E. B. Wilson, Probable Inference, the Law of Succession, and Statistical Inference, Journal of
    the American Statistical Association 22 (1927), 209-212.
    """
    if not of:
        return NO_INTERVAL
    share, weight = correct / of, Z_95**2 / of
    middle = (share + weight / 2) / (1 + weight)
    half = Z_95 / (1 + weight) * math.sqrt(share * (1 - share) / of + weight / (4 * of))
    # exact at the ends, where the sums have rounding errors
    return middle - half if correct else 0.0, middle + half if correct < of else 1.0


def sum_interval(one: Sequence[float], other: Sequence[float]) -> Interval:
    """The 95 % interval of median(one) + median(other), resampled independently.

    (None, None) where either has under three values.
    """
    if min(len(one), len(other)) < FEWEST_REPEATS:
        return NO_INTERVAL
    return percentile_interval(resampled_medians(one) + resampled_medians(other, stream=1))


def interval_name(repeats: int, of: str = "repeats") -> str:
    """What an interval of so many ``repeats`` may be called; docs/measuring.md has the coverage."""
    return "95 % interval" if repeats >= CLAIMS_95_FROM else f"range of the {of}"


def overlap(one: Interval, other: Interval) -> bool:
    """Whether both intervals are known and have a value in common."""
    (low, high), (other_low, other_high) = one, other
    if low is None or high is None or other_low is None or other_high is None:
        return False
    return low <= other_high and other_low <= high


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


FEWEST = 5


THRESHOLD = 3.5


NORMAL = 0.6745
"""MAD over standard deviation, of a normal distribution."""


LEAST_SPREAD = 0.01
"""The smallest MAD, as a share of the median."""


@dataclass(frozen=True)
class Outlier:
    """One value among repeats that is far from their median."""

    position: int
    """Its index among the values."""
    value: float
    median: float
    score: float
    """Modified z-score, without a sign."""


def find_outliers(values: Sequence[float]) -> list[Outlier]:
    """The outliers among ``values``, which are above 0; none among fewer than five."""
    middle = median(values)
    if middle is None or len(values) < FEWEST:
        return []
    distances = [abs(value - middle) for value in values]
    spread = max(median(distances) or 0.0, LEAST_SPREAD * middle)
    if spread == 0:
        return []
    scores = [NORMAL * distance / spread for distance in distances]
    return [
        Outlier(position, values[position], middle, score)
        for position, score in enumerate(scores)
        if score > THRESHOLD
    ]


LARGEST_EXACT = 50
"""Values in both samples together up to which every way of sharing them out is counted."""


def mann_whitney(first: Sequence[float], second: Sequence[float]) -> float:
    """The two-sided p-value of the Mann-Whitney test that neither sample tends to be larger.

    Exact, ties included, up to 50 values: the share of all ways of dealing the pooled values out
    to two samples of these sizes whose rank sum is as far from its mean. Beyond, the normal
    approximation with the corrections for ties and continuity (Hollander, Wolfe and Chicken,
    Nonparametric Statistical Methods, 2014). Neither sample is empty.
    """
    ranks = _doubled_ranks(np.asarray([*first, *second], dtype=np.float64))
    mean = len(first) * (len(ranks) + 1)
    distance = abs(int(ranks[: len(first)].sum()) - mean)
    if len(ranks) > LARGEST_EXACT:
        return _approximate(ranks, len(first), distance)
    counts = _rank_sums(ranks, len(first))
    as_far = np.abs(np.arange(len(counts)) - mean) >= distance
    return float(counts[as_far].sum() / counts.sum())


def smallest_p(first: int, second: int) -> float:
    """The smallest two-sided p-value that samples of these sizes can have, without ties."""
    return min(1.0, 2 / math.comb(first + second, first))


def holm(p_values: Sequence[float]) -> list[float]:
    """``p_values`` of tests made together, corrected for their number, in the given order.

    Holm, A simple sequentially rejective multiple test procedure, 1979: the k-th smallest of m is
    multiplied by m - k + 1 and is no smaller than those before it.
    """
    adjusted = [0.0] * len(p_values)
    floor = 0.0
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    for done, position in enumerate(order):
        floor = max(floor, min(1.0, (len(p_values) - done) * p_values[position]))
        adjusted[position] = floor
    return adjusted


def _doubled_ranks(values: NDArray[np.float64]) -> NDArray[np.int64]:
    """Twice the rank of each value, from 1; tied values share their mean rank."""
    ordered = np.sort(values)
    before = np.searchsorted(ordered, values, side="left")
    until = np.searchsorted(ordered, values, side="right")
    return np.asarray(before + until + 1, dtype=np.int64)


def _rank_sums(ranks: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    """How many of the ways to choose ``size`` of ``ranks`` have each sum, by sum."""
    counts = np.zeros((size + 1, int(ranks.sum()) + 1), dtype=np.int64)
    counts[0, 0] = 1
    for rank in ranks:
        counts[1:, rank:] += counts[:-1, :-rank].copy()
    return np.asarray(counts[size])


def _approximate(ranks: NDArray[np.int64], size: int, distance: int) -> float:
    """The p-value of a doubled rank sum ``distance`` from its mean, taken as normal."""
    total, other = len(ranks), len(ranks) - size
    ties = np.unique(ranks, return_counts=True)[1].astype(np.float64)
    tied = float((ties**3 - ties).sum()) / (total * (total - 1))
    variance = size * other / 12 * (total + 1 - tied)
    if variance <= 0:
        return 1.0
    z = max(0.0, distance / 2 - 0.5) / math.sqrt(variance)
    return math.erfc(z / math.sqrt(2))
