"""The configurations that one may be chosen of: those that do the same work."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

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

    @cached_property
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

    @cached_property
    def accuracy(self) -> float | None:
        """Median test accuracy, 0..1."""
        return self.group.median("test_accuracy")

    @cached_property
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
    def words(self) -> str:
        """The label as a sentence has it; empty where there is none."""
        text = (self.label or "").replace(" None", " not known")
        return text.replace("_px ", " ").replace("_", " ").replace("model ", "network ")

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
        label = ", ".join(_words(names[i], key[i]) for i in varying)
        yield Work(stage.table.name, label or None, tuple(candidates))


def _words(column: str, value: object) -> str:
    return str(value) if column == "operation" else f"{column} {value}"


def doubt(best: Candidate, among: Sequence[Candidate], column: str | None = None) -> str:
    """Why ``best`` may be no better than others ``among`` which it is; empty where it clearly is.

    Judged by the intervals of the medians in ``column``; None: of what its speed is judged by.
    """
    superlinear = "its speedup is super-linear, see the audit" if best.superlinear else ""
    return joined(superlinear, *best.group.sharing, _rivals(best, among, column))


def _rivals(best: Candidate, among: Sequence[Candidate], column: str | None) -> str:
    if len(among) == 1:
        return ""
    if median_interval(_samples(best, column)) == NO_INTERVAL:
        return f"no interval (fewer than {FEWEST_REPEATS} repeats)"
    names = [other.label for other in ties(best, among, column)]
    return f"statistically indistinguishable from {listed(names)}" if names else ""


def ties(best: Candidate, among: Sequence[Candidate], column: str | None = None) -> list[Candidate]:
    """The others whose interval overlaps that of ``best``, see :func:`doubt`."""
    interval = median_interval(_samples(best, column))
    return [
        other
        for other in among
        if other is not best and overlap(interval, median_interval(_samples(other, column)))
    ]


def _samples(candidate: Candidate, column: str | None) -> list[float]:
    return candidate.group.values(column) if column else candidate.group.speeds


def listed(names: Sequence[str]) -> str:
    """``a | b and 3 more``: labels hold commas."""
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return " | ".join(names[:MOST_NAMED]) + more


def fastest_of(candidates: Sequence[Candidate]) -> Candidate:
    """The one with the least time; weak scaling: with the most images per second."""
    return min(candidates, key=lambda candidate: candidate.slowness)


def joined(*parts: str) -> str:
    """Those of ``parts`` that say something, as one text."""
    return "; ".join(filter(None, parts))
