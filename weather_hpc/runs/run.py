"""Run: the content of one run folder, and its row for rows.csv."""

import dataclasses
import math
from collections import defaultdict
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from weather_hpc.errors import UserError
from weather_hpc.reading import read_json
from weather_hpc.runs.cpus import cpu_columns
from weather_hpc.runs.ending import ended_by
from weather_hpc.runs.inputs import LARGEST, exit_code, job_seconds
from weather_hpc.runs.paths import RunPaths
from weather_hpc.runs.record import Actual, RunRecord, Status
from weather_hpc.runs.row import ROW_COLUMNS, Row
from weather_hpc.study.settings import CONFIGURATION, settings_of
from weather_hpc.study.spec import RunSpec
from weather_hpc.study.stages import MEASURED
from weather_hpc.study.tasks import Backend, Device, TrainTask
from weather_hpc.text import clean

SECONDS_PER_HOUR = 3600


class JobSummary(BaseModel):
    """The values of slurm.json that tables use; the file has more."""

    model_config = ConfigDict(frozen=True, allow_inf_nan=False)

    job_id: str
    state: str
    source: str
    name: str | None = None
    status: Status | Literal["pending", "running"] | None = None
    """Pending, running, or a record's status."""
    reason: str | None = None
    exit_code: int | None = None
    signal: int | None = None
    submitted_at: str | None = None
    started_at: str | None = None
    """Of its last try."""
    ended_at: str | None = None
    queue_s: float | None = Field(None, ge=0)
    elapsed_s: float | None = Field(None, ge=0)
    nodes: int | None = Field(None, ge=1)
    node_list: str | None = None
    max_rss_mb: float | None = Field(None, ge=0)
    restarts: int | None = Field(None, ge=0)

    @property
    def failed(self) -> Status | None:
        """How the job failed; None where it has not, or nobody knows."""
        status = self.status if isinstance(self.status, Status) else None
        return None if status is Status.OK else status

    def ended(self, own_code: int | None = None) -> str:
        """``job 12_3 ended as FAILED (exit code 1) on node1: reason``, as far as it is known.

        ``own_code``: the exit code that the run's script has written, perhaps in an earlier try.
        """
        text = f"job {self.job_id} ended as {self.state}"
        # the numbers of other ends are Slurm's own
        if self.failed in (Status.FAILED, Status.OUT_OF_MEMORY):
            # accounting keeps seven bits of an exit code: 9 of 137
            same = own_code is not None and own_code % 128 == self.exit_code
            code = ended_by(own_code if same else self.exit_code, self.signal)
            text += f" ({code})" if code else ""
        text += f" on {self.node_list}" if self.node_list else ""
        # Slurm's words for an exit code and for a signal add nothing
        told = self.reason and not self.reason.startswith(("NonZeroExitCode", "RaisedSignal"))
        return f"{text}: {self.reason}" if told else text

    @field_validator("*", mode="before")
    @classmethod
    def _true_is_no_number(cls, value: object) -> object:
        """Refuse ``true`` and ``false``; pydantic would read ``true`` as 1."""
        if isinstance(value, bool):
            raise ValueError("expected a number, not true or false")
        return value


def read_job(path: Path) -> JobSummary | None:
    """The job in ``path``; None if the file is missing or cannot be read.

    Accounting is an addition to what a run measured: without it its columns are empty.
    """
    if not path.exists():
        return None
    try:
        return JobSummary.model_validate(read_json(path))
    except (UserError, ValidationError):
        return None


def job_by_its_script(paths: RunPaths, record: RunRecord) -> JobSummary | None:
    """The job of a run that was submitted by hand, as its script's exit.json describes it.

    None where the file is not of such a script. How long a requeued job took it does not know.
    """
    job_id, code = _job_id(record.provenance.slurm), exit_code(paths.exit)
    if job_id is None or code is None or "job_s" not in read_json(paths.exit):
        return None
    state, seconds = "FAILED" if code else "COMPLETED", job_seconds(paths.exit)
    return JobSummary(job_id=job_id, state=state, source="exit_file", elapsed_s=seconds)


