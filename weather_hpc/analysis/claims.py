"""Claims tested: what a study's own numbers and the runs here say of each of its conclusions.

A claim holds where everything that its rules say of measured configurations holds. An order of two
times is decided by the exact two-sided Mann-Whitney test: a claim of several orders holds where
each has p <= 0.05 (they must all be true, so no correction is needed), and does not hold where one
has the reverse order with p <= 0.05 after Holm's correction for all orders of the claim. A number
in bounds is decided by its bootstrap interval, which must be inside or outside altogether. Printed
numbers, of which there is one for each configuration, are compared as they are.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from weather_hpc.analysis.claim_cases import Case, Pair, Quantity, rule_cases
from weather_hpc.analysis.claim_rules import Bounds, Claim, ClaimsFile
from weather_hpc.analysis.claim_words import listed, settings_words
from weather_hpc.analysis.comparison import Comparison
from weather_hpc.analysis.published import published_comparison
from weather_hpc.analysis.statistics import (
    FEWEST_REPEATS,
    NO_INTERVAL,
    Interval,
    holm,
    mann_whitney,
    smallest_p,
)
from weather_hpc.analysis.steps import LEVEL, repeats_needed
from weather_hpc.analysis.table import Table


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
    figures: str = ""
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


@dataclass(frozen=True)
class JudgedClaim:
    """A claim, tested on the study's own numbers and on the runs here."""

    claim: Claim
    published: Outcome
    here: Outcome


CLAIM_COLUMNS = [
    "claim", "sentence", "about", "published", "published_figures", "here", "here_figures",
    "ratio", "ratio_low", "ratio_high", "needed",
]  # fmt: skip

_CAPTION = (
    "published: what the study's own tables say of the sentence; they have one time for each "
    "configuration, compared as printed. here: what the runs of this collection say. ratio: how "
    "many times as fast the configuration is that the sentence says is faster, where the sentence "
    "is about two. In brackets: bootstrap intervals, from three runs on. not shown: the repeats "
    "leave it open; needed says what would decide. Runs with audit errors and weak scaling take no "
    "part. docs/how-to/claims.md has the rules."
)


@dataclass(frozen=True)
class ClaimsTable(Table):
    """The claims as a table, with what is to be said of them."""

    source: str
    """Who claims them."""
    contradictions: tuple[str, ...]
    """A sentence for each conclusion that the study's own tables contradict, with the numbers."""
    findings: tuple[str, ...]
    """Key findings: how many claims hold here, and which ones the study itself contradicts."""


def claims_table(claims: ClaimsFile, comparison: Comparison) -> ClaimsTable:
    """Each claim, tested by the reproduced study's numbers and by the runs of ``comparison``.

    Without rows where ``comparison`` has nothing that any of the claims compares.
    """
    published = published_comparison()
    judged = [
        JudgedClaim(claim, judge(claim, published, printed=True), judge(claim, comparison))
        for claim in claims.claims
    ]
    if not any(one.here.has_cases for one in judged):
        judged = []
    contradicted = [
        one for one in judged if claims.published and one.published.answer is Answer.FAILS
    ]
    return ClaimsTable(
        name="claims",
        title="The study's conclusions" if claims.published else "Claims",
        caption=_CAPTION,
        columns=CLAIM_COLUMNS,
        rows=[_row(one) for one in judged],
        source=claims.source,
        contradictions=tuple(map(_contradiction, contradicted)),
        findings=tuple(_findings(judged, contradicted, published=claims.published)),
    )


def _row(one: JudgedClaim) -> dict[str, Any]:
    low, high = one.here.interval
    return {
        "claim": one.claim.id,
        "sentence": one.claim.sentence,
        "about": one.claim.about,
        "published": str(one.published.answer),
        "published_figures": one.published.figures or None,
        "here": str(one.here.answer),
        "here_figures": one.here.figures or None,
        "ratio": one.here.ratio,
        "ratio_low": low,
        "ratio_high": high,
        "needed": one.here.needed or None,
    }


_COUNTED = {
    Answer.HOLDS: ("holds", "hold"), Answer.FAILS: ("does not hold", "do not hold"),
    Answer.OPEN: ("is not shown", "are not shown"),
    Answer.MISSING: ("was not measured", "were not measured"),
}  # fmt: skip


def _findings(
    judged: Sequence[JudgedClaim], contradicted: Sequence[JudgedClaim], *, published: bool
) -> Iterator[str]:
    if not judged:
        return
    counts = Counter(one.here.answer for one in judged)
    words = [f"{n} {_COUNTED[a][n > 1]}" for a in Answer if (n := counts[a])]
    whose = "the study's" if published else "the"
    noun = "conclusions" if published else "claims"
    yield f"Of {whose} {len(judged)} {noun}, on these runs: {', '.join(words)}."
    failing = [_quoted(one) for one in judged if one.here.answer is Answer.FAILS]
    if failing:
        yield f"Does not hold here: {listed(failing)}."
    if contradicted:
        names = ", ".join(one.claim.id for one in contradicted)
        yield (
            f"The study's own tables contradict {len(contradicted)} of its {len(judged)} "
            f"{noun}: {names}."
        )


def _contradiction(one: JudgedClaim) -> str:
    return f"The study's own tables contradict {_quoted(one)}: {one.published.contradicting}."


def _quoted(one: JudgedClaim) -> str:
    return f"“{one.claim.sentence.removesuffix('.')}”"


def judge(claim: Claim, comparison: Comparison, *, printed: bool = False) -> Outcome:
    """What ``comparison`` says of ``claim``; ``printed``: its numbers are compared as they are."""
    found = [rule_cases(rule, comparison) for rule in claim.rules]
    cases = [case for one in found for case in one.cases]
    needed = list(dict.fromkeys(text for one in found for text in one.needed))
    judged = list(zip(cases, _judged(cases, printed=printed), strict=True))
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
        figures=_figures(texts),
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


def _figures(texts: Mapping[str, Sequence[str]]) -> str:
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
