"""The jobs of submitted runs: read from Slurm in one go, kept as ``slurm.json`` in each run.

squeue has queued and running jobs. sacct has how the others ended; where it does not, the
controller while it remembers, and else the exit code that the run's own script has written.
"""

import functools
import math
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from weather_hpc.cli import EXIT_STOPPED
from weather_hpc.errors import FailedError, UserError
from weather_hpc.files import write_json
from weather_hpc.reading import LARGEST_JSON, read_bytes, read_object, read_text
from weather_hpc.runs.ending import from_logs
from weather_hpc.runs.inputs import exit_code, job_seconds
from weather_hpc.runs.paths import RunPaths, StudyPaths
from weather_hpc.runs.record import RunRecord, Status, read_record
from weather_hpc.runs.run import JobSummary
from weather_hpc.runs.writer import read_spec
from weather_hpc.slurm import ledger
from weather_hpc.slurm.client import Slurm, SlurmError, call
from weather_hpc.slurm.jobs import (
    SACCT_FIELDS,
    SQUEUE_FORMAT,
    Job,
    JobSource,
    Key,
    base_id,
    of_ours,
    parse_sacct,
    parse_scontrol,
    parse_squeue,
)
from weather_hpc.text import clean, one_line

LONGEST_CAUSE = 200
"""Bytes of a stop file."""

LAG_S = 5.0
"""How long after a job's end accounting may not know of it yet, s."""

REFRESH_PATIENCE_S = 20.0
"""How long :func:`refresh_accounting` waits for Slurm, s."""


@dataclass(frozen=True)
class SubmittedJob:
    """The job that a run was last submitted as."""

    job_id: str
    name: str
    run: RunPaths
    logs: tuple[Path, ...]
    """Where the job itself, its script and Slurm write: sbatch's log, or submitit's."""


def refresh_accounting(paths: StudyPaths) -> dict[str, Job]:
    """Bring every run's ``slurm.json`` up to date, and complete the records of jobs that died.

    The job of each submitted run, by run_id. Where Slurm does not answer, a message says so and
    the files stay as they are.
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
        return kept_jobs(paths)


def _lags(jobs: dict[str, Job]) -> bool:
    """Whether accounting is available, but does not know every end yet."""
    if all(job.active or _final(job) for job in jobs.values()):
        return False
    try:
        call("sacct", "--noheader", "--allocations", "--jobs=1")
    except SlurmError:
        return False
    return True


def submitted_jobs(paths: StudyPaths) -> dict[str, SubmittedJob]:
    """The job of every submitted run, by run_id; entries without a job id are left out."""
    entries = [entry for entry in ledger.load(paths) if entry.job_id is not None]
    return {
        run_id: SubmittedJob(
            f"{entry.job_id}_{index}",
            entry.job_name,
            paths.run(run_id),
            job_logs(paths, entry.token, f"{entry.job_id}_{index}"),
        )
        for run_id, (entry, index) in ledger.newest(entries).items()
    }


def job_logs(paths: StudyPaths, token: str, job_id: str) -> tuple[Path, ...]:
    """The logs of an array's task: those that exist depend on the executor.

    submitit leaves the task's number out where it submits a single run.
    """
    names = [
        f"{name}_0_log.{stream}" for name in (job_id, base_id(job_id)) for stream in ("err", "out")
    ]
    return (paths.job_logs / f"{job_id}.log", *map(paths.submitit(token).joinpath, names))


def kept_jobs(paths: StudyPaths) -> dict[str, Job]:
    """The job of each submitted run as its ``slurm.json`` has it, by run_id; Slurm is not asked."""
    kept = {run_id: _kept(submitted) for run_id, submitted in submitted_jobs(paths).items()}
    return {run_id: job for run_id, job in kept.items() if job is not None}


def poll(paths: StudyPaths, slurm: Slurm, keep: bool = True) -> dict[str, Job]:
    """The job of each submitted run, by run_id; what changed is written to ``slurm.json``.

    Unless it is not to ``keep`` it: then no file is written.
    """
    submitted = submitted_jobs(paths)
    jobs = {run_id: _kept(one) for run_id, one in submitted.items()}
    to_ask = {run_id: one for run_id, one in submitted.items() if not _final(jobs[run_id])}
    reported = _query(slurm, to_ask.values()) if to_ask else {}
    unwritten = None
    for run_id, one in to_ask.items():
        before = jobs[run_id]
        ended = before if before and not before.active else None
        jobs[run_id] = job = reported.get((one.job_id, one.name)) or ended or _from_exit_file(one)
        if not keep:
            continue
        try:
            if job != before:
                write_json(one.run.slurm, as_dict(job))
            if not job.active:
                close_record(one.run, job, [one.run.stderr, *one.logs])
        except OSError as error:  # such as a read-only copy: what is known is still shown
            unwritten = error
    if unwritten is not None:
        _tell(f"{unwritten.filename}: cannot be written: {unwritten.strerror}")
    return {run_id: job for run_id, job in jobs.items() if job is not None}


@functools.cache
def _tell(why: str) -> None:
    """Say why accounting cannot be kept: once, however often a sweep that waits asks Slurm."""
    print(f"accounting: {why}", file=sys.stderr)


def _final(job: Job | None) -> bool:
    """Whether nothing more will be known about the job.

    An end that only the controller has reported is not final: accounting knows of it a moment
    later, and only accounting has the peak memory.
    """
    return job is not None and not job.active and job.source is not JobSource.SCONTROL


def as_dict(job: Job) -> dict[str, Any]:
    """The form of ``slurm.json``; ``status`` is pending, running or a record's status."""
    values = {"status": job.status, **asdict(job)}
    del values["expected_at"]  # an estimate of the moment
    return values


