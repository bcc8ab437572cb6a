"""The answer to one claim, and no more than the numbers show.

A claim holds where everything that its rules say of measured configurations holds. An order of two
times is decided by the exact two-sided Mann-Whitney test: a claim of several orders holds where
each has p <= 0.05 (they must all be true, so no correction is needed), and does not hold where one
has the reverse order with p <= 0.05 after Holm's correction for all orders of the claim. A number
in bounds is decided by its bootstrap interval, which must be inside or outside altogether. Printed
numbers, of which there is one for each configuration, are compared as they are.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from weather_hpc.analysis.claims.cases import Case, Pair, Quantity, rule_cases
from weather_hpc.analysis.claims.matching import Evidence
from weather_hpc.analysis.claims.rules import Bounds, Claim
from weather_hpc.analysis.claims.words import listed, settings_words
from weather_hpc.analysis.statistics import (
    FEWEST_REPEATS,
    NO_INTERVAL,
    Interval,
    holm,
    mann_whitney,
    smallest_p,
)
from weather_hpc.analysis.steps import LEVEL, repeats_needed


class Answer(StrEnum):
    """What the numbers say of a claim."""

    HOLDS = "holds"
    FAILS = "does not hold"
    OPEN = "not shown"
    MISSING = "not measured"


@dataclass(frozen=True)
class Outcome:
    """The answer to one claim, and what it comes from."""

    answer: Answer
    values: str = ""
    """The measured values that decide, in words."""
    ratio: float | None = None
    """Where the claim is about two times: how many times as fast the first one is."""
    interval: Interval = NO_INTERVAL
    """Of the ratio."""
    needed: str = ""
    """What is missing for an answer: configurations, or repeats."""
    contradicting: str = ""
    """The values because of which it does not hold."""
    has_cases: bool = False
    """Whether anything that the claim compares was measured."""


def judge(claim: Claim, evidence: Evidence) -> Outcome:
    """What ``evidence`` says of ``claim``."""
    found = [rule_cases(rule, evidence) for rule in claim.rules]
    cases = [case for one in found for case in one.cases]
    needed = list(dict.fromkeys(text for one in found for text in one.needed))
    judged = list(zip(cases, _judged(cases, printed=evidence.printed), strict=True))
    answers = [judgement.answer for _, judgement in judged]
    answer = Answer.HOLDS
    if Answer.FAILS in answers:
        answer = Answer.FAILS
    elif needed or not cases:
        answer = Answer.MISSING
    elif Answer.OPEN in answers:
        answer = Answer.OPEN
    if answer is Answer.OPEN:
        most = max((judgement for _, judgement in judged), key=lambda one: one.needed)
        needed = [f"at least {most.needed} repeats of each configuration, {most.why}"]
    contexts = _contexts(cases)
    texts: dict[str, list[str]] = defaultdict(list)
    for (case, judgement), context in zip(judged, contexts, strict=True):
        texts[judgement.label].append(f"{context}: {case.text}" if context else case.text)
    ratio, interval = (None, NO_INTERVAL) if answer is Answer.MISSING else _single_ratio(cases)
    return Outcome(
        answer,
        values=_values(texts),
        ratio=ratio,
        interval=interval,
        needed=listed(needed) if answer in (Answer.MISSING, Answer.OPEN) else "",
        contradicting=listed(texts[_LABELS[Answer.FAILS, False]]),
        has_cases=bool(cases),
    )


_LABELS = {
    (Answer.HOLDS, True): "Holds",
    (Answer.FAILS, False): "Does not hold",
    (Answer.OPEN, True): "Not shown, medians as claimed",
    (Answer.OPEN, False): "Not shown, medians not as claimed",
}  # fmt: skip
"""By the answer, and whether the medians are as claimed."""


def _values(texts: Mapping[str, Sequence[str]]) -> str:
    """All values, by what they say; without that where everything holds, or nothing does."""
    known = {label: texts[label] for label in _LABELS.values() if texts.get(label)}
    decided = {_LABELS[Answer.HOLDS, True], _LABELS[Answer.FAILS, False]}
    if len(known) == 1 and known.keys() <= decided:
        return listed(next(iter(known.values())))
    return ". ".join(f"{label}: {listed(of_it)}" for label, of_it in known.items())


def _contexts(cases: Sequence[Case]) -> list[str]:
    """For each case the settings, in words, in which it differs from the others."""
    columns = dict.fromkeys(column for case in cases for column in case.settings)
    varying = [
        column
        for column in columns
        if len({str(case.settings[column]) for case in cases if column in case.settings}) > 1
    ]
    return [
        settings_words(case.stage, {c: case.settings[c] for c in varying if c in case.settings})
        if any(case.settings.get(column) is not None for column in varying)
        else ""
        for case in cases
    ]


def _single_ratio(cases: Sequence[Case]) -> tuple[float | None, Interval]:
    """The ratio of a claim about two configurations."""
    if len(cases) != 1:
        return None, NO_INTERVAL
    (case,) = cases
    if case.is_ratio:
        (quantity,) = case.quantities
        return quantity.value, quantity.interval
    if len(case.pairs) != 1:
        return None, NO_INTERVAL
    (pair,) = case.pairs
    return pair.fast.speedup(pair.slow), pair.fast.speedup_interval(pair.slow)


@dataclass(frozen=True)
class _Judgement:
    """Of one case, or of one of its pairs or numbers."""

    answer: Answer
    as_claimed: bool
    """Whether the medians are as claimed."""
    needed: int = 0
    """Repeats of each configuration that could decide, where it is open."""
    why: str = ""
    """How many there are now, and why they do not decide."""

    @property
    def label(self) -> str:
        return _LABELS[self.answer, self.as_claimed]


def _judged(cases: Sequence[Case], *, printed: bool) -> Iterator[_Judgement]:
    pairs = [pair for case in cases for pair in case.pairs]
    p_values = [] if printed else [mann_whitney(p.fast.speeds, p.slow.speeds) for p in pairs]
    tests = iter(zip(p_values, holm(p_values), strict=True))
    for case in cases:
        parts = []
        for pair in case.pairs:
            ratio = pair.fast.speedup(pair.slow) or 0.0
            parts.append(
                _as_printed(ratio > 1) if printed else _order(pair, ratio, *next(tests), len(pairs))
            )
        for quantity in case.quantities:
            inside = _inside(quantity.value, quantity.value, case.bounds)
            parts.append(
                _as_printed(inside) if printed else _in_bounds(quantity, case.bounds, inside)
            )
        yield _all_of(parts)


def _all_of(parts: Sequence[_Judgement]) -> _Judgement:
    as_claimed = all(part.as_claimed for part in parts)
    if any(part.answer is Answer.FAILS for part in parts):
        return _Judgement(Answer.FAILS, False)
    most = max(
        (part for part in parts if part.answer is Answer.OPEN),
        key=lambda part: part.needed,
        default=_Judgement(Answer.HOLDS, True),
    )
    return replace(most, as_claimed=as_claimed)


def _as_printed(as_claimed: bool) -> _Judgement:
    return _Judgement(Answer.HOLDS if as_claimed else Answer.FAILS, as_claimed)


def _order(pair: Pair, ratio: float, p_value: float, adjusted: float, family: int) -> _Judgement:
    if ratio > 1 and p_value <= LEVEL:
        return _Judgement(Answer.HOLDS, True)
    if ratio < 1 and adjusted <= LEVEL:
        return _Judgement(Answer.FAILS, False)
    repeats = len(pair.fast.speeds), len(pair.slow.speeds)
    tests = 1 if ratio > 1 else family
    now = min(repeats)
    if tests * smallest_p(*repeats) > LEVEL:
        return _Judgement(Answer.OPEN, ratio > 1, repeats_needed(tests), f"now {now}")
    return _Judgement(Answer.OPEN, ratio > 1, now + 1, f"with {now} the times overlap")


def _in_bounds(quantity: Quantity, bounds: Bounds, inside: bool) -> _Judgement:
    (lower, upper), (low, high) = bounds, quantity.interval
    if low is None or high is None:
        return _Judgement(Answer.OPEN, inside, FEWEST_REPEATS, f"now {quantity.repeats}")
    if _inside(low, high, bounds):
        return _Judgement(Answer.HOLDS, True)
    if (lower is not None and high < lower) or (upper is not None and low > upper):
        return _Judgement(Answer.FAILS, False)
    now = quantity.repeats
    why = f"with {now} the interval reaches across a bound"
    return _Judgement(Answer.OPEN, inside, now + 1, why)


def _inside(low: float, high: float, bounds: Bounds) -> bool:
    lower, upper = bounds
    return (lower is None or low >= lower) and (upper is None or high <= upper)
