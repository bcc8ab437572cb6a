"""TODO."""

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from weather_hpc.analysis.baselines import task
from weather_hpc.analysis.comparison import Comparison, StageComparison
from weather_hpc.analysis.groups import Group
from weather_hpc.analysis.statistics import Interval, median, median_interval
from weather_hpc.text import counted

MOST_NAMED = 2
"""So many rivals are named, the others counted."""


@dataclass(frozen=True)
class Candidate:
    """One measured configuration."""

    label: str
    """In the words of its table."""
    group: Group
    efficiency: float | None
    superlinear: bool = False
    """Whether its speedup is beyond its workers, as the table tells."""

    @property
    def workers(self) -> int | None:
        """Workers or ranks."""
        return self.group.settings.workers

    @property
    def time_s(self) -> float | None:
        """Median measured time."""
        return self.group.median("time_s")

    @property
    def images_per_s(self) -> float | None:
        """Median images per second."""
        return self.group.median("images_per_s")

    @property
    def node_hours(self) -> float | None:
        """Median node-hours of a run, its start-up included; None where none tells them."""
        return self.group.median("node_hours")

    @property
    def accuracy(self) -> float | None:
        """Median test accuracy, 0..1."""
        return self.group.median("test_accuracy")

    @property
    def slowness(self) -> float:
        """What is least in the fastest: seconds, in weak scaling seconds per image."""
        middle = median(self.group.speeds)
        if not middle:
            return float("inf")
        return 1 / middle if self.group.is_weak else middle

    @property
    def figures(self) -> dict[str, Any]:
        """The columns of the advice that tell of this configuration."""
        low, high = median_interval(self.group.values("time_s"))
        return {
            "answer": self.label,
            "workers": self.workers,
            "time_s": self.time_s,
            "time_s_low": low,
            "time_s_high": high,
            "images_per_s": self.images_per_s,
            "node_hours": self.node_hours,
            "efficiency": self.efficiency,
            "test_accuracy": self.accuracy,
        }


@dataclass(frozen=True)
class Work:
    """Configurations of one stage that do the same work, so that one of them may be chosen."""

    stage: str
    """The table's name."""
    label: str | None
    """What this work is, where there are several in the table."""
    candidates: tuple[Candidate, ...]

    @property
    def weak(self) -> bool:
        """Whether the work grows with the workers."""
        return self.candidates[0].group.is_weak


def all_works(comparison: Comparison) -> list[Work]:
    """Every work that was measured, in the order of the tables."""
    return [work for stage in comparison.stages for work in _works(stage)]


def _works(stage: StageComparison) -> Iterator[Work]:
    by_task: dict[tuple[object, ...], list[Candidate]] = defaultdict(list)
    names: list[str] = []
    for one in stage.configurations:
        if one.group.measured and not one.group.errors:
            values = task(one.group.settings)
            names = list(values)
            superlinear = stage.table.superlinear(one.cells)
            found = Candidate(stage.label(one), one.group, one.cells["efficiency"], superlinear)
            by_task[tuple(values.values())].append(found)
    varying = [i for i in range(len(names)) if len({values[i] for values in by_task}) > 1]
    for key, candidates in by_task.items():
        label = ", ".join(f"{names[i]} {key[i]}" for i in varying)
        yield Work(stage.table.name, label or None, tuple(candidates))


def doubt(best: Candidate, among: Sequence[Candidate], column: str | None = None) -> str:
    """Why ``best`` may be no better than others ``among`` which it is; empty where it is.

    Judged by the intervals of the medians in ``column``; None: of what its speed is judged by.
    """
    odd = "its speedup is super-linear, see the audit" if best.superlinear else ""
    return "; ".join(filter(None, [odd, _rivalled(best, among, column)]))


def _rivalled(best: Candidate, among: Sequence[Candidate], column: str | None) -> str:
    if len(among) == 1:
        return ""
    found = _samples(best, column)
    low, high = median_interval(found)
    if low is None or high is None:
        return f"with {counted(len(found), 'run')} of it, how sure that is cannot be told"
    rivals = [
        other.label
        for other in among
        if other is not best and _overlap((low, high), median_interval(_samples(other, column)))
    ]
    return f"not told apart from {_listed(rivals)}" if rivals else ""


def _samples(candidate: Candidate, column: str | None) -> list[float]:
    return candidate.group.values(column) if column else candidate.group.speeds


def _overlap(one: tuple[float, float], other: Interval) -> bool:
    low, high = other
    return low is not None and high is not None and low <= one[1] and high >= one[0]


def _listed(names: Sequence[str]) -> str:
    """``a | b and 3 more``: labels hold commas."""
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return " | ".join(names[:MOST_NAMED]) + more


def figure(value: float) -> str:
    """``value`` with three significant digits, without an exponent where it can be avoided."""
    return f"{value:,.0f}" if 1000 <= abs(value) < 1e9 else f"{value:.3g}"


ACCURACY_TOLERANCE = 0.02
"""A test accuracy that is lower by more than this (two points of a hundred) is a loss."""


NORMAL_95 = 1.96
"""Standard deviations that hold 95 % of a normal distribution around its mean."""


Line = dict[str, Any]
"""``question``, ``reason`` and, where there is an answer, its figures and ``doubt``."""


def choices(
    work: Work, deadline_s: float | None, budget_node_hours: float | None
) -> Iterator[Line]:
    """Every question on ``work`` with its answer, or the reason why there is none."""
    yield fastest(work)
    yield from same_accuracy(work)
    yield cheapest(work)
    if deadline_s is not None:
        yield under_deadline(work, deadline_s)
    if budget_node_hours is not None:
        yield under_budget(work, budget_node_hours)


