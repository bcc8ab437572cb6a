"""Mann-Whitney and Holm: against a textbook's values and against plain enumeration."""

import math
import random
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weather_hpc.analysis.statistics import holm, mann_whitney, smallest_p

SAMPLES = st.lists(st.integers(0, 6).map(float), min_size=1, max_size=5)


def enumerated(first: list[float], second: list[float]) -> float:
    """The p-value by dealing the pooled values out in every way."""
    pooled = [*first, *second]
    ranks = [
        sum(other < value for other in pooled) + (pooled.count(value) + 1) / 2 for value in pooled
    ]
    mean = len(first) * (len(pooled) + 1) / 2
    sums = [sum(chosen) for chosen in combinations(ranks, len(first))]
    distance = abs(sum(ranks[: len(first)]) - mean)
    return sum(abs(value - mean) >= distance for value in sums) / len(sums)


def test_a_textbook_example() -> None:
    """Hollander and Wolfe's permeability data; two-sided p = 0.2544, as R's wilcox.test gives."""
    at_term = [0.80, 0.83, 1.89, 1.04, 1.45, 1.38, 1.91, 1.64, 0.73, 1.46]
    early = [1.15, 0.88, 0.90, 0.74, 1.21]
    assert mann_whitney(at_term, early) == pytest.approx(0.2544, abs=5e-5)


@given(SAMPLES, SAMPLES)
def test_exact_with_ties(first: list[float], second: list[float]) -> None:
    assert mann_whitney(first, second) == pytest.approx(enumerated(first, second))
    assert mann_whitney(second, first) == pytest.approx(mann_whitney(first, second))


@pytest.mark.parametrize(("size", "p"), [(1, 1.0), (3, 0.1), (4, 2 / 70), (5, 2 / 252)])
def test_samples_apart_have_the_smallest_p(size: int, p: float) -> None:
    low, high = [float(i) for i in range(size)], [float(10 + i) for i in range(size)]
    assert mann_whitney(low, high) == pytest.approx(p)
    assert smallest_p(size, size) == pytest.approx(p)


def test_the_approximation_for_many_values_meets_the_exact_one() -> None:
    generator = random.Random(4)
    first = [round(generator.gauss(10.0, 1), 1) for _ in range(25)]
    second = [round(generator.gauss(10.5, 1), 1) for _ in range(25)]
    exact = mann_whitney(first, second)
    assert 0.01 < exact < 0.9
    assert mann_whitney([*first, 10.2], second) == pytest.approx(exact, rel=0.25)
    assert mann_whitney([3.0] * 30, [3.0] * 30) == 1.0


def test_the_approximation_with_two_values_is_the_test_of_a_fourfold_table() -> None:
    """Then z^2 is (N - 1) / N of Pearson's chi-squared, but for the continuity correction."""
    chi_squared = 51 * (20 * 11 - 6 * 14) ** 2 / (26 * 25 * 34 * 17)
    expected = math.erfc(math.sqrt(chi_squared * 50 / 51 / 2))
    found = mann_whitney([1.0] * 20 + [2.0] * 6, [1.0] * 14 + [2.0] * 11)
    assert found == pytest.approx(expected, rel=0.03)


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []
