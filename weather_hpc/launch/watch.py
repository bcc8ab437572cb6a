"""Waiting for submitted runs: one live table, or a line for every change where none is seen."""

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
from weather_hpc.slurm.jobs import RUNNING, Job
from weather_hpc.study.slurm_site import SlurmSite
from weather_hpc.study.spec import RunSpec

FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 20.0
COLUMNS = (RunState.PENDING, RunState.RUNNING, RunState.DONE, RunState.FAILED, RunState.SKIPPED)

Counts = dict[str, Counter[str]]
"""How many runs of each shape stand where."""

Tell = Callable[[Counts], None]


def job_and_run_states(
    paths: StudyPaths, specs: Iterable[RunSpec], jobs: dict[str, Job]
) -> dict[str, RunState]:
    """Where each run stands: in the queue as its job says, else as its record says."""
    found = run_states(paths, specs)
    for run_id, job in jobs.items():
        if run_id in found and job.active:
            found[run_id] = RunState.RUNNING if job.standing == RUNNING else RunState.PENDING
    return found


def wait(
    paths: StudyPaths, specs: Sequence[RunSpec], site: SlurmSite, slurm: Slurm
) -> dict[str, RunState]:
    """Wait until none of ``specs`` waits or runs; where each stands then.

    Asks Slurm once for all of them, at growing intervals while nothing changes.
    """
    show = _table if sys.stderr.isatty() else _lines
    with show() as tell:
        pause, before = FIRST_PAUSE_S, None
        while True:
            jobs = poll(paths, slurm)
            found = job_and_run_states(paths, specs, jobs)
            if found != before:
                tell(count(specs, found, site))
                pause, before = FIRST_PAUSE_S, found
            if not any(jobs[s.run_id].active for s in specs if s.run_id in jobs):
                return found
            time.sleep(pause)
            pause = min(pause * 1.5, LONGEST_PAUSE_S)


def count(specs: Iterable[RunSpec], found: dict[str, RunState], site: SlurmSite) -> Counts:
    """How many runs of each shape stand where."""
    counts: Counts = {}
    for spec in specs:
        label = shape_of(spec, site).label
        counts.setdefault(label, Counter())[found[spec.run_id]] += 1
    return counts


def line(counts: Counts) -> str:
    """All shapes together: ``3 pending, 2 running, 7 done``."""
    total: Counter[str] = sum(counts.values(), Counter())
    return ", ".join(f"{total[column]} {column}" for column in COLUMNS if total[column])


@contextmanager
def _lines() -> Iterator[Tell]:
    yield lambda counts: print(line(counts), file=sys.stderr, flush=True)


@contextmanager
def _table() -> Iterator[Tell]:
    from rich.console import Console
    from rich.live import Live
    from rich.table import Table

    def render(counts: Counts) -> Table:
        table = Table("jobs", *COLUMNS, caption="Ctrl-C leaves: the jobs go on")
        for label, row in counts.items():
            table.add_row(label, *(str(row[column] or "") for column in COLUMNS))
        return table

    with Live(console=Console(stderr=True), auto_refresh=False) as live:
        yield lambda counts: live.update(render(counts), refresh=True)
