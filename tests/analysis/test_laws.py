"""The laws' formulas and fits: textbook figures, and what is put in comes out."""

import math
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from weather_hpc.analysis.laws import (
    Law,
    fit,
    peak_workers,
    predict,
    r_squared,
    residual,
    serial_fraction,
)

# Quinn, Parallel Programming in C with MPI and OpenMP (2004), section 7.5: speedups on 2 to 8
# processors and Karp and Flatt's fractions of them
STEADY = ([1.82, 2.50, 3.08, 3.57, 4.00, 4.38, 4.71], [0.1] * 7)
GROWING = (
    [1.87, 2.61, 3.23, 3.73, 4.14, 4.46, 4.71],
    [0.070, 0.075, 0.080, 0.085, 0.090, 0.095, 0.100],
)
SIZES = np.array([2.0, 3.0, 4.0, 8.0, 16.0])


@pytest.mark.parametrize(("speedups", "fractions"), [STEADY, GROWING])
def test_karp_and_flatt_as_in_the_textbook(speedups: list[float], fractions: list[float]) -> None:
    found = [serial_fraction(s, p) for p, s in enumerate(speedups, start=2)]
    assert found == pytest.approx(fractions, abs=0.002)


def test_serial_fractions_beyond_0_and_1() -> None:
    assert serial_fraction(4.4, 4) < 0
    assert serial_fraction(92 / 249, 4) == pytest.approx(3.2754, abs=1e-4)
    assert serial_fraction(1.0, 4) == 1.0
    assert serial_fraction(60.85, 64, weak=True) == pytest.approx(0.05)


def test_laws_as_in_the_textbook() -> None:
    ten, many = np.array([10.0]), np.array([64.0])
    assert predict(Law.AMDAHL, ten, np.array([0.1, 0.0]))[0] == pytest.approx(5.263, abs=1e-3)
    assert predict(Law.GUSTAFSON, many, np.array([0.05, 0.0]))[0] == pytest.approx(60.85)
    assert peak_workers(np.array(0.05), np.array(0.0025)) == pytest.approx(19.494, abs=1e-3)
    assert math.isinf(peak_workers(np.array(0.05), np.array(0.0)))
    assert peak_workers(np.array(1.5), np.array(0.1)) == 1.0


@given(st.sampled_from(Law), st.floats(0, 0.9), st.floats(0, 0.1))
def test_a_fit_finds_what_made_the_speedups(law: Law, s: float, k: float) -> None:
    true = np.array([s, k if law is Law.USL else 0.0])
    speedups = predict(law, SIZES, true)
    found = fit(law, SIZES, speedups)
    assert found == pytest.approx(true, abs=1e-6)
    assert residual(law, SIZES, speedups, found) == pytest.approx(0, abs=1e-6)
    assert r_squared(law, SIZES, speedups, found) == pytest.approx(1, abs=1e-4)


@given(st.sampled_from(Law), st.lists(st.floats(0.2, 20), min_size=5, max_size=5))
def test_no_other_parameters_in_bounds_fit_better(law: Law, speedups: list[float]) -> None:
    measured = np.array(speedups)
    found = fit(law, SIZES, measured)
    assert (found >= 0).all()
    least = residual(law, SIZES, measured, found)
    generator = random.Random(0)
    for _ in range(50):
        other = np.array([generator.expovariate(5), generator.expovariate(50)])
        if law is not Law.USL:
            other[1] = 0.0
        near = np.maximum(0.0, found + (other - found) * 0.05)
        assert least <= residual(law, SIZES, measured, other) * (1 + 1e-9)
        assert least <= residual(law, SIZES, measured, near) * (1 + 1e-9)


def test_many_fits_at_once_are_the_single_ones() -> None:
    speedups = np.array([[1.9, 2.7, 3.4, 5.0, 6.0], [2.2, 3.3, 4.5, 9.0, 18.0], [0.9] * 5])
    for law in Law:
        together = fit(law, SIZES, speedups)
        assert together == pytest.approx(np.stack([fit(law, SIZES, row) for row in speedups]))
    assert fit(Law.USL, SIZES, speedups)[1] == pytest.approx([0, 0])  # super-linear: at the bound
