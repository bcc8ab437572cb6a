"""Choosing one configuration among those that do the same work."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from weather_hpc.analysis.accuracy import shown_higher
from weather_hpc.analysis.candidates import Candidate, Work, doubt, fastest_of, joined
from weather_hpc.analysis.statistics import median_interval
from weather_hpc.text import brief, counted

NO_NODE_HOURS = "no run reports how long its job took"

ACCURACY_TOLERANCE = 0.02
"""A test accuracy that is lower by more than this (two points of a hundred) is a loss."""


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
    best = fastest_of(work.candidates)
    reason = f"of {counted(len(work.candidates), 'configuration')}"
    doubts = joined(doubt(best, work.candidates), _alone(work.candidates))
    return Answer.choose(best, question="fastest", reason=reason, doubt=doubts)


def _alone(among: Sequence[Candidate]) -> str:
    """Whether there is nothing to compare with."""
    return "nothing to compare it with" if len(among) == 1 else ""


def same_accuracy(work: Work) -> Iterator[Answer]:
    """The fastest without a loss of accuracy, where accuracies differ."""
    found = WithoutLoss.among(work.candidates)
    if found is None or not found.left_out:
        return
    best = fastest_of(found.good)
    doubts = joined(doubt(best, found.good), found.doubt(best))
    yield Answer.choose(best, question="fastest_without_loss", reason=found.reason, doubt=doubts)


@dataclass(frozen=True)
class WithoutLoss:
    """Those of some configurations whose test accuracy is known and no loss."""

    known: tuple[Candidate, ...]
    top: Candidate
    """The one with the best accuracy."""
    good: tuple[Candidate, ...]

    @classmethod
    def among(cls, candidates: Sequence[Candidate]) -> "WithoutLoss | None":
        """None where no accuracy is known."""
        known = tuple(c for c in candidates if c.accuracy is not None)
        top = max(known, key=lambda c: c.accuracy or 0.0, default=None)
        if top is None:
            return None
        limit = (top.accuracy or 0.0) - ACCURACY_TOLERANCE
        return cls(known, top, tuple(c for c in known if (c.accuracy or 0.0) >= limit))

    @property
    def left_out(self) -> bool:
        """Whether any loses accuracy."""
        return len(self.good) < len(self.known)

    @property
    def reason(self) -> str:
        """How many there are to choose from, and why."""
        return (
            f"{len(self.good)} of {len(self.known)} configurations are within "
            f"{ACCURACY_TOLERANCE:g} of the best test accuracy, {self.top.accuracy or 0.0:.3f} "
            f"with {self.top.label}"
        )

    def doubt(self, best: Candidate) -> str:
        """Whether a faster one than ``best``, the fastest without a loss, loses it by chance."""
        return _same_by_chance(self.top, best, fastest_of(self.known))


def _same_by_chance(top: Candidate, best: Candidate, other: Candidate) -> str:
    """Whether the accuracies of ``top`` and ``other`` may differ by chance, on so few test images.

    ``other`` is the fastest of all, ``best`` the fastest without a loss: where they are the same
    nothing is lost.
    """
    if best is other or shown_higher(top, other) is not False:
        return ""
    images = top.group.median("test_images") or 0.0
    return (
        f"on {images:.0f} test images {top.accuracy or 0.0:.3f} is statistically "
        f"indistinguishable from the {other.accuracy or 0.0:.3f} of the fastest, {other.label}"
    )


def cheapest(work: Work) -> Answer:
    """The least node-hours."""
    question, priced = "cheapest", _priced(work)
    if work.weak:
        return Answer(question=question, reason=no_same_work("the cheapest"))
    if not priced:
        return Answer(question=question, reason=NO_NODE_HOURS)
    best = min(priced, key=_cost)
    reason = f"of {counted(len(priced), 'configuration')} whose node-hours are known"
    doubts = joined(doubt(best, priced, "node_hours"), _alone(priced))
    return Answer.choose(best, question=question, reason=reason, doubt=doubts)


def under_deadline(work: Work, deadline_s: float) -> Answer:
    """The cheapest whose median time is within the deadline."""
    question = f"deadline of {brief(deadline_s)} s"
    if work.weak:
        return Answer(question=question, reason=no_same_work("a deadline"))
    quick = fastest_of(work.candidates)
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
    doubts = joined(doubt(best, priced, "node_hours"), past)
    return Answer.choose(best, question=question, reason=reason, doubt=doubts)


def under_budget(work: Work, node_hours: float) -> Answer:
    """The fastest whose median cost is within the budget."""
    question, priced = f"budget of {brief(node_hours)} node-hours", _priced(work)
    if work.weak:
        return Answer(question=question, reason=no_same_work("a budget"))
    if not priced:
        return Answer(question=question, reason=NO_NODE_HOURS)
    affordable = [c for c in priced if _cost(c) <= node_hours]
    if not affordable:
        least = min(priced, key=_cost)
        count, cost = counted(len(priced), "configuration"), brief(_cost(least))
        reason = f"none of {count} is so cheap: {least.label} takes {cost} node-hours"
        return Answer(question=question, reason=reason)
    best = fastest_of(affordable)
    _, high = median_interval(best.group.values("node_hours"))
    over = high is not None and high > node_hours
    past = f"its interval ends past the budget, at {brief(high)}" if over and high else ""
    reason = f"the fastest of {len(affordable)} within it"
    doubts = joined(doubt(best, affordable), past)
    return Answer.choose(best, question=question, reason=reason, doubt=doubts)


def _priced(work: Work) -> list[Candidate]:
    return [c for c in work.candidates if c.node_hours is not None]


def _cost(candidate: Candidate) -> float:
    return float("inf") if candidate.node_hours is None else candidate.node_hours


def no_same_work(what: str) -> str:
    """Why there is no answer in weak scaling to the question for ``what``."""
    return f"weak scaling: each size does a different amount of work, so {what} cannot be chosen"