def fastest(work: Work) -> Line:
    """The least time; weak scaling: the most images per second."""
    best = _fastest(work.candidates)
    return {
        "question": "fastest",
        **best.figures,
        "reason": f"of {counted(len(work.candidates), 'configuration')}",
        "doubt": doubt(best, work.candidates),
    }


def same_accuracy(work: Work) -> Iterator[Line]:
    """The fastest that loses no accuracy, where accuracies differ."""
    known = [c for c in work.candidates if c.accuracy is not None]
    top = max(known, key=lambda c: c.accuracy or 0.0, default=None)
    if top is None or top.accuracy is None:
        return
    limit = top.accuracy - ACCURACY_TOLERANCE
    good = [c for c in known if c.accuracy is not None and c.accuracy >= limit]
    if len(good) == len(known):
        return
    best = _fastest(good)
    reason = (
        f"{len(good)} of {len(known)} configurations are within {ACCURACY_TOLERANCE:g} of the best "
        f"test accuracy, {top.accuracy:.3f} with {top.label}"
    )
    yield {
        "question": "fastest_without_loss",
        **best.figures,
        "reason": reason,
        "doubt": _joined(doubt(best, good), _same_by_chance(top, best, _fastest(known))),
    }


def _same_by_chance(top: Candidate, best: Candidate, other: Candidate) -> str:
    """Whether so few test images can tell the accuracy of ``top`` from that of ``other``.

    ``other`` is the fastest of all, ``best`` the fastest without a loss: where they are the same
    nothing is lost. By the normal approximation.
    """
    images = top.group.median("test_images")
    if best is other or not images or top.accuracy is None or other.accuracy is None:
        return ""
    variance = sum(a * (1 - a) for a in (top.accuracy, other.accuracy)) / images
    if top.accuracy - other.accuracy > NORMAL_95 * math.sqrt(variance):
        return ""
    return (
        f"{images:.0f} test images do not tell {top.accuracy:.3f} from the {other.accuracy:.3f} of "
        f"the fastest, {other.label}"
    )


def cheapest(work: Work) -> Line:
    """The least node-hours."""
    line = {"question": "cheapest"}
    priced = _priced(work)
    if work.weak:
        return line | {"reason": _no_same_work("the cheapest")}
    if not priced:
        return line | {"reason": "no run tells how long its job took"}
    best = min(priced, key=_cost)
    return line | {
        **best.figures,
        "reason": f"of {counted(len(priced), 'configuration')} whose node-hours are known",
        "doubt": doubt(best, priced, "node_hours"),
    }


def under_deadline(work: Work, deadline_s: float) -> Line:
    """The cheapest whose median time is within the deadline."""
    line = {"question": f"deadline of {figure(deadline_s)} s"}
    if work.weak:
        return line | {"reason": _no_same_work("a deadline")}
    quick = _fastest(work.candidates)
    meeting = [c for c in work.candidates if c.time_s is not None and c.time_s <= deadline_s]
    if not meeting:
        return line | {
            "reason": f"none of {counted(len(work.candidates), 'configuration')} is so fast: the "
            f"fastest, {quick.label}, takes {figure(quick.slowness)} s"
        }
    priced = [c for c in meeting if c.node_hours is not None]
    reason = f"the cheapest of {len(priced)} that meet it"
    if not priced:
        return line | {
            "reason": f"{len(meeting)} configurations meet it, the fastest with {quick.label}, but "
            "no run tells how long its job took, so the cheapest is not known"
        }
    best = min(priced, key=_cost)
    _, high = median_interval(best.group.values("time_s"))
    late = high is not None and high > deadline_s
    past = f"its interval ends past the deadline, at {figure(high)} s" if late and high else ""
    return line | {
        **best.figures,
        "reason": reason,
        "doubt": _joined(doubt(best, priced, "node_hours"), past),
    }


def under_budget(work: Work, node_hours: float) -> Line:
    """The fastest whose median cost is within the budget."""
    line = {"question": f"budget of {figure(node_hours)} node-hours"}
    priced = _priced(work)
    if work.weak:
        return line | {"reason": _no_same_work("a budget")}
    if not priced:
        return line | {"reason": "no run tells how long its job took"}
    affordable = [c for c in priced if _cost(c) <= node_hours]
    if not affordable:
        least = min(priced, key=_cost)
        return line | {
            "reason": f"none of {counted(len(priced), 'configuration')} is so cheap: the cheapest, "
            f"{least.label}, takes {figure(_cost(least))} node-hours"
        }
    best = _fastest(affordable)
    _, high = median_interval(best.group.values("node_hours"))
    over = high is not None and high > node_hours
    past = f"its interval ends past the budget, at {figure(high)}" if over and high else ""
    reason = f"the fastest of {len(affordable)} that cost no more"
    return line | {
        **best.figures,
        "reason": reason,
        "doubt": _joined(doubt(best, affordable), past),
    }


def _fastest(candidates: Sequence[Candidate]) -> Candidate:
    return min(candidates, key=lambda candidate: candidate.slowness)


def _priced(work: Work) -> list[Candidate]:
    return [c for c in work.candidates if c.node_hours is not None]


def _cost(candidate: Candidate) -> float:
    return float("inf") if candidate.node_hours is None else candidate.node_hours


def _no_same_work(what: str) -> str:
    return f"weak scaling: each size does another amount of work, so {what} cannot be chosen"


def _joined(*parts: str) -> str:
    return "; ".join(filter(None, parts))
