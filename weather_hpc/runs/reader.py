"""Reading run folders. Each becomes a Run, even if its files are damaged or missing."""

from pathlib import Path
from typing import Any

from weather_hpc.errors import UserError
from weather_hpc.runs.ending import exit_text, from_logs, with_log
from weather_hpc.runs.inputs import (
    exit_code,
    exit_time,
    nan_in_record,
    read_events,
    worker_jobs_seconds,
)
from weather_hpc.runs.paths import RunPaths, StudyPaths
from weather_hpc.runs.record import RunRecord, Status, measured_on_several
from weather_hpc.runs.run import JobSummary, Run, job_by_its_script, read_job
from weather_hpc.runs.soundness import readable_spec, sound_record
from weather_hpc.runs.spec_file import spec_in
from weather_hpc.study.stages import MEASURED

FAILURES = frozenset(Status) - {Status.OK, Status.SKIPPED, Status.INCOMPLETE}
"""Ends of runs that began and made nothing."""


def read_run(folder: Path) -> Run:
    """The run in ``folder``, whatever state its files are in."""
    paths = RunPaths(folder)
    epochs, not_a_number = read_events(paths.events)
    events: dict[str, Any] = {
        "epochs_seen": epochs,
        "not_a_number": not_a_number,
        "job": read_job(paths.slurm),
    }
    if not paths.record.exists():
        events["ended_at"] = exit_time(paths.exit)
        status, reason = _without_record(paths, events["job"])
        return Run(folder.name, folder, status, reason, readable_spec(paths), **events)
    try:
        record = sound_record(paths)
    except UserError as error:
        events["not_a_number"] = not_a_number or nan_in_record(paths.record)
        return Run(folder.name, folder, Status.FAILED, str(error), readable_spec(paths), **events)
    status, reject = _judge(record, paths, events["job"])
    if reject is not None and status in FAILURES:
        reject = with_log(reject, paths.stderr)
    if record.phases.total is None:
        events["ended_at"] = exit_time(paths.exit)
    events["job"] = events["job"] or job_by_its_script(paths, record)
    if record.spec.submits_workers:
        events["worker_jobs_s"] = worker_jobs_seconds(paths.events)
    return Run(record.run_id, folder, status, reject, record.spec, record, **events)


def _judge(record: RunRecord, paths: RunPaths, job: JobSummary | None) -> tuple[Status, str | None]:
    """The run's final status, and the reason if it is in no table."""
    if record.status is Status.INCOMPLETE:
        if ended := _ended(paths, job, "before its record was complete"):
            return ended
        logs = from_logs([paths.stderr])
        return record.status, f"still running, or exited without writing a final record{logs}"
    if record.status is not Status.OK:
        return record.status, record.reason or f"status {record.status}; the record gives no reason"
    if record.spec.stage not in MEASURED:
        return record.status, f"stage {record.spec.stage} is not measured"
    if len(record.provenance.devices) > 1:
        return record.status, measured_on_several(record.provenance.devices)
    return record.status, None


def _without_record(paths: RunPaths, job: JobSummary | None) -> tuple[Status, str]:
    if ended := _ended(paths, job, "before it wrote a record"):
        return ended
    if not paths.spec.exists():
        return Status.INCOMPLETE, f"{paths.root}: neither {paths.spec.name} nor {paths.record.name}"
    try:
        spec_in(paths.spec)
    except UserError as error:
        return Status.FAILED, str(error)
    if job is not None and job.status == "pending":
        why = f": {job.reason}" if job.reason else ""
        return Status.INCOMPLETE, f"job {job.job_id} has not started, {job.state}{why}"
    if paths.stderr.exists():
        logs = from_logs([paths.stderr])
        return Status.INCOMPLETE, f"started, but neither record nor exit code is there{logs}"
    return Status.INCOMPLETE, "never started: spec.json exists, record.json does not"


def _ended(paths: RunPaths, job: JobSummary | None, when: str) -> tuple[Status, str] | None:
    """How a run ended that could not say so itself; None where nothing tells that it has."""
    code, logs = exit_code(paths.exit), from_logs([paths.stderr])
    if job is not None and job.failed is not None:
        return job.failed, f"{job.ended(code)} {when}{logs}"
    return None if code is None else (Status.FAILED, f"{exit_text(code)} {when}{logs}")


def images_left_out(run: RunPaths) -> str | None:
    """The warning of a run about the images that its store lacks; None where there is none."""
    record = read_run(run.root).record
    return record.left_out if record else None


def earlier_runs(paths: StudyPaths) -> list[Run]:
    """The runs in the run folders of a results folder; empty if it has none yet."""
    folders = sorted(paths.runs.iterdir()) if paths.runs.is_dir() else []
    return [read_run(folder) for folder in folders if folder.is_dir()]
