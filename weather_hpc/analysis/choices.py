"""Choosing one configuration among those that do the same work."""

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from weather_hpc.analysis.baselines import task
from weather_hpc.analysis.comparison import Comparison, StageComparison
from weather_hpc.analysis.groups import Group
from weather_hpc.analysis.statistics import (
    FEWEST_REPEATS,
    NO_INTERVAL,
    median,
    median_interval,
    overlap,
)
from weather_hpc.text import brief, counted

NO_NODE_HOURS = "no run reports how long its job took"

MOST_NAMED = 2
"""Up to so many rivals are named, the rest are counted."""


@dataclass(frozen=True)
class Candidate:
    """One measured configuration."""

    label: str
    """As its table names it."""
    group: Group
    efficiency: float | None
    superlinear: bool = False
    """Whether its speedup exceeds its workers."""

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
        """Median node-hours of a run, start-up included; None where unknown."""
        return self.group.median("node_hours")

    @property
    def accuracy(self) -> float | None:
        """Median test accuracy, 0..1."""
        return self.group.median("test_accuracy")

    @property
    def slowness(self) -> float:
        """What the fastest has least of: seconds; in weak scaling seconds per image."""
        middle = median(self.group.speeds)
        if not middle:
            return float("inf")
        return 1 / middle if self.group.is_weak else middle


@dataclass(frozen=True)
class Work:
    """Configurations of one stage that do the same work, so that one of them may be chosen."""

    stage: str
    """The table's name."""
    label: str | None
    """The settings that tell it from other work in the table; None where there is no other."""
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
    """Why ``best`` may be no better than others ``among`` which it is; empty where it clearly is.

    Judged by the intervals of the medians in ``column``; None: of what its speed is judged by.
    """
    superlinear = "its speedup is super-linear, see the audit" if best.superlinear else ""
    return _joined(superlinear, _rivals(best, among, column))


def _rivals(best: Candidate, among: Sequence[Candidate], column: str | None) -> str:
    if len(among) == 1:
        return ""
    interval = median_interval(_samples(best, column))
    if interval == NO_INTERVAL:
        return f"no interval (fewer than {FEWEST_REPEATS} repeats)"
    rivals = [
        other.label
        for other in among
        if other is not best and overlap(interval, median_interval(_samples(other, column)))
    ]
    return f"statistically indistinguishable from {_listed(rivals)}" if rivals else ""


def _samples(candidate: Candidate, column: str | None) -> list[float]:
    return candidate.group.values(column) if column else candidate.group.speeds


def _listed(names: Sequence[str]) -> str:
    """``a | b and 3 more``: labels hold commas."""
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return " | ".join(names[:MOST_NAMED]) + more


ACCURACY_TOLERANCE = 0.02
"""A test accuracy that is lower by more than this (two points of a hundred) is a loss."""


NORMAL_95 = 1.96
"""Standard deviations that hold 95 % of a normal distribution around its mean."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """One row of the advice; the fields are its columns. ``reason`` says why there is no answer."""

    question: str
    stage: str | None = None
    work: str | None = None
    answer: str | None = None
    reason: str | None = None
    doubt: str | None = None
    """Why the answer may be no better than others."""
    workers: int | None = None
    time_s: float | None = None
    time_s_low: float | None = None
    time_s_high: float | None = None
    images_per_s: float | None = None
    node_hours: float | None = None
    efficiency: float | None = None
    test_accuracy: float | None = None

    @classmethod
    def choose(cls, best: Candidate, **fields: str | None) -> "Answer":
        """``best`` is the answer."""
        low, high = median_interval(best.group.values("time_s"))
        return cls(
            answer=best.label, workers=best.workers,
            time_s=best.time_s, time_s_low=low, time_s_high=high,
            images_per_s=best.images_per_s, node_hours=best.node_hours,
            efficiency=best.efficiency, test_accuracy=best.accuracy,
            **fields,  # type: ignore[arg-type]
        )  # fmt: skip


def choices(
    work: Work, deadline_s: float | None, budget_node_hours: float | None
) -> Iterator[Answer]:
    """Every question on ``work`` with its answer, or the reason why there is none."""
    yield fastest(work)
    yield from same_accuracy(work)
    yield cheapest(work)
    if deadline_s is not None:
        yield under_deadline(work, deadline_s)
    if budget_node_hours is not None:
        yield under_budget(work, budget_node_hours)


def fastest(work: Work) -> Answer:
    """The least time; weak scaling: the most images per second."""
    best = _fastest(work.candidates)
    reason = f"of {counted(len(work.candidates), 'configuration')}"
    return Answer.choose(
        best, question="fastest", reason=reason, doubt=doubt(best, work.candidates)
    )


def same_accuracy(work: Work) -> Iterator[Answer]:
    """The fastest without a loss of accuracy, where accuracies differ."""
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
    doubts = _joined(doubt(best, good), _same_by_chance(top, best, _fastest(known)))
    yield Answer.choose(best, question="fastest_without_loss", reason=reason, doubt=doubts)


def _same_by_chance(top: Candidate, best: Candidate, other: Candidate) -> str:
    """Whether the accuracies of ``top`` and ``other`` may differ by chance, on so few test images.

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
        f"on {images:.0f} test images {top.accuracy:.3f} is statistically indistinguishable from "
        f"the {other.accuracy:.3f} of the fastest, {other.label}"
    )


