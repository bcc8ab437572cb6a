"""Waiting for submitted runs: a live table on a terminal, else a line for every change."""

import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

from weather_hpc.runs.paths import StudyPaths
from weather_hpc.runs.state import RunState, run_states
from weather_hpc.slurm.accounting import poll
from weather_hpc.slurm.client import Slurm
from weather_hpc.slurm.directives import shape_of
from weather_hpc.slurm.jobs import Job, QueueState
from weather_hpc.study.site import SlurmSite
from weather_hpc.study.spec import RunSpec

FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 20.0
COLUMNS = (
    RunState.PENDING, RunState.RUNNING, RunState.DONE, RunState.FAILED, RunState.SKIPPED,
)  # fmt: skip

Counts = dict[str, Counter[RunState]]
"""How many runs of each resource shape are in each state."""

Show = Callable[[Counts], None]


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
) -> dict[str, RunState]:
    """Wait until none of ``specs`` is queued or running; the state of each then.

    Or until ``until`` is true of their states. One query covers all of them; the pauses grow while
    nothing changes.
    """
    shown = _table if sys.stderr.isatty() else _lines
    with shown() as show:
        pause, before = FIRST_PAUSE_S, None
        while True:
            jobs = poll(paths, slurm)
            states = current_states(paths, specs, jobs)
            if states != before:
                show(count(specs, states, site))
                pause, before = FIRST_PAUSE_S, states
                if until(states):
                    return states
            if not any(jobs[s.run_id].active for s in specs if s.run_id in jobs):
                return states
            time.sleep(pause)
            pause = next_pause(pause)


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


@contextmanager
def _lines() -> Iterator[Show]:
    yield lambda counts: print(line(counts), file=sys.stderr, flush=True)


@contextmanager
def _table() -> Iterator[Show]:
    from rich.console import Console
    from rich.live import Live
    from rich.table import Table

    def render(counts: Counts) -> Table:
        table = Table("jobs", *COLUMNS, caption="Ctrl-C stops waiting; the jobs continue")
        for label, row in counts.items():
            table.add_row(label, *(str(row[column] or "") for column in COLUMNS))
        return table

    with Live(console=Console(stderr=True), auto_refresh=False) as live:
        yield lambda counts: live.update(render(counts), refresh=True)
