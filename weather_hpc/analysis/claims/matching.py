"""Which configurations a rule of a claim compares with each other.

Runs in weak scaling and runs with audit errors take no part. Configurations are compared where they
are equal in every setting in which the rule does not make them differ. Among several that differ
in details only, those most alike are; those whose settings are all equal are not used, because
no setting says which is which.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from weather_hpc.analysis.baselines import DETAILS, likeness, measured, method, work_settings
from weather_hpc.analysis.claims.rules import Choice, Kind, Rule
from weather_hpc.analysis.comparison import Comparison, Configuration
from weather_hpc.analysis.groups import Group
from weather_hpc.analysis.series import apart, repeated
from weather_hpc.runs.row import Row
from weather_hpc.study.spec import Stage

_BATCH = {"batch_size_per_device", "batch_size_global"}


@dataclass(frozen=True)
class Candidate:
    """A configuration that claims may use."""

    group: Group
    """Its runs without audit errors."""
    configuration: Configuration
    settings: Mapping[str, Any]
    """By column: method, workers, and all that two configurations that are compared share."""


class Evidence:
    """What claims are tested on: the configurations of a comparison that may be used."""

    def __init__(self, comparison: Comparison, *, printed: bool = False) -> None:
        self.printed = printed
        """Whether its numbers are compared as they are, without regard to their uncertainty."""
        self._comparison = comparison
        self._candidates: dict[Stage, list[Candidate]] = {}
        self._unclear: dict[Stage, int] = {}

    def candidates(self, stage: Stage) -> list[Candidate]:
        """Those of ``stage`` in the order of its table."""
        if stage not in self._candidates:
            usable = list(self._usable(stage))
            alike = _by(usable, lambda one: (*one.settings.values(), *_details(one.group)))
            clear = [one for members in alike.values() if len(members) == 1 for one in members]
            self._candidates[stage] = clear
            self._unclear[stage] = len(usable) - len(clear)
        return self._candidates[stage]

    def unclear(self, stage: Stage) -> int:
        """How many configurations are not used, because others have the same settings."""
        self.candidates(stage)
        return self._unclear[stage]

    def _usable(self, stage: Stage) -> Iterator[Candidate]:
        compared = self._comparison.by_stage.get(stage)
        for one in compared.configurations if compared else ():
            good = tuple(row for row in one.group.measured if not row.audit_errors)
            group = Group(good, one.group.others)
            if good and not group.is_weak:
                yield Candidate(group, one, _settings(group.settings))


def _settings(row: Row) -> dict[str, Any]:
    return {measured(row).method: method(row), "workers": row.workers, **work_settings(row)}


def _details(group: Group) -> tuple[Any, ...]:
    row = group.settings
    return (*(getattr(row, name) for name in DETAILS), *(getattr(row, name) for name in _BATCH))


class Matching:
    """The configurations of one rule, and which of them are compared."""

    def __init__(self, rule: Rule, evidence: Evidence) -> None:
        self.rule = rule
        known = evidence.candidates(rule.stage)
        if rule.kind is not Kind.VALUE:
            known = [one for one in known if one.group.median("time_s")]
        self._known = known

    def selected(self, selection: Mapping[str, Choice]) -> list[Candidate]:
        """The measured configurations that ``selection`` describes."""
        return [
            one
            for one in self._known
            if all(
                choice.accepts(getattr(one.group.settings, c)) for c, choice in selection.items()
            )
        ]

    @cached_property
    def of(self) -> list[Candidate]:
        """Those that the rule is about."""
        return self.selected(self.rule.of)

    def shared(self, one: Candidate, free: Collection[str] | None = None) -> dict[str, Any]:
        """The settings in which counterparts of ``one`` equal it; ``free``: all but these."""
        dropped = set(self.rule.free if free is None else free)
        if self.rule.match or dropped & _BATCH:
            dropped.add("batch_size")
        if "device" in dropped:
            dropped.add("threads_per_rank")
        values = {column: v for column, v in one.settings.items() if column not in dropped}
        return values | {c: getattr(one.group.settings, c) for c in self.rule.match}

    def _key(self, one: Candidate) -> tuple[Any, ...]:
        return tuple(self.shared(one).items())

    def matched(
        self, first: Sequence[Candidate], second: Sequence[Candidate]
    ) -> Iterator[tuple[Candidate, list[Candidate]]]:
        """Each of ``first`` with its counterparts in ``second``, where it has any.

        Among several on either side that differ in details only, the two most alike.
        """
        free = sorted(self.rule.free)
        rivals, others = _by(first, self._key), _by(second, self._key)
        for one in first:
            key, values = self._key(one), _values(one, free)
            same = [rival for rival in rivals[key] if _values(rival, free) == values]
            fitting = [other for other in others.get(key, []) if other is not one]
            found = [
                other
                for members in _by(fitting, lambda other: _values(other, free)).values()
                for other in _most_alike(one, members)
                if any(one is best for best in _most_alike(other, same))
            ]
            if found:
                yield one, found

    def best(self, candidates: Sequence[Candidate]) -> list[Candidate]:
        """The fastest over the columns of ``best_over``; all where there are none."""
        over = self.rule.best_over
        if not over:
            return list(candidates)
        alike = _by(candidates, lambda one: tuple(self.shared(one, over).items()))
        return [min(members, key=time_of) for members in alike.values()]

    def chains(self) -> Iterator[tuple[list[Candidate], dict[str, Any]]]:
        """Two or more that differ along a column only, in its order, and what they share."""
        along = self.rule.along or ""
        by_group = {id(one.group): one for one in self.of}
        known = [one for one in self.of if getattr(one.group.settings, along) is not None]
        for members in _by(known, self._key).values():
            for part, names in apart([one.group for one in members], along):
                if len(part) > 1 and repeated(part, along) is None:
                    details = {name: getattr(part[0].settings, name) for name in names}
                    chain = sorted(part, key=lambda group: getattr(group.settings, along))
                    yield [by_group[id(g)] for g in chain], self.shared(members[0]) | details


def time_of(one: Candidate) -> float:
    """The median time, seconds."""
    return one.group.median("time_s") or 0.0


def _by(
    candidates: Sequence[Candidate], key: Callable[[Candidate], tuple[Any, ...]]
) -> dict[tuple[Any, ...], list[Candidate]]:
    found: dict[tuple[Any, ...], list[Candidate]] = defaultdict(list)
    for one in candidates:
        found[key(one)].append(one)
    return found


def _values(one: Candidate, columns: Sequence[str]) -> tuple[Any, ...]:
    return tuple(getattr(one.group.settings, column) for column in columns)


def _most_alike(one: Candidate, others: Sequence[Candidate]) -> list[Candidate]:
    scores = [likeness(other.group.settings, one.group.settings) for other in others]
    return [other for other, score in zip(others, scores, strict=True) if score == max(scores)]
