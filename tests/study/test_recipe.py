"""Recipes: their schedules, and that studies name them rightly."""

import pytest

from weather_hpc.study.recipe import RECIPES, Optimizer, Recipe, Schedule

CYCLE = Recipe("a cycle", Optimizer.ADAMW, 0.5, schedule=Schedule.ONE_CYCLE)


def test_a_cycle_rises_in_the_first_steps_and_falls_to_nothing() -> None:
    rates = [CYCLE.learning_rate_at(step, 100) for step in range(100)]
    peak = rates.index(max(rates))
    assert (peak, rates[peak]) == (14, 0.5)
    assert rates[: peak + 1] == sorted(rates[: peak + 1])
    assert rates[peak:] == sorted(rates[peak:], reverse=True)
    assert 0 < rates[0] < 0.05
    assert 0 <= rates[-1] < 0.001


@pytest.mark.parametrize("steps", [1, 2, 3, 7])
def test_short_runs_have_rates_too(steps: int) -> None:
    rates = [CYCLE.learning_rate_at(step, steps) for step in range(steps)]
    assert all(0 <= rate <= 0.5 for rate in rates)
    assert max(rates) == 0.5


def test_a_runs_own_peak_wins() -> None:
    assert CYCLE.learning_rate_at(14, 100, peak=2.0) == 2.0
    assert RECIPES["paper"].learning_rate_at(3, 100, peak=2.0) == 2.0
    assert RECIPES["paper"].learning_rate_at(3, 100) == 1e-3
