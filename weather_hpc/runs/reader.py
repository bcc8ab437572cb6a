"""Reading run folders. Each becomes a Run, even if its files are damaged or missing."""

from pathlib import Path
from typing import Any

from pydantic import ValidationError

from weather_hpc.errors import UserError
from weather_hpc.runs.ending import exit_text, from_logs, with_log
from weather_hpc.runs.inputs import (
    LARGEST,
    check_size,
    exit_code,
    nan_in_record,
    read_events,
    read_json,
)
from weather_hpc.runs.paths import RunPaths, StudyPaths
from weather_hpc.runs.record import RunRecord, Status, measured_on_several, read_record
from weather_hpc.runs.run import JobSummary, Run, read_job
from weather_hpc.study.spec import RunSpec
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
        status, reason = _without_record(paths, events["job"])
        return Run(folder.name, folder, status, reason, readable_spec(paths), **events)
    try:
        check_size(paths.record)
        record = read_record(paths.record)
    except UserError as error:
        events["not_a_number"] = not_a_number or nan_in_record(paths.record)
        return Run(folder.name, folder, Status.FAILED, str(error), readable_spec(paths), **events)
    status, reject = _judge(record, paths, events["job"])
    if reject is not None and status in FAILURES:
        reject = with_log(reject, paths.stderr)
    return Run(record.run_id, folder, status, reject, record.spec, record, **events)


def _judge(record: RunRecord, paths: RunPaths, job: JobSummary | None) -> tuple[Status, str | None]:
    """The run's final status, and the reason if it is in no table."""
    planned = readable_spec(paths)
    if planned is not None and planned.key != record.spec.key:
        where = ", ".join(record.spec.differences(planned))
        return record.status, f"{paths.record}: is of another run than {paths.spec.name}: {where}"
    if record.status is Status.INCOMPLETE:
        if ended := _ended(paths, job, "before its record was complete"):
            return ended
        return record.status, "still running, or exited without writing a final record"
    if record.status is not Status.OK:
        return record.status, record.reason or f"status {record.status}; the record gives no reason"
    if record.spec.stage not in MEASURED:
        return record.status, f"stage {record.spec.stage} is not measured"
    if record.time_s is None:
        return record.status, f"{paths.record}: time_s: is missing, but the status is ok"
    if len(record.provenance.devices) > 1:
        return record.status, measured_on_several(record.provenance.devices)
    odd = implausible(record)
    return record.status, f"{paths.record}: {odd}" if odd else None


def _without_record(paths: RunPaths, job: JobSummary | None) -> tuple[Status, str]:
    if ended := _ended(paths, job, "before it wrote a record"):
        return ended
    if not paths.spec.exists():
        return Status.INCOMPLETE, f"{paths.root}: neither {paths.spec.name} nor {paths.record.name}"
    try:
        _read_spec(paths)
    except UserError as error:
        return Status.FAILED, str(error)
    if job is not None and job.status == "pending":
        why = f": {job.reason}" if job.reason else ""
        return Status.INCOMPLETE, f"job {job.job_id} has not started, {job.state}{why}"
    return Status.INCOMPLETE, "never started: spec.json exists, record.json does not"


def _ended(paths: RunPaths, job: JobSummary | None, when: str) -> tuple[Status, str] | None:
    """How a run ended that could not say so itself; None where nothing tells that it has."""
    code, logs = exit_code(paths.exit), from_logs([paths.stderr])
    if job is not None and job.failed is not None:
        return job.failed, f"{job.ended(code)} {when}{logs}"
    return None if code is None else (Status.FAILED, f"{exit_text(code)} {when}{logs}")


def _read_spec(paths: RunPaths) -> RunSpec:
    try:
        return RunSpec.from_dict(dict(read_json(paths.spec)))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise UserError(f"{paths.spec}: {where}: {first['msg']}") from None
    except (ValueError, TypeError):
        raise UserError(f"{paths.spec}: is not a JSON object") from None


def readable_spec(paths: RunPaths) -> RunSpec | None:
    """The spec in spec.json; None where it cannot be read."""
    try:
        return _read_spec(paths)
    except UserError:
        return None


def earlier_runs(paths: StudyPaths) -> list[Run]:
    """The runs in the run folders of a results folder; empty if it has none yet."""
    folders = sorted(paths.runs.iterdir()) if paths.runs.is_dir() else []
    return [read_run(folder) for folder in folders if folder.is_dir()]


SHORTEST_TIME_S = 1e-6

CLOCKS_DIFFER = 1.05
"""How much longer a rank may compute than the measured time, each by its own clock."""


def implausible(record: RunRecord) -> str | None:
    """The first impossible value, as ``field: what is wrong``; None if all are possible."""
    values = {"time_s": record.time_s, "images_per_s": record.images_per_s}
    for name, part in (
        ("phases", record.phases), ("counts", record.counts), ("usage", record.usage),
        ("exploration", record.exploration),
    ):  # fmt: skip
        values |= {f"{name}.{field}": value for field, value in part}
    accuracies = {}
    for field, value in record.quality:
        if field.endswith("accuracy"):
            accuracies[f"quality.{field}"] = value
        elif isinstance(value, int | float):
            values[f"quality.{field}"] = value
    values["actual.world_size"] = record.actual.world_size
    values["provenance.restarts"] = record.provenance.restarts
    for name, settings in (("task", record.spec.task), ("resources", record.spec.resources)):
        numbers = {field: value for field, value in settings if isinstance(value, int | float)}
        values |= {f"spec.{name}.{field}": value for field, value in numbers.items()}
    for number, rank in enumerate(record.actual.ranks):
        for name in ("rank", "computation_s", "data_wait_s", "communication_s"):
            values[f"actual.ranks.{number}.{name}"] = getattr(rank, name)
    for name, value in values.items():
        if value is not None and not 0 <= value <= LARGEST:
            return f"{name}: expected a value from 0 to {LARGEST:g}"
    for name, value in accuracies.items():
        if value is not None and not 0 <= value <= 1:
            return f"{name}: expected a fraction from 0 to 1"
    if record.time_s is not None and record.time_s < SHORTEST_TIME_S:
        return f"time_s: {record.time_s:g} s is too short, expected at least {SHORTEST_TIME_S:g} s"
    for number, rank in enumerate(record.actual.ranks):
        computed = rank.computation_s
        if computed is not None and record.time_s and computed > record.time_s * CLOCKS_DIFFER:
            return (
                f"actual.ranks.{number}.computation_s: {computed:g} s is longer than the whole"
                f" measured time, {record.time_s:g} s"
            )
    return None
