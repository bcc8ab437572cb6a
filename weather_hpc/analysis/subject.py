"""What a study is mainly about: one stage and, in it, the work of which most was measured."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from weather_hpc.analysis.baselines import batch_size, measured, method, task
from weather_hpc.analysis.candidates import Candidate, Work, all_works, fastest_of
from weather_hpc.analysis.comparison import Comparison, Configuration, StageComparison
from weather_hpc.analysis.groups import Group
from weather_hpc.analysis.series import Series
from weather_hpc.analysis.steps import Verdict
from weather_hpc.analysis.table import Table, training_words
from weather_hpc.study.spec import Stage
from weather_hpc.study.stages import MeasuredStage


@dataclass(frozen=True)
class Subject:
    """The configurations that did one work, so that they may be compared."""

    stage: StageComparison
    configurations: tuple[Configuration, ...]
    """Those measured, in the order of the table."""
    work: Work | None
    """Those without audit errors; None: all have some."""
    series: tuple[Series, ...]
    """Of these configurations."""
    other_works: int
    """How many more works the stage has."""

    @property
    def of(self) -> MeasuredStage:
        """What its workers and methods are called."""
        return measured(self.configurations[0].group.settings)

    @cached_property
    def fastest(self) -> Candidate | None:
        """The one with the least time, or weak scaling: the most images per second."""
        return fastest_of(self.work.candidates) if self.work else None

    def label(self, group: Group) -> str:
        """The configuration of ``group`` in words, without what all of these have in common."""
        cells = {id(one.group): one.cells for one in self.configurations}
        return self.stage.table.label(cells[id(group)], list(cells.values()))

    def configuration(self, group: Group) -> Configuration | None:
        """The configuration of ``group``; None where it is another work's."""
        return next((one for one in self.configurations if one.group is group), None)

    @cached_property
    def main_series(self) -> Series | None:
        """The series that the fastest is in; where that is none, the longest one."""
        usable = [one for one in self.series if not one.problem and len(one.points) > 1]
        fastest = self.fastest
        for one in usable:
            if fastest and any(point is fastest.group for point in one.points[1:]):
                return one
        return max(usable, key=lambda one: len(one.points), default=None)


def subject_of(comparison: Comparison) -> Subject | None:
    """Training where it was measured, else the first stage that was; None: nothing was measured."""
    order = sorted(comparison.by_stage, key=lambda stage: stage is not Stage.TRAIN)
    return next(
        (found for name in order for found in _subject(comparison, comparison.by_stage[name])),
        None,
    )


def _subject(comparison: Comparison, stage: StageComparison) -> Iterator[Subject]:
    by_task: dict[tuple[object, ...], list[Configuration]] = defaultdict(list)
    for one in stage.configurations:
        if one.group.speeds:
            by_task[tuple(task(one.group.settings).values())].append(one)
    if not by_task:
        return
    chosen = max(by_task.values(), key=lambda some: sum(len(one.group.measured) for one in some))
    groups = {id(one.group) for one in chosen}
    works = [work for work in all_works(comparison) if id(work.candidates[0].group) in groups]
    series = tuple(one for one in comparison.series if any(id(p) in groups for p in one.points))
    yield Subject(stage, tuple(chosen), next(iter(works), None), series, len(by_task) - 1)


@dataclass(frozen=True)
class Stop:
    """Where adding workers to a series stops helping."""

    series: Series
    workers: int
    """The largest size up to which every step is faster than the one before."""
    tested: bool
    """Whether repeats show it; else medians alone say so."""
    largest: int
    """The largest size measured."""
    slower_from: int | None
    """The smallest size that is slower than the one before; None: there is none."""
    slower_tested: bool = False
    """Whether repeats show that."""

    @property
    def point(self) -> Group:
        """The configuration with so many workers."""
        return self.series.points[self.series.workers.index(self.workers)]

    @property
    def after(self) -> Group:
        """The configuration with the next larger number; the same at the largest."""
        place = self.series.workers.index(self.workers)
        return self.series.points[min(place + 1, len(self.series.points) - 1)]


def stop_of(series: Series, steps: Table) -> Stop:
    """Where ``series`` stops, by the tests in the table of ``steps``; it has two points or more."""
    key = series.table, series.label
    rows = [row for row in steps.rows if (row["table"], row["series"]) == key]
    workers, tested, stopped = series.workers[0], True, False
    slower: tuple[int, bool] | None = None
    for row in rows:
        size, ratio, shown = row["workers"], row["ratio"] or 0.0, row["verdict"]
        open_ = shown == Verdict.TOO_FEW
        faster = shown == Verdict.FASTER or (open_ and ratio > 1)
        if not stopped and faster:
            workers = size
            tested = tested and not open_
        elif not stopped:
            stopped = True
            tested = tested and not open_
        if slower is None and (shown == Verdict.SLOWER or (open_ and ratio < 1)):
            slower = size, not open_
    return Stop(
        series, workers, tested, series.workers[-1],
        slower[0] if slower else None, bool(slower and slower[1]),
    )  # fmt: skip


def series_way(series: Series) -> str:
    """Method and device of ``series``."""
    row = series.points[-1].settings
    if row.stage == Stage.TRAIN:
        return training_words(row.strategy, row.device)
    return str(method(row))


def series_label(series: Series) -> str:
    """Method, device and batch size of ``series``: enough within one work."""
    batch = batch_size(series.points[-1].settings)
    return series_way(series) + (f", batch {batch}" if batch is not None else "")
