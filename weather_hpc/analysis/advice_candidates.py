"""What advice chooses among: the measured configurations that do the same work."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from weather_hpc.analysis.baselines import images_each
from weather_hpc.analysis.groups import GROUPS, Group
from weather_hpc.analysis.speedup import is_weak, speeds
from weather_hpc.analysis.statistics import Interval, median, median_interval
from weather_hpc.analysis.table import ScalingTable
from weather_hpc.runs.row import Row
from weather_hpc.text import counted

MOST_NAMED = 2
"""So many rivals are named, the others counted."""

WORK = ("study", "scaling", "data", "image_size_px", "model", "recipe", "epochs")
"""Configurations that differ in one of these, or in the images, are not compared."""


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
        return self.group.asked.workers

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
        middle = median(speeds(self.group))
        if not middle:
            return float("inf")
        return 1 / middle if is_weak(self.group) else middle

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
        return is_weak(self.candidates[0].group)


def all_works(tables: Sequence[ScalingTable], rows: Sequence[Row]) -> list[Work]:
    """Every work that was measured, in the order of the tables."""
    return [work for table in tables for work in _of_table(table, GROUPS[table.name](rows))]


def _of_table(table: ScalingTable, groups: Sequence[Group]) -> Iterable[Work]:
    by_work: dict[tuple[object, ...], list[Candidate]] = defaultdict(list)
    # a table has a line for each group, in their order
    for line, group in zip(table.rows, groups, strict=True):
        if group.measured and not group.errors:
            values = (*(getattr(group.asked, name) for name in WORK), images_each(group.asked))
            found = Candidate(table.label(line), group, line["efficiency"], table.superlinear(line))
            by_work[values].append(found)
    names = (*WORK, "images")
    varying = [i for i in range(len(names)) if len({values[i] for values in by_work}) > 1]
    for values, candidates in by_work.items():
        words = ", ".join(f"{names[i]} {values[i]}" for i in varying)
        yield Work(table.name, words or None, tuple(candidates))


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
    return candidate.group.values(column) if column else speeds(candidate.group)


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
