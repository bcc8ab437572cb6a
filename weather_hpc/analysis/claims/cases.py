"""What a rule of a claim says of the configurations measured, case by case, and what it lacks."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise, product
from typing import Any

from weather_hpc.analysis.claims.matching import Candidate, Evidence, Matching, time_of
from weather_hpc.analysis.claims.rules import COMPUTED, Bounds, Choice, Kind, Rule
from weather_hpc.analysis.claims.words import interval, number, seconds, settings_words
from weather_hpc.analysis.groups import Group
from weather_hpc.analysis.statistics import Interval, median_interval
from weather_hpc.study.spec import Stage
from weather_hpc.text import brief, counted


@dataclass(frozen=True)
class Pair:
    """Two configurations, the first of which is claimed to take less time."""

    fast: Group
    slow: Group


@dataclass(frozen=True)
class Quantity:
    """A number that is claimed to be within bounds."""

    value: float
    interval: Interval
    repeats: int
    """The fewest runs of a configuration that it comes from."""


@dataclass(frozen=True)
class Case:
    """One thing that a rule claims of measured configurations: an order, or numbers in bounds."""

    stage: Stage
    settings: Mapping[str, Any]
    """The settings, by column, that its configurations share."""
    text: str
    """The measured values that decide."""
    pairs: tuple[Pair, ...] = ()
    quantities: tuple[Quantity, ...] = ()
    bounds: Bounds = (None, None)
    is_ratio: bool = False
    """Whether the quantity is a ratio of two times."""


@dataclass(frozen=True)
class RuleCases:
    """All that was measured of a rule, and the configurations that were not, in words."""

    cases: list[Case]
    needed: list[str]


def rule_cases(rule: Rule, evidence: Evidence) -> RuleCases:
    """What ``evidence`` has of what ``rule`` compares."""
    matching = Matching(rule, evidence)
    cases = list(_FINDERS[rule.kind](matching))
    needed = list(dict.fromkeys(_needed(matching, evidence, has_cases=bool(cases))))
    return RuleCases(cases, needed)


def _counterparts(matching: Matching) -> Iterator[tuple[Candidate, Candidate]]:
    than = matching.best(matching.selected(matching.rule.than or {}))
    for one, others in matching.matched(matching.best(matching.of), than):
        yield from ((one, other) for other in others)


def _faster(matching: Matching) -> Iterator[Case]:
    for one, other in _counterparts(matching):
        text = _side_by_side(matching.rule, one, other)
        yield _case(matching, one, text, pairs=(Pair(one.group, other.group),))


def _ratio(matching: Matching) -> Iterator[Case]:
    for one, other in _counterparts(matching):
        ratio = _quotient(one.group, other.group)
        text = f"{_side_by_side(matching.rule, one, other)}: {number(ratio.value)} times as fast"
        yield _case(
            matching, one, text + interval(ratio.interval), quantities=(ratio,),
            bounds=matching.rule.between or (None, None), is_ratio=True,
        )  # fmt: skip


def _extreme(matching: Matching) -> Iterator[Case]:
    """``expected`` against all others; the text has the one nearest to changing the answer."""
    rule = matching.rule
    first = matching.selected({**rule.of, **(rule.expected or {})})
    others = [one for one in matching.of if not any(one is expected for expected in first)]
    for one, found in matching.matched(first, others):
        if rule.kind is Kind.FASTEST:
            nearest = min(found, key=time_of)
            pairs = tuple(Pair(one.group, other.group) for other in found)
        else:
            nearest = max(found, key=time_of)
            pairs = tuple(Pair(other.group, one.group) for other in found)
        yield _case(matching, one, _side_by_side(rule, one, nearest), pairs=pairs)


def _steps(matching: Matching) -> Iterator[Case]:
    rule = matching.rule
    for chain, settings in matching.chains():
        pairs = tuple(
            Pair(after.group, before.group)
            if rule.kind is Kind.TIME_FALLS
            else Pair(before.group, after.group)
            for before, after in pairwise(chain)
        )
        yield Case(rule.stage, settings, _in_a_row(rule, chain), pairs=pairs)


def _flat(matching: Matching) -> Iterator[Case]:
    rule = matching.rule
    limit = 1 + (rule.within or 0)
    for chain, settings in matching.chains():
        quantities = tuple(
            _quotient(one.group, other.group) for one, other in combinations(chain, 2)
        )
        times = [time_of(one) for one in chain]
        spread = 100 * (max(times) / min(times) - 1)
        text = f"{_in_a_row(rule, chain)}, at most {brief(spread, 2)} % apart"
        yield Case(rule.stage, settings, text, quantities=quantities, bounds=(1 / limit, limit))


def _value(matching: Matching) -> Iterator[Case]:
    column = matching.rule.column or ""
    for one in matching.of:
        found = _quantity(one, column)
        if found is not None:
            text = f"{column} {number(found.value)}{interval(found.interval)}"
            bounds = matching.rule.between or (None, None)
            yield _case(matching, one, text, quantities=(found,), bounds=bounds)


_FINDERS: dict[Kind, Callable[[Matching], Iterator[Case]]] = {
    Kind.FASTER: _faster, Kind.RATIO: _ratio, Kind.FASTEST: _extreme, Kind.SLOWEST: _extreme,
    Kind.TIME_FALLS: _steps, Kind.TIME_RISES: _steps, Kind.TIME_FLAT: _flat, Kind.VALUE: _value,
}  # fmt: skip


def _quantity(one: Candidate, column: str) -> Quantity | None:
    if column not in COMPUTED:
        values, middle = one.group.values(column), one.group.median(column)
        if middle is None:
            return None
        return Quantity(middle, median_interval(values), len(values))
    baseline, cells = one.configuration.baseline, one.configuration.cells
    groups = [one.configuration.group, *([baseline] if baseline else [])]
    if cells[column] is None or any(group.errors for group in groups):
        return None
    ends = cells[f"{column}_low"], cells[f"{column}_high"]
    return Quantity(cells[column], ends, min(len(group.speeds) for group in groups))


def _quotient(one: Group, other: Group) -> Quantity:
    """How many times as fast ``one`` is."""
    repeats = min(len(one.speeds), len(other.speeds))
    return Quantity(one.speedup(other) or 0.0, one.speedup_interval(other), repeats)


def _case(matching: Matching, one: Candidate, text: str, **values: Any) -> Case:
    return Case(matching.rule.stage, matching.shared(one), text, **values)


def _side_by_side(rule: Rule, first: Candidate, second: Candidate) -> str:
    """Both in words, by what they differ in, with their times."""
    columns = sorted(rule.free)
    if first.group.settings.nodes != second.group.settings.nodes:
        columns.append("nodes")
    texts = []
    for one in (first, second):
        settings = {column: getattr(one.group.settings, column) for column in columns}
        words = settings_words(rule.stage, settings).removeprefix("on ").replace(", ", " ")
        texts.append(f"{words} {seconds(one.group)}")
    return " against ".join(texts)


def _in_a_row(rule: Rule, chain: Sequence[Candidate]) -> str:
    along = rule.along or ""
    values = Choice(tuple(getattr(one.group.settings, along) for one in chain))
    times = ", ".join(seconds(one.group) for one in chain)
    return f"{settings_words(rule.stage, {along: values})}: {times}"


def _needed(matching: Matching, evidence: Evidence, *, has_cases: bool) -> Iterator[str]:
    """What was not measured of all that the rule names, or of what it compares."""
    rule = matching.rule
    absent = list(_absent(matching, rule.of))
    if rule.than is not None:
        absent += _absent(matching, rule.than)
    if rule.expected and matching.of:
        absent += _absent(matching, {**rule.of, **rule.expected})
    if not has_cases and not absent:
        absent.append(_comparable(rule))
    stage = rule.stage
    for words in absent:
        # elsewhere the words say which stage it is
        yield words if stage in (Stage.PREPROCESS, Stage.TRAIN) else f"{stage} with {words}"
    if absent and (unclear := evidence.unclear(stage)):
        of_it = counted(unclear, "configuration")
        yield f"a setting in which {of_it} with equal settings differ"


def _comparable(rule: Rule) -> str:
    of = settings_words(rule.stage, rule.of)
    if rule.along is not None:
        return f"{of}, at two or more values of {rule.along}"
    if rule.kind is Kind.VALUE:
        return f"{rule.column} of {of}"
    other = settings_words(rule.stage, rule.of if rule.than is None else rule.than)
    return f"{of} and {other}, equal in all other settings"


def _absent(matching: Matching, selection: Mapping[str, Choice]) -> Iterator[str]:
    """The combinations of named values that were not measured; all of them at once, if so."""
    stage, rows = matching.rule.stage, [one.group.settings for one in matching.selected(selection)]
    if not rows:
        yield settings_words(stage, selection)
        return
    named = {column: choice.values for column, choice in selection.items() if choice.values}
    for values in product(*named.values()):
        wanted = dict(zip(named, values, strict=True))
        if not any(all(getattr(row, c) == v for c, v in wanted.items()) for row in rows):
            yield settings_words(stage, {**selection, **wanted})
