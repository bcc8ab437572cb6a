"""Medians and bootstrap intervals: exact where that is known, empty where there is too little."""

import itertools
import statistics
from collections import Counter

import numpy as np
import pytest

from weather_hpc.analysis.statistics import (
    RESAMPLES,
    median,
    median_interval,
    ratio_interval,
    resampled_medians,
    wilson_interval,
)


def test_median_of_nothing_is_nothing() -> None:
    assert median([]) is None
    assert median([3.0, 1.0, 2.0, 9.0]) == 2.5


@pytest.mark.parametrize("values", [[], [1.0], [1.0, 2.0]])
def test_no_interval_under_three(values: list[float]) -> None:
    assert median_interval(values) == (None, None)
    assert ratio_interval(values, [1.0, 2.0, 3.0]) == (None, None)
    assert ratio_interval([1.0, 2.0, 3.0], values) == (None, None)


def test_of_three_the_interval_is_from_the_smallest_to_the_largest() -> None:
    # P(median of three draws is the smallest) = 7/27, far above 2.5 %
    assert median_interval([5.0, 3.0, 4.0]) == (3.0, 5.0)
    assert ratio_interval([6.0, 8.0, 7.0], [2.0, 2.0, 2.0]) == (3.0, 4.0)


@pytest.mark.parametrize("values", [[1.0, 2.0], [1.0, 2.0, 4.0], [1.0, 2.0, 4.0, 8.0]])
def test_medians_are_resampled_as_by_drawing_every_value(values: list[float]) -> None:
    """Against the medians of all n^n equally likely resamples."""
    resamples = list(itertools.product(values, repeat=len(values)))
    expected = Counter(statistics.median(resample) for resample in resamples)
    found = Counter(resampled_medians(values).tolist())
    assert found.keys() <= expected.keys()
    for value, count in expected.items():
        assert found[value] / RESAMPLES == pytest.approx(count / len(resamples), abs=0.04)


def test_the_same_values_give_the_same_interval() -> None:
    values = list(np.random.default_rng(1).normal(10, 1, 30))
    assert median_interval(values) == median_interval(values)


def test_numerator_and_denominator_are_drawn_independently() -> None:
    values = [1.0, 2.0, 3.0, 4.0, 5.0]
    low, high = ratio_interval(values, values)
    assert low is not None
    assert high is not None
    assert low < 1 < high


def test_the_interval_covers_as_often_as_it_says() -> None:
    generator = np.random.default_rng(7)
    samples = generator.lognormal(0.0, 0.2, (300, 25))
    intervals = [median_interval(list(sample)) for sample in samples]
    covered = [
        low <= 1.0 <= high for low, high in intervals if low is not None and high is not None
    ]
    assert 0.90 < statistics.fmean(covered) < 0.99


def test_wilsons_interval_solves_his_equation() -> None:
    assert wilson_interval(0, 0) == (None, None)
    for correct, of in ((0, 10), (10, 10), (1, 3), (16, 44), (999, 1000)):
        low, high = wilson_interval(correct, of)
        assert low is not None
        assert high is not None
        assert 0 <= low <= correct / of <= high <= 1
        for end in (low, high):
            # the share lies 1.96 standard errors, taken at the end itself, from each end
            distance = abs(correct / of - end)
            assert distance == pytest.approx(1.959964 * (end * (1 - end) / of) ** 0.5, abs=1e-6)
