"""Goals: ratios between contestants that this package has set itself, and how a race met them."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from weather_hpc.bench.harness import Result


@dataclass(frozen=True)
class Goal:
    """``faster`` is to take at most 1/``at_least`` of the time of ``slower``."""

    faster: str
    slower: str
    at_least: float
    cpu: bool
    """Whether CPU seconds are compared; otherwise those of the clock."""


def judge_all(goals: Sequence[Goal], result: "Result") -> list[dict[str, Any]]:
    """:func:`judge` for each of ``goals`` whose contestants both took part."""
    names = {standing.contestant.name for standing in result.standings}
    return [judge(goal, result) for goal in goals if {goal.faster, goal.slower} <= names]


def judge(goal: Goal, result: "Result") -> dict[str, Any]:
    """How the race went by ``goal``: its ratio, median over the rounds, and whether it is met."""
    from weather_hpc.analysis.statistics import median, median_interval

    rounds = {s.contestant.name: s.measurements for s in result.standings}
    one, other = rounds[goal.faster], rounds[goal.slower]
    ratios = [
        other[r].facts["cpu_s"] / one[r].facts["cpu_s"]
        if goal.cpu
        else other[r].seconds / one[r].seconds
        for r in one
        if r in other
    ]
    ratio = median(ratios)
    low, high = median_interval(ratios)
    return {
        "faster": goal.faster,
        "slower": goal.slower,
        "seconds": "cpu" if goal.cpu else "clock",
        "ratio": ratio,
        "ratio_low": low,
        "ratio_high": high,
        "goal": goal.at_least,
        "met": None if ratio is None else ratio >= goal.at_least,
    }


def print_goals(judged: Sequence[dict[str, Any]]) -> None:
    """Tell on stderr what :func:`judge` found."""
    for goal in judged:
        ratio = "not measured" if goal["ratio"] is None else f"{goal['ratio']:.2f} times as fast"
        if goal["ratio_low"] is not None:
            ratio += f" (95 % interval {goal['ratio_low']:.2f} to {goal['ratio_high']:.2f})"
        state = {True: "met", False: "missed", None: "open"}[goal["met"]]
        print(
            f"goal {state}: {goal['faster']} / {goal['slower']} ({goal['seconds']} s): {ratio}, "
            f"at least {goal['goal']:g} wanted",
            file=sys.stderr,
        )