def with_job(row: Row, job: JobSummary) -> Row:
    """``row`` with the values that the scheduler reports more reliably than the run."""
    known = dataclasses.replace(
        row,
        slurm_job_id=clean(job.job_id),
        slurm_state=clean(job.state),
        slurm_source=clean(job.source),
        slurm_node_list=_cleaned(job.node_list),
        slurm_elapsed_s=job.elapsed_s,
        slurm_max_rss_mb=job.max_rss_mb,
        submitted_at=_cleaned(job.submitted_at),
        slurm_started_at=_cleaned(job.started_at),
        ended_at=_cleaned(job.ended_at) or row.ended_at,
        nodes=job.nodes or row.nodes,
        queue_s=row.queue_s if job.queue_s is None else job.queue_s,
        restarts=max((n for n in (job.restarts, row.restarts) if n is not None), default=None),
    )
    return with_node_hours(known)


def _cleaned(text: str | None) -> str | None:
    return None if text is None else clean(text)


def with_node_hours(row: Row) -> Row:
    """``row`` with the node-hours of its job and of its workers' jobs; None where not known.

    A run without a job of its own counts as long as its process.
    """
    seconds = row.total_s if row.slurm_source is None else row.slurm_elapsed_s
    workers_s = row.worker_jobs_s if row.backend == Backend.DASK_JOBQUEUE else 0.0
    if row.nodes is None or seconds is None or row.nodes > LARGEST or workers_s is None:
        return dataclasses.replace(row, node_hours=None)
    hours = (row.nodes * seconds + workers_s) / SECONDS_PER_HOUR
    return dataclasses.replace(row, node_hours=hours)


@dataclass(frozen=True)
class Run:
    """The content of one run folder. ``reject``: why the run is in no table; None: it is in one."""

    run_id: str
    folder: Path
    status: Status
    reject: str | None
    spec: RunSpec | None = None
    record: RunRecord | None = None
    epochs_seen: int | None = None
    """Number of different epochs in events.jsonl; None if there is no file."""
    not_a_number: str | None = None
    """Where a loss was NaN or infinite."""
    job: JobSummary | None = None
    """Summary of its Slurm job; None if it ran without a scheduler."""
    ended_at: str | None = None
    """When its script saw it end, UTC, ISO 8601; None where its record says how long it took."""
    worker_jobs_s: float | None = None
    """Seconds that the jobs of its Dask workers took together; None: it has none, or not known."""

    @property
    def row(self) -> Row:
        """The run as one line of rows.csv."""
        spec, record = self.spec, self.record
        values: dict[str, Any] = {
            "run_id": self.run_id,
            "source": str(self.folder),
            "status": str(self.status),
            "table": MEASURED[spec.stage].table if spec and self.reject is None else None,
            "reason": self.reject or (record.reason if record else None),
            "worker_jobs_s": self.worker_jobs_s,
            "ended_at": self.ended_at,
        }
        if spec is not None:
            values |= _configured(spec)
        if record is not None:
            values |= _measured(record, values.get("device"))
        values = {k: clean(v) if isinstance(v, str) else v for k, v in values.items()}
        row = Row(**values)
        return with_node_hours(row) if self.job is None else with_job(row, self.job)

    @property
    def content(self) -> Hashable | None:
        """What two different runs cannot share: start, processes and times.

        Needs a measured time and the processes or the start: a time alone may be equal by chance.
        """
        record = self.record
        if record is None or record.time_s is None:
            return None
        processes = tuple((rank.host, rank.pid) for rank in record.actual.ranks)
        started = record.provenance.started_at
        if not processes and started is None:
            return None
        return started, processes, record.time_s, record.phases.total


def _configured(spec: RunSpec) -> dict[str, Any]:
    """The columns of the planned settings: one per setting, and those derived from them."""
    task, fields = spec.task, spec.model_dump(mode="json")
    fields |= fields["task"] | fields["resources"]
    settings = settings_of(task.kind, *CONFIGURATION)
    named = {setting.column or setting.name: fields[setting.name] for setting in settings}
    known = {column: value for column, value in named.items() if column in ROW_COLUMNS}
    values = known | {
        "stage": str(spec.stage),
        "configuration": spec.configuration,
        "repeat": spec.repeat,
        "oversubscribe": spec.resources.oversubscribe,
    }
    if not isinstance(task, TrainTask):
        return values
    return values | {
        "device": None if task.device is Device.AUTO else str(task.device),
        "device_asked": str(task.device),
        "batch_size_per_device": task.batch_size_per_device,
        "batch_size_global": task.batch_size_global,
        "learning_rate": task.peak_learning_rate,
    }


