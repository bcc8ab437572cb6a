"""What became of submitted runs: asked of Slurm in one go, kept as ``slurm.json`` in each run.

squeue tells what waits and runs; of the others sacct tells how they ended, or else the
controller while it remembers, or else the exit code that the run's own script left behind.
"""

import json
import sys
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from weather_hpc.cli import EXIT_STOPPED
from weather_hpc.errors import FailedError, UserError
from weather_hpc.files import write_json
from weather_hpc.runs.paths import RunPaths, StudyPaths
from weather_hpc.runs.record import RunRecord, Status, read_record
from weather_hpc.runs.writer import read_spec
from weather_hpc.slurm import ledger
from weather_hpc.slurm.client import Slurm, SlurmError, once
from weather_hpc.slurm.jobs import (
    SACCT_FIELDS,
    SQUEUE_FORMAT,
    Job,
    of_ours,
    parse_sacct,
    parse_scontrol,
    parse_squeue,
)
from weather_hpc.text import one_line

EXIT_FILE = "exit_file"
"""The source of a state that only the run's own script tells."""

LAG_S = 5.0
"""How long accounting may take to hear of a job's end."""

REFRESH_PATIENCE_S = 20.0
"""How long :func:`refresh_accounting` waits for Slurm."""


@dataclass(frozen=True)
class Task:
    """The job that a run was last submitted as."""

    job_id: str
    name: str
    run: RunPaths


def refresh_accounting(paths: StudyPaths) -> dict[str, Job]:
    """Bring every run's ``slurm.json`` up to date, and end the records of jobs that died.

    The state of each submitted run's job, by run_id; empty where nothing was submitted. Where
    Slurm does not answer, that is said and what is on disk stands.
    """
    try:
        slurm, deadline = Slurm(patience_s=REFRESH_PATIENCE_S), time.monotonic() + LAG_S
        jobs = poll(paths, slurm)
        while _lags(jobs) and time.monotonic() < deadline:
            time.sleep(0.5)
            jobs = poll(paths, slurm)
        return jobs
    except (FailedError, SlurmError) as error:
        print(f"accounting: {one_line(error)}", file=sys.stderr)
        kept = {run_id: _kept(task) for run_id, task in submitted(paths).items()}
        return {run_id: job for run_id, job in kept.items() if job is not None}


def _lags(jobs: dict[str, Job]) -> bool:
    """Whether accounting is there, but has not heard of every end yet."""
    if all(job.active or _settled(job) for job in jobs.values()):
        return False
    try:
        once("sacct", "--noheader", "--allocations", "--jobs=1")
    except SlurmError:
        return False
    return True


def submitted(paths: StudyPaths) -> dict[str, Task]:
    """The job of every submitted run, by run_id. Entries without a job id are no jobs yet."""
    jobs = [entry for entry in ledger.load(paths) if entry.job_id is not None]
    return {
        run_id: Task(f"{entry.job_id}_{index}", entry.job_name, paths.run(run_id))
        for run_id, (entry, index) in ledger.newest(jobs).items()
    }


def poll(paths: StudyPaths, slurm: Slurm) -> dict[str, Job]:
    """The state of each submitted run's job, by run_id, written down where it is new."""
    tasks = submitted(paths)
    known = {run_id: _kept(task) for run_id, task in tasks.items()}
    open_tasks = {run_id: task for run_id, task in tasks.items() if not _settled(known[run_id])}
    told = _ask(slurm, open_tasks.values()) if open_tasks else {}
    states = dict(known)
    for run_id, task in open_tasks.items():
        before = known[run_id]
        ended = before if before and not before.active else None
        states[run_id] = job = told.get(task.job_id) or ended or _from_exit_file(task)
        if job != before:
            write_json(task.run.slurm, as_dict(job))
        if not job.active:
            close_record(task.run, job)
    return {run_id: job for run_id, job in states.items() if job is not None}


def _settled(job: Job | None) -> bool:
    """Whether nothing more is to be learnt: the controller's word of an end stands in for sacct's.

    Accounting hears of an end a moment later, and only it knows of memory.
    """
    return job is not None and not job.active and job.source != "scontrol"


