"""Reading run folders. Each becomes a Run, even if its files are damaged or missing."""

from pathlib import Path
from typing import Any

from weather_hpc.errors import UserError
from weather_hpc.runs.inputs import (
    exit_code,
    exit_text,
    last_words,
    nan_in_record,
    read_events,
    worker_jobs_seconds,
)
from weather_hpc.runs.paths import RunPaths, StudyPaths
from weather_hpc.runs.record import RunRecord, Status, measured_on_several
from weather_hpc.runs.run import Run, job_by_its_script, read_job
from weather_hpc.runs.soundness import readable_spec, sound_record, spec_in
from weather_hpc.study.stages import MEASURED


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
        status, reason = _without_record(paths)
        return Run(folder.name, folder, status, reason, readable_spec(paths), **events)
    try:
        record = sound_record(paths)
    except UserError as error:
        events["not_a_number"] = not_a_number or nan_in_record(paths.record)
        return Run(folder.name, folder, Status.FAILED, str(error), readable_spec(paths), **events)
    status, reject = _judge(record, paths)
    events["job"] = events["job"] or job_by_its_script(paths, record)
    if record.spec.submits_workers:
        events["worker_jobs_s"] = worker_jobs_seconds(paths.events)
    return Run(record.run_id, folder, status, reject, record.spec, record, **events)


def _judge(record: RunRecord, paths: RunPaths) -> tuple[Status, str | None]:
    """The run's final status, and the reason if it is in no table."""
    if record.status is Status.INCOMPLETE:
        code = exit_code(paths.exit)
        if code is None:
            return record.status, "still running, or exited without writing a final record"
        last_line = last_words(paths.stderr)
        return Status.FAILED, f"{exit_text(code)} before its record was complete{last_line}"
    if record.status is not Status.OK:
        return record.status, record.reason or f"status {record.status}; the record gives no reason"
    if record.spec.stage not in MEASURED:
        return record.status, f"stage {record.spec.stage} is not measured"
    if len(record.provenance.devices) > 1:
        return record.status, measured_on_several(record.provenance.devices)
    return record.status, None


def _without_record(paths: RunPaths) -> tuple[Status, str]:
    code = exit_code(paths.exit)
    if code is not None:
        last_line = last_words(paths.stderr)
        return Status.FAILED, f"{exit_text(code)} before it wrote a record{last_line}"
    if not paths.spec.exists():
        return Status.INCOMPLETE, f"{paths.root}: neither {paths.spec.name} nor {paths.record.name}"
    try:
        spec_in(paths)
    except UserError as error:
        return Status.FAILED, str(error)
    return Status.INCOMPLETE, "never started: spec.json exists, record.json does not"


def earlier_runs(paths: StudyPaths) -> list[Run]:
    """The runs in the run folders of a results folder; empty if it has none yet."""
    folders = sorted(paths.runs.iterdir()) if paths.runs.is_dir() else []
    return [read_run(folder) for folder in folders if folder.is_dir()]