def _measured(record: RunRecord, device_asked: str | None) -> dict[str, Any]:
    counts, quality, origin = record.counts, record.quality, record.provenance
    device_names = {rank.device_name for rank in record.actual.ranks if rank.device_name}
    return {
        "device": record.actual.device or device_asked,
        "time_s": record.time_s,
        "images_per_s": record.images_per_s,
        **{f"{name}_s": seconds for name, seconds in record.phases},
        "images": counts.images,
        "quarantined": counts.quarantined,
        "duplicates": counts.duplicates,
        "epochs_done": counts.epochs,
        "steps": counts.steps,
        "test_images": counts.test_images,
        **dict(quality),
        **dict(record.usage),
        **{f"{name}_s": seconds for name, seconds in record.exploration},
        "restarts": origin.restarts,
        "world_size_actual": record.actual.world_size,
        "started_at": origin.started_at,
        "host": origin.host,
        "cpu_model": origin.cpu_model,
        "cpu_count": origin.cpu_count,
        "host_memory_mb": origin.memory_mb,
        "memory_asked_mb": _memory_asked(record),
        "ranks_memory_mb": _ranks_memory(record.actual),
        "device_name": " + ".join(sorted(device_names)) or None,
        "driver": origin.driver,
        "commit": origin.commit,
        "dirty": origin.dirty,
        "packages": "; ".join(f"{k} {v}" for k, v in sorted(origin.packages.items())) or None,
        "slurm_job_id": _job_id(origin.slurm),
        **_computation(record.actual),
        **cpu_columns(record),
    }


_MIB_MB = 2**20 / 1e6
"""Slurm counts in MiB."""


def _memory_asked(record: RunRecord) -> float | None:
    """Memory of each node that the run's job asked for, MB, as Slurm has told it."""
    slurm = record.provenance.slurm
    for name, count in (
        ("SLURM_MEM_PER_NODE", 1),
        ("SLURM_MEM_PER_CPU", record.spec.resources.cpus_per_node),
    ):
        value = slurm.get(name, "")
        if value.isascii() and value.isdecimal() and 0 < int(value) <= LARGEST:
            return int(value) * count * _MIB_MB
    return None


def _ranks_memory(actual: Actual) -> float | None:
    """Peaks of the ranks on rank 0's host together, MB; None unless known of each."""
    if not actual.ranks:
        return None
    host = min(actual.ranks, key=lambda rank: rank.rank).host
    peaks = [rank.memory_peak_mb for rank in actual.ranks if rank.host == host]
    known = [peak for peak in peaks if peak is not None]
    return math.fsum(known) if len(known) == len(peaks) else None


def _computation(actual: Actual) -> dict[str, Any]:
    """How long the ranks computed, where that is known of each.

    Workers that were replaced share their rank.
    """
    seconds: dict[int, float] = defaultdict(float)
    for rank in actual.ranks:
        if rank.computation_s is None:
            return {}
        seconds[rank.rank] += rank.computation_s
    if not seconds or len(seconds) != actual.world_size:
        return {}
    values = {
        "computation_sum_s": math.fsum(seconds.values()),
        "computation_max_s": max(seconds.values()),
    }
    if len(seconds) == 1:
        return values
    slowest = max(seconds, key=seconds.__getitem__)
    host = next(rank.host for rank in actual.ranks if rank.rank == slowest)
    return values | {"slowest_rank": slowest, "slowest_host": host}


def _job_id(slurm: Mapping[str, str]) -> str | None:
    """The id as sacct lists it: of an array's task ``12_3``, not the task's raw number."""
    array, task = slurm.get("SLURM_ARRAY_JOB_ID"), slurm.get("SLURM_ARRAY_TASK_ID")
    return f"{array}_{task}" if array and task else slurm.get("SLURM_JOB_ID")