def as_dict(job: Job) -> dict[str, Any]:
    """The form of ``slurm.json``; ``status`` is a record's, or pending or running."""
    return {"status": job.standing, **asdict(job)}


def _kept(task: Task) -> Job | None:
    """What ``slurm.json`` holds of this very job."""
    try:
        value = json.loads(task.run.slurm.read_bytes())
        job = Job(**{k: v for k, v in value.items() if k != "status"})
    except (OSError, ValueError, TypeError, AttributeError):
        return None
    return job if (job.job_id, job.name) == (task.job_id, task.name) else None


def _ask(slurm: Slurm, tasks: Iterable[Task]) -> dict[str, Job]:
    """The state of each job, by job id, as far as Slurm still knows them."""
    wanted = {task.job_id: task.name for task in tasks}
    names = {job_id.split("_")[0]: name for job_id, name in wanted.items()}
    by_name = f"--name={','.join(dict.fromkeys(names.values()))}"
    queue = slurm("squeue", "--noheader", "--array", "--all", by_name, f"--format={SQUEUE_FORMAT}")
    told = of_ours(parse_squeue(queue).values(), names)
    if wanted.keys() <= told.keys():
        return told
    told = _ended(of_ours(parse_sacct(_accounted(names)).values(), names)) | told
    if wanted.keys() <= told.keys():
        return told
    shown = slurm("scontrol", "show", "job", "--oneliner", "--all")
    return of_ours(parse_scontrol(shown).values(), names) | told


def _ended(jobs: dict[str, Job]) -> dict[str, Job]:
    """Accounting lags behind the controller: only what it says of an end counts."""
    return {job_id: job for job_id, job in jobs.items() if not job.active}


def _accounted(names: dict[str, str]) -> str:
    """sacct's answer; nothing where there is no accounting, or it does not answer."""
    try:
        return once(
            "sacct", "--duplicates", "--noheader", "--parsable2", f"--format={SACCT_FIELDS}",
            f"--jobs={','.join(names)}",
        )  # fmt: skip
    except SlurmError:
        return ""


def _from_exit_file(task: Task) -> Job:
    """The state of a job that Slurm has forgotten, from what its script left behind."""
    try:
        left = json.loads(task.run.exit.read_bytes())
        code, ended = int(left["code"]), str(left["ended_at"]).replace("Z", "+00:00")
    except (OSError, ValueError, KeyError, TypeError):
        return Job(
            task.job_id, task.name, "FAILED", EXIT_FILE, reason="it left the queue without a word"
        )
    state = "COMPLETED" if code == 0 else "FAILED"
    return Job(task.job_id, task.name, state, EXIT_FILE, exit_code=code, ended_at=ended)


def close_record(run: RunPaths, job: Job) -> None:
    """Write into the record how the job ended, where the run could not do so itself."""
    record = _unfinished(run)
    if record is None:
        return
    status = Status(job.standing) if job.standing else Status.FAILED
    reason = f"job {job.job_id} ended as {job.state}"
    if job.reason:
        reason += f": {job.reason}"
    if status is Status.OK:
        status, reason = Status.FAILED, f"job {job.job_id} ended well but left no finished record"
    elif job.exit_code == EXIT_STOPPED:
        asked = run.stop.read_text().strip() if run.stop.exists() else "terminated"
        status = Status.TIMEOUT if asked == "time-limit" else Status.PREEMPTED
        reason = f"job {job.job_id} was stopped ({asked}) at a checkpoint; sweep again to go on"
    elif status is Status.CANCELLED and job.started_at is None:
        why = job.reason or "by hand, or because what it waited for failed"
        reason = f"job {job.job_id} was cancelled before it started: {why}"
    record.status, record.reason = status, reason
    record.phases.queue = job.queue_s
    record.write(run.record)


def _unfinished(run: RunPaths) -> RunRecord | None:
    """The run's record where it is missing or says ``incomplete``; None where it is finished."""
    if run.record.exists():
        try:
            record = read_record(run.record)
        except UserError:
            return None
        return record if record.status is Status.INCOMPLETE else None
    spec = read_spec(run.root)
    return None if spec is None else RunRecord.of(spec)
