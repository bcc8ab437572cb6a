"""End to end: the best mix of preprocessing and training for one allocation.

Training starts when preprocessing has ended, so each stage has the whole allocation to itself: the
best mix is the fastest preprocessing that fits and the fastest training that fits without a loss of
accuracy, and their times add up.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from weather_hpc.analysis.allocation import Allocation
from weather_hpc.analysis.baselines import task
from weather_hpc.analysis.candidates import Candidate, Work, joined, listed
from weather_hpc.analysis.choices import Answer, WithoutLoss, no_same_work
from weather_hpc.analysis.statistics import (
    FEWEST_REPEATS,
    NO_INTERVAL,
    Interval,
    median,
    overlap,
    sum_interval,
)
from weather_hpc.study.settings import SETTINGS
from weather_hpc.study.spec import Stage
from weather_hpc.study.stages import MEASURED
from weather_hpc.text import brief, counted

QUESTION, STAGE = "end_to_end", "both"

MOST_TESTED = 50
"""So many of the configurations that may be as good are resampled, the fastest first."""

AND = "; "
"""Between the allocation and the training task, in what an answer is about."""


def end_to_end(works: Sequence[Work], asked: Allocation | None = None) -> list[Answer]:
    """The best mix for each training task of ``works``, or why there is none.

    In the allocation ``asked`` for; None: in the smallest that holds everything that was measured,
    and in those with fewer nodes, CPUs or GPUs where another mix is the best.
    """
    packing = [work for work in works if work.stage == MEASURED[Stage.PREPROCESS].table]
    training = [work for work in works if work.stage == MEASURED[Stage.TRAIN].table]
    answers = []
    for work in training:
        if not any(_same_images(before, work) for before in packing):
            reason = "no preprocessing of the same images was measured"
            answers.append(_refusal(reason, work, asked))
    for before in packing:
        same = [work for work in training if _same_images(before, work)]
        if not same:
            reason = "no training on the same images was measured"
            answers.append(_refusal(reason, before, asked))
        parts = _parts(before) if same else []
        for work in same:
            answers += _answers(parts, work, asked)
    return list(dict.fromkeys(answers))


def _same_images(before: Work, work: Work) -> bool:
    """Whether training reads what preprocessing writes: the same study, folder, size and images.

    The store that a study trains on is packed with the defaults of what only packing has.
    """
    packed, trained = (task(of.candidates[0].group.settings) for of in (before, work))
    return all(
        value == trained[name] if name in trained else value in (None, SETTINGS[name].default)
        for name, value in packed.items()
    )


def _refusal(reason: str, work: Work, asked: Allocation | None) -> Answer:
    about = None if asked is None else _about(asked, work)
    return Answer(question=QUESTION, stage=STAGE, work=about, reason=reason)


def _about(allocation: Allocation, work: Work) -> str:
    return AND.join(filter(None, [str(allocation), work.label]))


@dataclass(frozen=True, eq=False)
class _Part:
    """A configuration of one stage, and what it needs."""

    candidate: Candidate
    needs: Allocation

    @cached_property
    def times(self) -> list[float]:
        return self.candidate.group.values("time_s")

    @cached_property
    def time_s(self) -> float:
        return median(self.times) or 0.0

    @cached_property
    def startup_s(self) -> float | None:
        return self.candidate.group.median("startup_s")


def _answers(packing: Sequence[_Part], work: Work, asked: Allocation | None) -> Iterator[Answer]:
    if work.weak:
        yield _refusal(no_same_work("a mix"), work, asked)
        return
    training = _parts(work)
    for parts, name in ((packing, "preprocessing"), (training, "training")):
        if not parts:
            reason = f"for no {name} run is it known which CPUs and GPUs it asked for"
            yield _refusal(reason, work, asked)
            return
    if asked is not None:
        mix = _Mix.best(asked, packing, training)
        if mix is None:
            yield _refusal(_what_is_missing(asked, packing, training), work, asked)
        else:
            yield mix.answer(work)
        return
    seen: list[tuple[_Part, _Part]] = []
    for allocation in _allocations([part.needs for part in (*packing, *training)]):
        mix = _Mix.best(allocation, packing, training)
        if mix is not None and (mix.packing, mix.training) not in seen:
            seen.append((mix.packing, mix.training))
            yield mix.answer(work)


def _parts(work: Work) -> list[_Part]:
    found = ((c, Allocation.needed(c.group)) for c in work.candidates if c.group.speeds)
    return [_Part(candidate, needs) for candidate, needs in found if needs is not None]


def _what_is_missing(asked: Allocation, packing: Sequence[_Part], training: Sequence[_Part]) -> str:
    reasons = []
    for parts, name in ((packing, "preprocessing"), (training, "training")):
        if not any(asked.holds(part.needs) for part in parts):
            least = min(part.needs for part in parts)
            reasons.append(f"no {name} that was measured fits; the smallest asked for {least}")
    return joined(*reasons)


def _allocations(needs: Sequence[Allocation]) -> Iterator[Allocation]:
    """The smallest that holds all ``needs``, then those with less of one thing, largest first."""
    largest = Allocation.joined(needs)
    yield largest
    for name in ("nodes", "gpus", "cpus"):
        sizes = {getattr(need, name) for need in needs} - {getattr(largest, name)}
        for size in sorted(sizes, reverse=True):
            yield replace(largest, **{name: size})


@dataclass(frozen=True)
class _Mix:
    """The best mix in an allocation, and what it was chosen among: all that fit in it."""

    allocation: Allocation
    packing: _Part
    training: _Part
    packings: Sequence[_Part]
    trainings: Sequence[_Part]
    """Without those that lose accuracy."""
    fitting: int
    """The number of training configurations that fit."""
    accuracy: WithoutLoss | None
    """None where no test accuracy is known."""

    @classmethod
    def best(
        cls, allocation: Allocation, packing: Sequence[_Part], training: Sequence[_Part]
    ) -> "_Mix | None":
        """None where nothing fits."""
        packings, fitting = (
            [part for part in parts if allocation.holds(part.needs)]
            for parts in (packing, training)
        )
        if not packings or not fitting:
            return None
        accuracy = WithoutLoss.among([part.candidate for part in fitting])
        good = {id(c) for c in accuracy.good} if accuracy else None
        trainings = [p for p in fitting if good is None or id(p.candidate) in good]
        return cls(
            allocation, _fastest(packings), _fastest(trainings), packings, trainings,
            len(fitting), accuracy,
        )  # fmt: skip

    @property
    def time_s(self) -> float:
        """Measured seconds of both."""
        return self.packing.time_s + self.training.time_s

    @cached_property
    def interval(self) -> Interval:
        """The interval of :attr:`time_s`."""
        return sum_interval(self.packing.times, self.training.times)

    def answer(self, work: Work) -> Answer:
        """As a row of the advice on ``work``."""
        low, high = self.interval
        return Answer(
            question=QUESTION, stage=STAGE, work=_about(self.allocation, work),
            answer=f"{self.packing.candidate.label}, then {self.training.candidate.label}",
            reason=joined(*self._reasons()), doubt=joined(*self._doubts()),
            time_s=self.time_s, time_s_low=low, time_s_high=high,
            node_hours=_sum(*(part.candidate.node_hours for part in self._both)),
            test_accuracy=self.training.candidate.accuracy,
        )  # fmt: skip

    @property
    def _both(self) -> tuple[_Part, _Part]:
        return self.packing, self.training

    def _reasons(self) -> Iterator[str]:
        packing_s, training_s = self.packing.time_s, self.training.time_s
        share = f" ({100 * packing_s / self.time_s:.0f} %)" if self.time_s else ""
        yield f"{brief(packing_s)} s of preprocessing{share} + {brief(training_s)} s of training"
        startups = [part.startup_s for part in self._both]
        total = _sum(self.time_s, *startups)
        if total is None:
            yield "start-ups are not known"
        else:
            first, second = (brief(startup or 0.0) for startup in startups)
            yield f"{brief(total)} s with start-ups of {first} s and {second} s"
        epochs = self.training.candidate.group.settings.epochs
        if epochs and training_s:
            longer = math.floor(packing_s * epochs / training_s) + 1
            size = counted(longer, "epoch")
            yield f"training takes the larger part from {size} on ({epochs} measured)"
        needs = Allocation.joined(part.needs for part in self._both)
        if needs != self.allocation:
            yield f"it needs only {needs}"
        yield from self._held()
        if self.accuracy is not None and self.accuracy.left_out:
            yield f"in training {self.accuracy.reason}"
        yield f"of {len(self.packings)} x {self.fitting} combinations that fit"

    def _held(self) -> Iterator[str]:
        """What the allocation costs if it is kept for both, where a stage has fewer nodes."""
        nodes, parts = self.allocation.nodes, self._both
        hours = [part.candidate.node_hours for part in parts]
        each = [h / p.needs.nodes for h, p in zip(hours, parts, strict=True) if h is not None]
        if len(each) == len(parts) and any(part.needs.nodes != nodes for part in parts):
            cost = brief(nodes * sum(each))
            yield f"kept for both stages, the {nodes} nodes cost {cost} node-hours"

    def _doubts(self) -> Iterator[str]:
        if any(part.candidate.superlinear for part in self._both):
            yield "a speedup in it is super-linear, see the audit"
        for part in self._both:
            cpus = part.candidate.group.settings.cpu_count
            if cpus is not None and cpus < part.needs.cpus:
                yield f"{part.candidate.label} asked for {part.needs.cpus} CPUs of {cpus}"
        if len(self.packings) * len(self.trainings) > 1:
            yield from self._rivals()
        if self.accuracy is not None and self.accuracy.left_out:
            yield self.accuracy.doubt(self.training.candidate)
        yield from self._faster_with_startups()

    def _rivals(self) -> Iterator[str]:
        """Other configurations of one stage whose sum is statistically indistinguishable."""
        if self.interval == NO_INTERVAL:
            yield f"no interval (fewer than {FEWEST_REPEATS} repeats)"
            return
        for own, parts, other in (
            (self.packing, self.packings, self.training),
            (self.training, self.trainings, self.packing),
        ):
            others = [part for part in parts if part is not own and self._may_overlap(part, other)]
            alike = [
                part.candidate.label
                for part in sorted(others, key=lambda part: part.time_s)[:MOST_TESTED]
                if overlap(self.interval, sum_interval(part.times, other.times))
            ]
            if alike:
                yield f"statistically indistinguishable with {listed(alike)} in its place"

    def _may_overlap(self, part: _Part, other: _Part) -> bool:
        """Whether the fastest runs of both are within the interval; the rest need no resampling."""
        high = self.interval[1]
        return high is not None and min(part.times) + min(other.times) <= high

    def _faster_with_startups(self) -> Iterator[str]:
        """Which configurations of a stage would be faster if its start-up counted."""
        for own, parts in ((self.packing, self.packings), (self.training, self.trainings)):
            totals = [(_sum(part.time_s, part.startup_s), part) for part in parts]
            known = [(total, part) for total, part in totals if total is not None]
            mine = _sum(own.time_s, own.startup_s)
            if mine is None or not known:
                continue
            total, least = min(known, key=lambda pair: pair[0])
            if total < mine:
                yield (
                    f"with start-ups {least.candidate.label} takes less: {brief(total)} s, not "
                    f"{brief(mine)} s"
                )


def _fastest(parts: Sequence[_Part]) -> _Part:
    return min(parts, key=lambda part: part.time_s)


def _sum(*values: float | None) -> float | None:
    """None where one is not known."""
    known = [value for value in values if value is not None]
    return math.fsum(known) if len(known) == len(values) else None
