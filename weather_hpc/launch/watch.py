"""Waiting for submitted runs: a live table on a terminal, else a line for every change.

Either says why jobs wait in the queue.
"""

import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol

from weather_hpc.runs.ending import without_log
from weather_hpc.runs.paths import StudyPaths
from weather_hpc.runs.reader import read_run
from weather_hpc.runs.state import RunState, run_states
from weather_hpc.slurm.accounting import poll
from weather_hpc.slurm.client import Slurm
from weather_hpc.slurm.directives import shape_of
from weather_hpc.slurm.jobs import Job, QueueState
from weather_hpc.slurm.pending import News, Waiting, waiting
from weather_hpc.study.site import SlurmSite
from weather_hpc.study.spec import RunSpec
from weather_hpc.text import alike, counted

FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 20.0
COLUMNS = (
    RunState.PENDING, RunState.RUNNING, RunState.DONE, RunState.FAILED, RunState.SKIPPED,
)  # fmt: skip

Counts = dict[str, Counter[RunState]]
"""How many runs of each resource shape are in each state."""


BetweenRuns = Callable[[Mapping[str, Job]], None]
"""Called again and again while runs are made, but never beside one that is measured on this
machine; with the jobs that there are, by run_id."""


def nothing(_: Mapping[str, Job]) -> None:
    """The same where nothing is to be done."""


class Show(Protocol):
    """Where a user sees how the runs do."""

    def counts(self, counts: Counts) -> None:
        """How many runs are in each state, after a change."""

    def waits(self, kinds: Sequence[Waiting], news: Sequence[str]) -> None:
        """Why jobs wait now, and which of it is to be said."""

    def say(self, line: str) -> None:
        """Anything else."""


def current_states(
    paths: StudyPaths, specs: Iterable[RunSpec], jobs: dict[str, Job]
) -> dict[str, RunState]:
    """The state of each run: its job's while that is queued or running, else its record's."""
    states = run_states(paths, specs)
    for run_id, job in jobs.items():
        if run_id in states and job.active:
            running = job.status is QueueState.RUNNING
            states[run_id] = RunState.RUNNING if running else RunState.PENDING
    return states


def wait(
    paths: StudyPaths,
    specs: Sequence[RunSpec],
    site: SlurmSite,
    slurm: Slurm,
    until: Callable[[dict[str, RunState]], bool] = lambda _: False,
    between: BetweenRuns = nothing,
) -> dict[str, RunState]:
    """Wait until none of ``specs`` is queued or running; the state of each then.

    Or until ``until`` is true of their states, or none of those left can ever start. One query
    covers all of them; the pauses grow while nothing changes. It is told why jobs wait, and the
    first run that fails for each reason. ``between`` is called at every question.
    """
    shown = _Table if sys.stderr.isatty() else _Lines
    with shown() as show:
        pause, before, news = FIRST_PAUSE_S, dict[str, RunState](), News()
        told: set[str] = set()
        while True:
            all_jobs = poll(paths, slurm)
            states = current_states(paths, specs, all_jobs)
            jobs = [all_jobs[s.run_id] for s in specs if s.run_id in all_jobs]
            if states != before:
                show.counts(count(specs, states, site))
                for run_id, reason in _failures(paths, states, before):
                    if (kind := alike(without_log(reason))) not in told:
                        told.add(kind)
                        show.say(f"{run_id} failed: {reason}")
                pause, before = FIRST_PAUSE_S, states
                if until(states):
                    return states
            between(all_jobs)
            kinds, now = waiting(jobs), time.monotonic()
            show.waits(kinds, news.lines(kinds, now))
            active = sum(job.active for job in jobs)
            if not active:
                return states
            if news.stuck(jobs, now):
                show.say(f"not waiting any longer: {counted(active, 'job')} left, none can start")
                return states
            time.sleep(pause)
            pause = next_pause(pause)


def _failures(
    paths: StudyPaths, states: dict[str, RunState], before: dict[str, RunState]
) -> Iterator[tuple[str, str]]:
    """Runs that have failed since ``before``, and why."""
    for run_id, state in states.items():
        if state is RunState.FAILED and before.get(run_id) is not RunState.FAILED:
            row = read_run(paths.run(run_id).root).row
            yield run_id, row.reason or row.status


def next_pause(pause: float) -> float:
    """The pause after one of ``pause`` seconds, s: half as long again, up to a limit."""
    return min(pause * 1.5, LONGEST_PAUSE_S)


def count(specs: Iterable[RunSpec], states: dict[str, RunState], site: SlurmSite) -> Counts:
    """How many of ``specs`` are in each state, by resource shape."""
    counts: Counts = {}
    for spec in specs:
        label = shape_of(spec, site).label
        counts.setdefault(label, Counter())[states[spec.run_id]] += 1
    return counts


def line(counts: Counts) -> str:
    """All shapes together: ``3 pending, 2 running, 7 done``."""
    total: Counter[RunState] = sum(counts.values(), Counter())
    return ", ".join(f"{total[column]} {column}" for column in COLUMNS if total[column])


class _Lines:
    """A line for every change."""

    def __enter__(self) -> Show:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def counts(self, counts: Counts) -> None:
        self.say(line(counts))

    def waits(self, kinds: Sequence[Waiting], news: Sequence[str]) -> None:
        for text in news:
            self.say(f"  {text}")

    def say(self, line: str) -> None:
        print(line, file=sys.stderr, flush=True)


class _Table:
    """A table that is drawn anew, with why jobs wait below it."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.live import Live

        self._live = Live(console=Console(stderr=True), auto_refresh=False)
        self._counts: Counts = {}
        self._kinds: Sequence[Waiting] = ()

    def __enter__(self) -> Show:
        self._live.__enter__()
        return self

    def __exit__(self, *exception: Any) -> None:
        self._live.__exit__(*exception)

    def counts(self, counts: Counts) -> None:
        self._counts = counts
        self._draw()

    def waits(self, kinds: Sequence[Waiting], news: Sequence[str]) -> None:
        if kinds != self._kinds:
            self._kinds = kinds
            self._draw()

    def say(self, line: str) -> None:
        self._live.console.print(line, markup=False, highlight=False)

    def _draw(self) -> None:
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        table = Table("jobs", *COLUMNS, caption="Ctrl-C stops waiting; the jobs continue")
        for label, row in self._counts.items():
            table.add_row(label, *(str(row[column] or "") for column in COLUMNS))
        # Text: the ids of an array's tasks are no markup
        self._live.update(Group(table, *map(Text, map(str, self._kinds))), refresh=True)
