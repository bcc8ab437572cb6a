"""The configurations whose learning a report shows, with the epochs of their runs."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from weather_hpc.analysis.candidates import Candidate, Work, all_works, fastest_of
from weather_hpc.analysis.comparison import Comparison
from weather_hpc.logs.curve import log_epochs
from weather_hpc.report.collected import run_files, run_folders
from weather_hpc.runs.epochs import Epoch, read_epochs
from weather_hpc.runs.paths import RunPaths
from weather_hpc.runs.row import Row
from weather_hpc.study.spec import Stage
from weather_hpc.study.stages import MEASURED

MOST_REPEATS = 20
"""Runs of one configuration whose epochs are read."""


MOST_CURVES = 6
"""Configurations whose curves are drawn."""


@dataclass(frozen=True)
class Learned:
    """One configuration, and what its runs recorded of each epoch."""

    label: str
    strategy: str
    accuracy: float | None
    """Median test accuracy of all its runs, 0 to 1."""
    runs: tuple[tuple[Epoch, ...], ...]
    """The epochs of each run that recorded some."""

    @cached_property
    def epochs(self) -> int:
        """The last epoch that any run has ended."""
        return max(run[-1].epoch for run in self.runs)

    def at(self, epoch: int) -> list[Epoch]:
        """That epoch of each run that has it."""
        return [each for run in self.runs for each in run if each.epoch == epoch]


def training_works(comparison: Comparison) -> list[Work]:
    """The configurations that trained, those together that did the same work."""
    table = MEASURED[Stage.TRAIN].table
    return [work for work in all_works(comparison) if work.stage == table]


def chosen(works: Sequence[Work]) -> list[Candidate]:
    """The configurations in ``works`` that matter, at most :data:`MOST_CURVES`.

    Of each work the fastest, the most accurate, the cheapest and the baseline; then, as far as
    there is room, the fastest of each other strategy and the others, in the order of the table.
    """
    found: dict[int, Candidate] = {}
    for choose in (_that_matter, _of_each_strategy, lambda work: work.candidates):
        for work in works:
            found |= {id(candidate.group): candidate for candidate in choose(work)}
    kept = [id(candidate.group) for candidate in found.values()][:MOST_CURVES]
    candidates = [candidate for work in works for candidate in work.candidates]
    return [candidate for candidate in candidates if id(candidate.group) in kept]


def learned(candidates: Sequence[Candidate]) -> list[Learned]:
    """The epochs of the runs of ``candidates``; without those of which no run recorded any."""
    return [one for one in map(_read, candidates) if one.runs]


def _read(candidate: Candidate) -> Learned:
    rows = candidate.group.measured[:MOST_REPEATS]
    read = (_epochs(row) for row in rows)
    return Learned(
        candidate.label,
        candidate.group.settings.strategy or "",
        candidate.accuracy,
        tuple(epochs for epochs in read if epochs),
    )


def _epochs(row: Row) -> tuple[Epoch, ...]:
    """The epochs of the run that ``row`` was read from: a run folder or a text log."""
    files = run_files(row)
    return log_epochs(Path(row.source)) if files is None else read_epochs(files.events)


def most_accurate(candidates: Sequence[Candidate]) -> tuple[Candidate, Row, RunPaths] | None:
    """The most accurate configuration that left files, and its most accurate run; None: none did.

    Of equally accurate ones the fastest.
    """
    known = [one for one in candidates if one.accuracy is not None]
    for best in sorted(known, key=lambda one: (-(one.accuracy or 0.0), one.slowness)):
        runs = [
            found for found in run_folders(best.group.measured) if found[1].evaluation.is_file()
        ]
        if runs:
            return best, *max(runs, key=lambda found: found[0].test_accuracy or 0.0)
    return None


def _that_matter(work: Work) -> Iterator[Candidate]:
    yield fastest_of(work.candidates)
    accurate = [one for one in work.candidates if one.accuracy is not None]
    if accurate:
        yield max(accurate, key=lambda one: one.accuracy or 0.0)
    priced = [one for one in work.candidates if one.node_hours is not None]
    if priced:
        yield min(priced, key=lambda one: one.node_hours or 0.0)
    baselines = [one for one in work.candidates if one.workers == 1]
    if baselines:
        yield fastest_of(baselines)


def _of_each_strategy(work: Work) -> Iterator[Candidate]:
    for strategy in dict.fromkeys(one.group.settings.strategy for one in work.candidates):
        yield fastest_of([o for o in work.candidates if o.group.settings.strategy == strategy])
