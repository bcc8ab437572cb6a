"""RunRecord: what one run was asked, had, took and yielded. Crosses from the node to collect.

``null`` means that a value does not apply or was not had; it never means 0.
"""

import json
from enum import StrEnum
from pathlib import Path
from typing import Any, get_args

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
)

from weather_hpc.errors import UserError
from weather_hpc.files import write_json
from weather_hpc.study.spec import RunSpec

SCHEMA_VERSION = 1


class Status(StrEnum):
    """How a run ended."""

    OK = "ok"
    FAILED = "failed"
    TIMEOUT = "timeout"
    OUT_OF_MEMORY = "out_of_memory"
    NODE_FAIL = "node_fail"
    PREEMPTED = "preempted"
    CANCELLED = "cancelled"
    INCOMPLETE = "incomplete"
    SKIPPED = "skipped"


class Part(BaseModel):
    """Base of all parts of a record: no unknown keys, no NaN."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _true_is_no_number(cls, value: Any, info: ValidationInfo) -> Any:
        """``true`` where a figure belongs would else be read as 1."""
        field = cls.model_fields[str(info.field_name)]
        if isinstance(value, bool) and bool not in (field.annotation, *get_args(field.annotation)):
            raise ValueError("is true or false, not a figure")
        return value


class RankInfo(Part):
    """One process of the run, as it saw itself."""

    rank: int = Field(description="rank in the world; worker number for preprocessing")
    host: str = Field(description="host name")
    pid: int = Field(description="process id")
    device: str | None = Field(None, description="such as cpu or cuda:0")
    device_name: str | None = Field(None, description="the device's model")
    cpus: list[int] | None = Field(None, description="CPUs it may run on (affinity)")
    threads: int | None = Field(None, description="compute threads it used")
    memory_peak_mb: float | None = Field(None, description="peak resident memory, MB (1e6 bytes)")
    device_memory_peak_mb: list[float] | None = Field(
        None, description="peak memory in use after warm-up of each of its GPUs, MB"
    )
    images: int | None = Field(None, description="images it handled in the measured time")


class Actual(Part):
    """What the run really had."""

    nodes: int | None = Field(None, description="distinct hosts")
    world_size: int | None = Field(None, description="ranks, or workers, that took part")
    device: str | None = Field(None, description="cpu or cuda")
    ranks: list[RankInfo] = Field(default=[], description="one entry per rank or worker")


class Phases(Part):
    """Where the time went, in seconds of wall clock."""

    queue: float | None = Field(None, description="submitted until started by the scheduler, s")
    startup: float | None = Field(None, description="process start until all workers stand, s")
    warmup: float | None = Field(None, description="unmeasured first steps, s")
    data_wait: float | None = Field(None, description="waiting for input in measured time, s")
    compute: float | None = Field(None, description="computing in measured time, s")
    communication: float | None = Field(None, description="between ranks in measured time, s")
    checkpoint: float | None = Field(None, description="writing checkpoints, outside time_s, s")
    evaluation: float | None = Field(None, description="held-out evaluation, outside time_s, s")
    total: float | None = Field(None, description="process start until the record, s")


class Counts(Part):
    """How many of what."""

    images: int | None = Field(None, description="distinct images preprocessed or trained on")
    quarantined: int | None = Field(None, description="files left out, with reasons on file")
    duplicates: int | None = Field(None, description="files with the same content as another")
    epochs: int | None = Field(None, description="epochs measured")
    steps: int | None = Field(None, description="optimizer steps in measured time")
    test_images: int | None = Field(None, description="held-out images evaluated")


class Quality(Part):
    """What was learned. Accuracies are fractions 0..1."""

    train_loss: float | None = Field(None, description="mean training loss of the last epoch")
    train_accuracy: float | None = Field(None, description="training accuracy of the last epoch")
    test_loss: float | None = Field(None, description="mean loss on the held-out split")
    test_accuracy: float | None = Field(None, description="accuracy on the held-out split")
    parameters: int | None = Field(None, description="trainable parameters")
    store_checksum: str | None = Field(None, description="sha256 over the packed pixels")


class Usage(Part):
    """What the machine spent."""

    host_memory_peak_mb: float | None = Field(None, description="largest process's peak, MB")
    device_memory_peak_mb: float | None = Field(None, description="peak device memory, MB")
    device_use_percent: float | None = Field(None, description="mean device utilisation, %")
    energy_j: float | None = Field(
        None, description="energy of the devices of all ranks in measured time, J"
    )
    host_cpu_percent: float | None = Field(
        None, description="mean CPU use on rank 0's host in measured time, % of one core"
    )
    foreign_cpu_percent: float | None = Field(
        None, description="CPU use by others in measured time, % of one core"
    )


class Provenance(Part):
    """Where the figures come from."""

    started_at: str | None = Field(None, description="UTC, ISO 8601")
    command: list[str] = Field(default=[], description="the command line")
    commit: str | None = Field(None, description="git commit of weather_hpc, where had")
    dirty: bool | None = Field(None, description="whether that checkout had changes")
    host: str | None = Field(None, description="host of rank 0")
    cpu_model: str | None = Field(None, description="the host's processor")
    cpu_count: int | None = Field(None, description="logical CPUs of the host")
    driver: str | None = Field(None, description="GPU driver")
    devices: list[str] = Field(
        default=[],
        description="what training has computed on, in turn: cpu, or the GPUs' names; more than one"
        " where it was stopped and resumed elsewhere",
    )
    packages: dict[str, str] = Field(
        default={}, description="versions of what was used; on GPUs cuda, cudnn, nccl, triton too"
    )
    environment: dict[str, str] = Field(
        default={}, description="settings of threads, allocators, torch, NCCL and gloo"
    )
    slurm: dict[str, str] = Field(default={}, description="SLURM_* ids and node list")
    restarts: int = Field(
        0, description="how often the run was stopped and resumed, or a worker lost"
    )


def measured_on_several(devices: list[str]) -> str:
    """Why a run whose :attr:`Provenance.devices` are more than one is in no table."""
    return f"measured on {', then on '.join(devices)}: its time is of neither"


class RunRecord(Part):
    """One run, whole."""

    schema_version: int = Field(SCHEMA_VERSION, description="of this form")
    run_id: str = Field(description="joins the record to its spec")
    status: Status = Field(Status.INCOMPLETE, description="how it ended")
    reason: str | None = Field(None, description="why, where it is not ok")
    spec: RunSpec = Field(description="what was asked")
    actual: Actual = Field(default_factory=Actual, description="what it had")
    time_s: float | None = Field(
        None,
        description="the measured time, s. Preprocessing: first image dispatched with all workers"
        " up until the store is committed. Training: the measured epochs with their data,"
        " evaluation and warm-up apart",
    )
    images_per_s: float | None = Field(
        None, description="images handled in measured time (every epoch counts) per second"
    )
    phases: Phases = Field(default_factory=Phases, description="where the time went")
    counts: Counts = Field(default_factory=Counts, description="how many of what")
    quality: Quality = Field(default_factory=Quality, description="what was learned")
    usage: Usage = Field(default_factory=Usage, description="what the machine spent")
    provenance: Provenance = Field(default_factory=Provenance, description="where it comes from")

    @classmethod
    def of(cls, spec: RunSpec, **fields: Any) -> "RunRecord":
        """A record of ``spec``, with its run_id."""
        return cls(run_id=spec.run_id, spec=spec, **fields)

    def write(self, path: Path) -> None:
        """Write to ``path`` atomically. Raises ValueError on NaN."""
        # Validated again because fields are assigned one by one while a run goes on.
        checked = RunRecord.model_validate(self.model_dump())
        write_json(path, checked.model_dump(mode="json"))


def read_record(path: Path) -> RunRecord:
    """The record in ``path``.

    Raises :class:`UserError` naming the file, the field and what is wrong with it, or the
    schema version found and the one wanted.
    """
    try:
        value = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: not JSON: {error}") from None
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from None
    found = value.get("schema_version") if isinstance(value, dict) else None
    if found != SCHEMA_VERSION:
        raise UserError(f"{path}: schema_version {found!r} found, {SCHEMA_VERSION} wanted")
    try:
        return RunRecord.model_validate(value)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise UserError(f"{path}: {where}: {first['msg']}") from None
