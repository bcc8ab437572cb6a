"""The runs that stand for a study: the fastest, the cheapest, the baseline, the most accurate."""

from collections.abc import Iterator
from dataclasses import dataclass

from weather_hpc.analysis.candidates import Candidate, Work, all_works, doubt, fastest_of
from weather_hpc.analysis.comparison import Comparison
from weather_hpc.analysis.groups import Group
from weather_hpc.report.collected import run_files
from weather_hpc.runs.paths import RunPaths
from weather_hpc.runs.row import Row

_TRAINING = "training"


@dataclass(frozen=True)
class ChosenRun:
    """One run, that of its configuration with the median time."""

    roles: tuple[str, ...]
    """Why it was chosen."""
    label: str
    row: Row
    files: RunPaths

    @property
    def title(self) -> str:
        """``fastest, baseline: single on cpu, 1 rank``."""
        return f"{', '.join(self.roles)}: {self.label}"


def chosen_runs(comparison: Comparison, *, trusted: bool = True) -> list[ChosenRun]:
    """At most four training runs that have telemetry: of the work with most configurations.

    None is called the fastest or the like where the numbers are not ``trusted``.
    """
    works = [work for work in all_works(comparison) if work.stage == _TRAINING]
    if not works:
        return []
    work = max(works, key=lambda work: len(work.candidates))
    roles: dict[int, list[str]] = {}
    by_group: dict[int, Candidate] = {}
    for role, candidate in _roles(work, comparison, trusted):
        roles.setdefault(id(candidate.group), []).append(role)
        by_group[id(candidate.group)] = candidate
    found = []
    for key, candidate in by_group.items():
        run = _run_of(candidate.group)
        if run is not None:
            found.append(ChosenRun(tuple(roles[key]), candidate.label, *run))
    return found


def _roles(work: Work, comparison: Comparison, trusted: bool) -> Iterator[tuple[str, Candidate]]:
    """Each role with its configuration; no superlative where others may be as good."""
    fastest = fastest_of(work.candidates)
    yield _careful("fastest", trusted, doubt(fastest, work.candidates)), fastest
    priced = [c for c in work.candidates if c.node_hours is not None]
    if priced and not work.weak:
        best = min(priced, key=lambda c: c.node_hours or 0.0)
        yield _careful("cheapest", trusted, doubt(best, priced, "node_hours")), best
    baseline = next(
        (
            one.baseline
            for one in comparison.training.configurations
            if one.group is fastest.group and one.baseline is not None
        ),
        None,
    )
    same = next((c for c in work.candidates if c.group is baseline), None)
    if same is not None:
        yield "baseline", same
    known = [c for c in work.candidates if c.accuracy is not None]
    if known:
        most = max(known, key=lambda c: c.accuracy or 0.0)
        yield _careful("most accurate", trusted, doubt(most, known, "test_accuracy")), most


def _careful(role: str, trusted: bool, doubts: str) -> str:
    return role if trusted and not doubts else f"among the {role}"


def _run_of(group: Group) -> tuple[Row, RunPaths] | None:
    """The run with the median time, among those that left telemetry."""
    timed = sorted(
        (row for row in group.measured if row.time_s is not None), key=lambda row: row.time_s or 0.0
    )
    middle = (len(timed) - 1) // 2
    for place in sorted(range(len(timed)), key=lambda place: abs(place - middle)):
        files = run_files(timed[place])
        if files is not None and files.telemetry.is_file():
            return timed[place], files
    return None
