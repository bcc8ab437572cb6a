"""Whether more workers were faster: each step of a series to the next number of workers."""

from collections.abc import Iterator
from enum import StrEnum
from itertools import pairwise
from typing import Any

from weather_hpc.analysis.baselines import baseline_label, method
from weather_hpc.analysis.comparison import Comparison
from weather_hpc.analysis.groups import Group
from weather_hpc.analysis.series import Series
from weather_hpc.analysis.statistics import holm, mann_whitney, smallest_p
from weather_hpc.analysis.table import Table, above

LEVEL = 0.05
"""A difference is significant where the corrected p-value is at most this."""


class Verdict(StrEnum):
    """What the runs show of one configuration compared with another."""

    FASTER = "faster"
    SLOWER = "slower"
    NO_DIFFERENCE = "no difference shown"
    TOO_FEW = "too few repeats"


COMPARISON_COLUMNS = [
    "table", "series", "workers", "against", "runs", "runs_against",
    "ratio", "ratio_low", "ratio_high", "ideal", "p_value", "p_holm", "verdict", "note",
]  # fmt: skip

_CAPTION = (
    "Each number of workers against the next smaller one of its series. ratio says how many times "
    "faster it is (medians of time; weak scaling: of images per second), with its bootstrap "
    "interval; ideal is the ratio of the workers. p_value is that of the exact two-sided "
    "Mann-Whitney test, p_holm the same after Holm's correction for the comparisons within one "
    f"series; a difference is shown where p_holm is at most {LEVEL}. One run has no p_value."
)


_NO_TEST = {"p_value": None, "p_holm": None}


def comparisons_table(comparison: Comparison) -> Table:
    """One row for each pair of neighbouring numbers of workers in each series."""
    lines = [line for series in comparison.series for line in _lines(series)]
    return Table("comparisons", "Does adding workers help?", _CAPTION, COMPARISON_COLUMNS, lines)


def _lines(series: Series) -> Iterator[dict[str, Any]]:
    if series.problem:
        return  # which points are neighbours is not known; the table of laws says why
    pairs = [
        (more, fewer) for fewer, more in pairwise(series.points) if more.speeds and fewer.speeds
    ]
    p_values = [mann_whitney(more.speeds, fewer.speeds) for more, fewer in pairs]
    for (more, fewer), p_value, adjusted in zip(pairs, p_values, holm(p_values), strict=True):
        ratio = more.speedup(fewer)
        low, high = more.speedup_interval(fewer)
        repeated = min(len(more.speeds), len(fewer.speeds)) > 1
        verdict = verdict_of(more, fewer, adjusted, len(pairs))
        yield {
            "table": series.table,
            "series": series.label,
            "workers": more.settings.workers,
            "against": fewer.settings.workers,
            "runs": len(more.speeds),
            "runs_against": len(fewer.speeds),
            "ratio": ratio,
            "ratio_low": low,
            "ratio_high": high,
            "ideal": (more.settings.workers or 0) / (fewer.settings.workers or 1),
            **({"p_value": p_value, "p_holm": adjusted} if repeated else _NO_TEST),
            "verdict": str(verdict),
            "note": _note(more, fewer, verdict, len(pairs)),
        }


def verdict_of(more: Group, fewer: Group, adjusted: float, family: int) -> Verdict:
    """What the runs show of ``more`` against ``fewer``, both measured.

    ``adjusted`` is the p-value after Holm's correction for ``family`` comparisons made together.
    """
    ratio = more.speedup(fewer)
    if adjusted <= LEVEL and ratio is not None and ratio != 1:
        return Verdict.FASTER if ratio > 1 else Verdict.SLOWER
    if family * smallest_p(len(more.speeds), len(fewer.speeds)) > LEVEL:
        return Verdict.TOO_FEW
    return Verdict.NO_DIFFERENCE


def repeats_needed(comparisons: int) -> int:
    """The fewest repeats of each with which one of ``comparisons`` can show a difference."""
    repeats = 1
    while comparisons * smallest_p(repeats, repeats) > LEVEL:
        repeats += 1
    return repeats


def _note(more: Group, fewer: Group, verdict: Verdict, family: int) -> str | None:
    notes = []
    if method(fewer.settings) != method(more.settings):
        notes.append(f"against {baseline_label(fewer)}")
    notes += more.sharing
    if superlinear_step(more, fewer):
        notes.append("super-linear: more than ideal")
    notes.append(repeats_note(verdict, family))
    return "; ".join(filter(None, notes)) or None


def superlinear_step(more: Group, fewer: Group) -> bool:
    """Whether ``more`` is faster than ``fewer`` by more than the ratio of their workers."""
    ideal = (more.settings.workers or 0) / (fewer.settings.workers or 1)
    if fewer.sharing or not ideal:
        return False  # too few CPUs for the fewer workers explain it
    return above(more.speedup(fewer), more.speedup_interval(fewer)[0], ideal)


def repeats_note(verdict: Verdict, family: int) -> str:
    """From how many repeats on the test can show a difference; empty where there are enough."""
    if verdict is not Verdict.TOO_FEW:
        return ""
    return f"a difference can be significant from {repeats_needed(family)} repeats of each on"
