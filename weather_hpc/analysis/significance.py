"""Whether two samples differ by more than chance: the Mann-Whitney test and Holm's correction."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

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
