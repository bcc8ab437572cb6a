"""A sweep's results folder: the state of its runs, ending a sweep, removing large files."""

import contextlib
import os
import shutil
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from weather_hpc import cli
from weather_hpc.errors import FailedError, UserError
from weather_hpc.launch.folders import SUBMITTING_S, holder, lock
from weather_hpc.runs.paths import RunPaths, StudyPaths
from weather_hpc.runs.plan_file import check_results, load_plan
from weather_hpc.runs.reader import read_run
from weather_hpc.runs.state import RunState
from weather_hpc.slurm.accounting import refresh_accounting
from weather_hpc.slurm.client import Slurm, SlurmError
from weather_hpc.slurm.jobs import Job
from weather_hpc.slurm.ledger import cancel as cancel_jobs
from weather_hpc.slurm.ledger import open_jobs, settle
from weather_hpc.sweep.progress import Watcher
from weather_hpc.text import counted


def status(paths: StudyPaths, as_json: bool) -> int:
    """Print the state of each run, and how many are in each state; the exit code."""
    plan = load_plan(paths)
    jobs = refresh_accounting(paths)
    progress, sweep = Watcher(paths, plan).look(jobs), holder(paths)
    states = progress.states
    if as_json:
        job_ids = {run_id: job.job_id for run_id, job in jobs.items()}
        cli.print_json(
            {
                "results": str(paths.root),
                "states": states,
                "jobs": job_ids,
                "running": {"pid": sweep.pid, "host": sweep.host} if sweep else None,
                **progress.as_dict(),
            }
        )
        return cli.EXIT_OK
    for spec in plan.all:
        print(f"{progress.word(spec.run_id):<8} {spec.run_id}{_job_note(jobs.get(spec.run_id))}")
        if states[spec.run_id] in (RunState.FAILED, RunState.SKIPPED):
            run = read_run(paths.run(spec.run_id).root)
            print(f"         {run.row.reason or run.status}")
    print("", *progress.lines, sep="\n")
    return cli.EXIT_OK


def _job_note(job: Job | None) -> str:
    """``  (job 12_3 PENDING: Priority)``, for a run that has a job."""
    if job is None:
        return ""
    note = job.reason or (f"on {job.node_list}" if job.node_list else "")
    return f"  (job {job.job_id} {job.state}{': ' if note else ''}{note})"


def cancel(paths: StudyPaths) -> str:
    """Interrupt the sweep that runs in the folder, and cancel the folder's jobs; what was done.

    In this order, so that no job is submitted in between. Raises UserError where no study has been
    run.
    """
    check_results(paths)
    interrupted = _interrupt(paths)
    cancelled = None
    if paths.submissions.exists():
        with lock(paths, wait_s=SUBMITTING_S):
            cancelled = _cancel_jobs(paths)
    done = [text for text in (cancelled, interrupted) if text]
    if not done:
        return f"{paths.root}: no sweep is running here, and none of its jobs is in a queue"
    return f"{' and '.join(done)}; run the same sweep again to resume"


@contextmanager
def _slurm() -> Iterator[Slurm]:
    """Slurm's commands; what they refuse in the block is a FailedError."""
    try:
        yield Slurm()
    except SlurmError as error:
        raise FailedError(str(error)) from None


def _cancel_jobs(paths: StudyPaths) -> str | None:
    if not paths.submissions.exists():
        return None
    with _slurm() as slurm:
        settle(paths, slurm)
        jobs = open_jobs(paths, slurm)
        if not jobs:
            return None
        cancel_jobs(slurm, jobs)
    ids = ", ".join(sorted({job_id for job_id, _ in jobs}, key=int))
    return f"cancelled {counted(len(jobs), 'job')} ({ids})"


def _interrupt(paths: StudyPaths) -> str | None:
    """Interrupt the sweep that runs in this folder: it ends as on Ctrl-C."""
    sweep = holder(paths)
    if sweep is None:
        return None
    # one without a boot id is of an earlier version
    if sweep.host != socket.gethostname() or (sweep.boot_id and not sweep.lives):
        raise FailedError(f"the sweep runs as {sweep}; cancel it there")
    with contextlib.suppress(ProcessLookupError):  # it has just ended
        # not SIGINT: shells start background processes so that they ignore it
        os.kill(sweep.pid, signal.SIGTERM)
    return f"interrupted pid {sweep.pid}"


def removable(paths: StudyPaths) -> list[Path]:
    """Stores, and the checkpoints and stores of runs: a sweep can make them again."""
    files = [paths.stores] if paths.stores.exists() else []
    if paths.runs.is_dir():
        for folder in sorted(paths.runs.iterdir()):
            run = RunPaths(folder)
            files += [path for path in (run.checkpoint, run.store) if path.exists()]
            files += sorted(folder.glob(f"{run.store.name}.*"))
    return files


def clean(paths: StudyPaths, ask: bool) -> str:
    """Remove what :func:`removable` lists; how much was freed.

    Records, events, logs, tables and the report stay. With ``ask``, the user at the terminal
    confirms first; without a terminal :class:`UserError` is raised, as where no study has been run.
    """
    check_results(paths)
    with lock(paths):
        if paths.submissions.exists():
            with _slurm() as slurm:
                jobs = open_jobs(paths, slurm)
            if jobs:
                queued = counted(len(jobs), "job")
                raise FailedError(f"{queued} of this folder in the queue; cancel them first")
        files = removable(paths)
        size = sum(_size(path) for path in files)
        what = f"{len(files)} stores and checkpoints, {size / 1e6:.1f} MB, under {paths.root}"
        if files and ask:
            if not sys.stdin.isatty():
                raise UserError(f"clean would remove {what}; give --yes to do it")
            if input(f"remove {what}? [y/N] ").strip().lower() not in ("y", "yes"):
                return "nothing removed"
        for path in files:
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()
    return f"removed {what}"


def _size(path: Path) -> int:
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())