def cheapest(work: Work) -> Answer:
    """The least node-hours."""
    question, priced = "cheapest", _priced(work)
    if work.weak:
        return Answer(question=question, reason=_no_same_work("the cheapest"))
    if not priced:
        return Answer(question=question, reason=NO_NODE_HOURS)
    best = min(priced, key=_cost)
    reason = f"of {counted(len(priced), 'configuration')} whose node-hours are known"
    doubts = doubt(best, priced, "node_hours")
    return Answer.choose(best, question=question, reason=reason, doubt=doubts)


def under_deadline(work: Work, deadline_s: float) -> Answer:
    """The cheapest whose median time is within the deadline."""
    question = f"deadline of {brief(deadline_s)} s"
    if work.weak:
        return Answer(question=question, reason=_no_same_work("a deadline"))
    quick = _fastest(work.candidates)
    meeting = [c for c in work.candidates if c.time_s is not None and c.time_s <= deadline_s]
    if not meeting:
        count = counted(len(work.candidates), "configuration")
        reason = f"none of {count} is so fast: {quick.label} takes {brief(quick.slowness)} s"
        return Answer(question=question, reason=reason)
    priced = [c for c in meeting if c.node_hours is not None]
    if not priced:
        reason = (
            f"{len(meeting)} configurations meet it, the fastest is {quick.label}; which is the "
            f"cheapest is not known: {NO_NODE_HOURS}"
        )
        return Answer(question=question, reason=reason)
    best = min(priced, key=_cost)
    _, high = median_interval(best.group.values("time_s"))
    late = high is not None and high > deadline_s
    past = f"its interval ends past the deadline, at {brief(high)} s" if late and high else ""
    reason = f"the cheapest of {len(priced)} that meet it"
    doubts = _joined(doubt(best, priced, "node_hours"), past)
    return Answer.choose(best, question=question, reason=reason, doubt=doubts)


def under_budget(work: Work, node_hours: float) -> Answer:
    """The fastest whose median cost is within the budget."""
    question, priced = f"budget of {brief(node_hours)} node-hours", _priced(work)
    if work.weak:
        return Answer(question=question, reason=_no_same_work("a budget"))
    if not priced:
        return Answer(question=question, reason=NO_NODE_HOURS)
    affordable = [c for c in priced if _cost(c) <= node_hours]
    if not affordable:
        least = min(priced, key=_cost)
        count, cost = counted(len(priced), "configuration"), brief(_cost(least))
        reason = f"none of {count} is so cheap: {least.label} takes {cost} node-hours"
        return Answer(question=question, reason=reason)
    best = _fastest(affordable)
    _, high = median_interval(best.group.values("node_hours"))
    over = high is not None and high > node_hours
    past = f"its interval ends past the budget, at {brief(high)}" if over and high else ""
    reason = f"the fastest of {len(affordable)} within it"
    doubts = _joined(doubt(best, affordable), past)
    return Answer.choose(best, question=question, reason=reason, doubt=doubts)


def _fastest(candidates: Sequence[Candidate]) -> Candidate:
    return min(candidates, key=lambda candidate: candidate.slowness)


def _priced(work: Work) -> list[Candidate]:
    return [c for c in work.candidates if c.node_hours is not None]


def _cost(candidate: Candidate) -> float:
    return float("inf") if candidate.node_hours is None else candidate.node_hours


def _no_same_work(what: str) -> str:
    return f"weak scaling: each size does a different amount of work, so {what} cannot be chosen"


def _joined(*parts: str) -> str:
    return "; ".join(filter(None, parts))