_JOB = TypeAdapter(Job)
"""Checks the types of what slurm.json holds."""


def _kept(submitted: SubmittedJob) -> Job | None:
    """What ``slurm.json`` holds; None where it is missing or about another job."""
    try:
        job = _JOB.validate_json(read_bytes(submitted.run.slurm, LARGEST_JSON), strict=True)
    except (UserError, ValidationError):
        return None
    if any(isinstance(value, float) and not math.isfinite(value) for value in vars(job).values()):
        return None
    return job if (job.job_id, job.name) == (submitted.job_id, submitted.name) else None


def _query(slurm: Slurm, submitted: Iterable[SubmittedJob]) -> dict[Key, Job]:
    """The jobs, as far as Slurm still knows them."""
    wanted = {(one.job_id, one.name) for one in submitted}
    ours = {(base_id(job_id), name) for job_id, name in wanted}
    by_name = f"--name={','.join(sorted({name for _, name in ours}))}"
    queue = slurm("squeue", "--noheader", "--array", "--all", by_name, f"--format={SQUEUE_FORMAT}")
    jobs = of_ours(parse_squeue(queue).values(), ours)
    if wanted <= jobs.keys():
        return jobs
    # accounting lags behind the controller: only what it says about an end counts
    accounted = of_ours(parse_sacct(ask_sacct(sorted({job_id for job_id, _ in ours}))), ours)
    jobs = {key: job for key, job in accounted.items() if _ended(job)} | jobs
    if wanted <= jobs.keys():
        return jobs
    shown = slurm("scontrol", "show", "job", "--oneliner", "--all")
    return of_ours(parse_scontrol(shown).values(), ours) | jobs


def _ended(job: Job) -> bool:
    """Whether accounting knows the job's end: until then its elapsed time grows, in any state."""
    return not job.active and job.ended_at is not None


def ask_sacct(job_ids: Iterable[str]) -> str:
    """sacct's output; empty where there is no accounting, or it does not answer."""
    try:
        return call(
            "sacct", "--duplicates", "--noheader", "--parsable2", f"--format={SACCT_FIELDS}",
            f"--jobs={','.join(job_ids)}",
        )  # fmt: skip
    except SlurmError:
        return ""


def _from_exit_file(submitted: SubmittedJob) -> Job:
    """The job as its script's exit.json describes it, where Slurm knows nothing of it any more."""
    job_id, name, source = submitted.job_id, submitted.name, JobSource.EXIT_FILE
    try:
        ended_at = read_object(submitted.run.exit).get("ended_at")
    except UserError:
        ended_at = None
    code = exit_code(submitted.run.exit)
    if code is None or not isinstance(ended_at, str):
        reason = "it left the queue, and neither Slurm nor its script recorded how it ended"
        return Job(job_id, name, "FAILED", source, reason=reason)
    state, ended_at = "COMPLETED" if code == 0 else "FAILED", ended_at.replace("Z", "+00:00")
    seconds = job_seconds(submitted.run.exit)
    return Job(job_id, name, state, source, exit_code=code, ended_at=ended_at, elapsed_s=seconds)


def close_record(run: RunPaths, job: Job, logs: Sequence[Path] = ()) -> None:
    """Write into the record how the job ended, where the run could not do so itself.

    The first of ``logs`` that holds an error gives it.
    """
    record = _unfinished(run)
    if record is None:
        return
    status = job.status if isinstance(job.status, Status) else Status.FAILED
    ended = JobSummary.model_construct(**as_dict(job)).ended(exit_code(run.exit))
    reason = f"{ended}{from_logs(logs)}"
    if status is Status.OK:
        status = Status.FAILED
        reason = f"job {job.job_id} completed but left no finished record{from_logs(logs)}"
    elif job.exit_code == EXIT_STOPPED:
        cause = _stop_cause(run)
        status = Status.TIMEOUT if cause == "time-limit" else Status.PREEMPTED
        reason = f"job {job.job_id} stopped at a checkpoint ({cause}); sweep again to resume"
    elif status is Status.CANCELLED and job.started_at is None:
        cause = job.reason or "by hand, or because the job it depended on failed"
        reason = f"job {job.job_id} was cancelled before it started: {cause}"
    record.status, record.reason = status, reason
    record.phases.queue = job.queue_s
    record.write(run.record)


def _stop_cause(run: RunPaths) -> str:
    """Why the run was asked to stop, as its script has noted."""
    try:
        return clean(read_text(run.stop, LONGEST_CAUSE)) or "terminated"
    except UserError:
        return "terminated"


def _unfinished(run: RunPaths) -> RunRecord | None:
    """The run's record if it says ``incomplete``, or a new one if there is none; else None."""
    if run.record.exists():
        try:
            record = read_record(run.record)
        except UserError:
            return None
        return record if record.status is Status.INCOMPLETE else None
    try:
        spec = read_spec(run.root)
    except UserError:
        return None
    return None if spec is None else RunRecord.of(spec)
