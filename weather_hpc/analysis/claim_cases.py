"""Which measured configurations a rule of a claim compares, and which it still needs.

Runs in weak scaling and runs with audit errors take no part. Configurations are compared where they
are equal in every setting in which the rule does not make them differ; among several that differ
in details only, those most alike are.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations, pairwise, product
from typing import Any

from weather_hpc.analysis.baselines import likeness, measured, method, work_settings
from weather_hpc.analysis.claim_rules import COMPUTED, Bounds, Choice, Kind, Rule
from weather_hpc.analysis.claim_words import interval, number, seconds, settings_words
from weather_hpc.analysis.comparison import Comparison, Configuration
from weather_hpc.analysis.groups import Group
from weather_hpc.analysis.series import apart, repeated
from weather_hpc.analysis.statistics import Interval, median_interval
from weather_hpc.runs.row import Row
from weather_hpc.study.spec import Stage

_BATCH = {"batch_size_per_device", "batch_size_global"}


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


def rule_cases(rule: Rule, comparison: Comparison) -> RuleCases:
    """What ``comparison`` has of what ``rule`` compares."""
    return _Cases(rule, comparison).found


class _Cases:
    """Finds the cases of one rule."""

    def __init__(self, rule: Rule, comparison: Comparison) -> None:
        self.rule = rule
        stage = comparison.by_stage.get(rule.stage)
        kept = [(_without_errors(one.group), one) for one in stage.configurations] if stage else []
        self.configurations: dict[int, Configuration] = {}
        self.groups: list[Group] = []
        for group, configuration in kept:
            if group.measured and not group.is_weak:
                self.groups.append(group)
                self.configurations[id(group)] = configuration
        if rule.kind is not Kind.VALUE:
            self.groups = [group for group in self.groups if group.median("time_s")]

    @property
    def found(self) -> RuleCases:
        finders: dict[Kind, Callable[[], Iterator[Case]]] = {
            Kind.FASTER: self._faster, Kind.RATIO: self._ratio,
            Kind.FASTEST: self._extreme, Kind.SLOWEST: self._extreme,
            Kind.TIME_FALLS: self._steps, Kind.TIME_RISES: self._steps,
            Kind.TIME_FLAT: self._flat, Kind.VALUE: self._value,
        }  # fmt: skip
        cases = list(finders[self.rule.kind]())
        return RuleCases(cases, list(dict.fromkeys(self._needed(bool(cases)))))

    def _selected(self, selection: Mapping[str, Choice]) -> list[Group]:
        return [
            group
            for group in self.groups
            if all(choice.accepts(getattr(group.settings, c)) for c, choice in selection.items())
        ]

    @cached_property
    def _of(self) -> list[Group]:
        return self._selected(self.rule.of)

    def _shared(self, row: Row, free: Collection[str]) -> dict[str, Any]:
        """The settings in which a configuration's counterpart equals it."""
        values = {measured(row).method: method(row), "workers": row.workers, **work_settings(row)}
        dropped = set(free)
        if self.rule.match or dropped & _BATCH:
            dropped.add("batch_size")
        if "device" in dropped:
            dropped.add("threads_per_rank")
        values |= {column: getattr(row, column) for column in self.rule.match}
        return {column: value for column, value in values.items() if column not in dropped}

    def _matched(
        self, first: Sequence[Group], second: Sequence[Group]
    ) -> Iterator[tuple[Group, list[Group]]]:
        """Each of ``first`` with its counterparts in ``second``, where it has any."""
        free = sorted(self.rule.free)
        by_settings: dict[tuple[Any, ...], list[Group]] = defaultdict(list)
        for group in second:
            by_settings[tuple(self._shared(group.settings, free).items())].append(group)
        for group in first:
            fitting = by_settings.get(tuple(self._shared(group.settings, free).items()), [])
            by_value: dict[tuple[Any, ...], list[Group]] = defaultdict(list)
            for other in fitting:
                if other is not group:
                    values = tuple(getattr(other.settings, column) for column in free)
                    by_value[values].append(other)
            found = [one for others in by_value.values() for one in _most_alike(group, others)]
            if found:
                yield group, found

    def _best(self, groups: Sequence[Group]) -> list[Group]:
        """The fastest over the columns of ``best_over``; all where there are none."""
        if not self.rule.best_over:
            return list(groups)
        alike: dict[tuple[Any, ...], list[Group]] = defaultdict(list)
        for group in groups:
            shared = self._shared(group.settings, self.rule.best_over)
            alike[tuple(shared.items())].append(group)
        return [min(members, key=_time) for members in alike.values()]

    def _counterparts(self) -> Iterator[Pair]:
        than = self._best(self._selected(self.rule.than or {}))
        for group, others in self._matched(self._best(self._of), than):
            yield from (Pair(group, other) for other in others)

    def _faster(self) -> Iterator[Case]:
        for pair in self._counterparts():
            yield self._case(pair.fast, self._side_by_side(pair.fast, pair.slow), pairs=(pair,))

    def _ratio(self) -> Iterator[Case]:
        for pair in self._counterparts():
            ratio = pair.fast.speedup(pair.slow)
            if ratio is not None:
                repeats = min(len(pair.fast.speeds), len(pair.slow.speeds))
                ends = pair.fast.speedup_interval(pair.slow)
                text = f"{self._side_by_side(pair.fast, pair.slow)}: {number(ratio)} times as fast"
                yield self._case(
                    pair.fast, text + interval(ends), bounds=self.rule.between or (None, None),
                    quantities=(Quantity(ratio, ends, repeats),), is_ratio=True,
                )  # fmt: skip

    def _extreme(self) -> Iterator[Case]:
        """``expected`` against all others; the text has the one nearest to changing the answer."""
        expected = self.rule.expected or {}
        first = self._selected({**self.rule.of, **expected})
        others = [group for group in self._of if not any(group is one for one in first)]
        for group, found in self._matched(first, others):
            if self.rule.kind is Kind.FASTEST:
                nearest = min(found, key=_time)
                pairs = tuple(Pair(group, other) for other in found)
            else:
                nearest = max(found, key=_time)
                pairs = tuple(Pair(other, group) for other in found)
            yield self._case(group, self._side_by_side(group, nearest), pairs=pairs)

    def _chains(self) -> Iterator[tuple[list[Group], dict[str, Any]]]:
        """Configurations that differ along a column only, in its order."""
        along = self.rule.along or ""
        alike: dict[tuple[Any, ...], list[Group]] = defaultdict(list)
        for group in self._of:
            if getattr(group.settings, along) is not None:
                alike[tuple(self._shared(group.settings, [along]).items())].append(group)
        for settings, members in alike.items():
            for part, names in apart(members, along):
                if len(part) > 1 and repeated(part, along) is None:
                    details = {name: getattr(part[0].settings, name) for name in names}
                    chain = sorted(part, key=lambda group: getattr(group.settings, along))
                    yield chain, dict(settings) | details

    def _steps(self) -> Iterator[Case]:
        for chain, settings in self._chains():
            pairs = tuple(
                Pair(after, before) if self.rule.kind is Kind.TIME_FALLS else Pair(before, after)
                for before, after in pairwise(chain)
            )
            yield Case(self.rule.stage, settings, self._in_a_row(chain), pairs=pairs)

    def _flat(self) -> Iterator[Case]:
        limit = 1 + (self.rule.within or 0)
        for chain, settings in self._chains():
            quantities = tuple(
                Quantity(
                    one.speedup(other) or 0.0,
                    one.speedup_interval(other),
                    min(len(one.speeds), len(other.speeds)),
                )
                for one, other in combinations(chain, 2)
            )
            times = [_time(group) for group in chain]
            spread = 100 * (max(times) / min(times) - 1)
            text = f"{self._in_a_row(chain)}, at most {spread:.2g} % apart"
            bounds = 1 / limit, limit
            yield Case(self.rule.stage, settings, text, quantities=quantities, bounds=bounds)

    def _value(self) -> Iterator[Case]:
        column = self.rule.column or ""
        for group in self._of:
            found = self._quantity(group, column)
            if found is not None:
                text = f"{column} {number(found.value)}{interval(found.interval)}"
                yield self._case(
                    group, text, quantities=(found,), bounds=self.rule.between or (None, None)
                )

    def _quantity(self, group: Group, column: str) -> Quantity | None:
        if column not in COMPUTED:
            values, middle = group.values(column), group.median(column)
            if middle is None:
                return None
            return Quantity(middle, median_interval(values), len(values))
        configuration = self.configurations[id(group)]
        baseline, cells = configuration.baseline, configuration.cells
        groups = [configuration.group, *([baseline] if baseline else [])]
        if cells[column] is None or any(one.errors for one in groups):
            return None
        ends = cells[f"{column}_low"], cells[f"{column}_high"]
        return Quantity(cells[column], ends, min(len(one.speeds) for one in groups))

    def _case(self, group: Group, text: str, **values: Any) -> Case:
        settings = self._shared(group.settings, self.rule.free)
        return Case(self.rule.stage, settings, text, **values)

    def _side_by_side(self, first: Group, second: Group) -> str:
        """Both in words, by what they differ in, with their times."""
        columns = sorted(self.rule.free)
        if first.settings.nodes != second.settings.nodes:
            columns.append("nodes")
        texts = []
        for group in (first, second):
            settings = {column: getattr(group.settings, column) for column in columns}
            words = settings_words(self.rule.stage, settings).removeprefix("on ").replace(", ", " ")
            texts.append(f"{words} {seconds(group)}")
        return " against ".join(texts)

    def _in_a_row(self, chain: Sequence[Group]) -> str:
        along = self.rule.along or ""
        values = Choice(tuple(getattr(group.settings, along) for group in chain))
        words = settings_words(self.rule.stage, {along: values})
        return f"{words}: {', '.join(map(seconds, chain))}"

    def _needed(self, has_cases: bool) -> Iterator[str]:
        """What was not measured of all that the rule names, or of what it compares."""
        rule = self.rule
        absent = [*self._absent(rule.of), *self._absent(rule.than or {})]
        if rule.expected and self._of:
            absent += self._absent({**rule.of, **rule.expected})
        yield from map(self._of_stage, absent)
        if has_cases or absent:
            return
        of = settings_words(rule.stage, rule.of)
        if rule.along is not None:
            yield self._of_stage(f"{of}, at two or more values of {rule.along}")
        elif rule.kind is Kind.VALUE:
            yield self._of_stage(f"{rule.column} of {of}")
        else:
            other = settings_words(rule.stage, rule.than or rule.of)
            yield self._of_stage(f"{of} and {other}, equal in all other settings")

    def _of_stage(self, words: str) -> str:
        """``words`` with the stage, where they do not tell it."""
        stage = self.rule.stage
        return words if stage in (Stage.PREPROCESS, Stage.TRAIN) else f"{stage} with {words}"

    def _absent(self, selection: Mapping[str, Choice]) -> Iterator[str]:
        """The combinations of named values that were not measured; all of them at once, if so."""
        groups = self._selected(selection)
        if not groups:
            yield settings_words(self.rule.stage, selection)
            return
        named = {column: choice.values for column, choice in selection.items() if choice.values}
        for values in product(*named.values()):
            wanted = dict(zip(named, values, strict=True))
            if not any(_has(group.settings, wanted) for group in groups):
                yield settings_words(self.rule.stage, {**selection, **wanted})


def _has(row: Row, wanted: Mapping[str, Any]) -> bool:
    return all(getattr(row, column) == value for column, value in wanted.items())


def _without_errors(group: Group) -> Group:
    return Group(tuple(row for row in group.measured if not row.audit_errors), group.others)


def _most_alike(group: Group, others: Sequence[Group]) -> list[Group]:
    scores = [likeness(other.settings, group.settings) for other in others]
    return [other for other, score in zip(others, scores, strict=True) if score == max(scores)]


def _time(group: Group) -> float:
    return group.median("time_s") or 0.0
