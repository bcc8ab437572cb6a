"""RunRecord: settings, resources, times and results of one run, from the node to collect.

``null`` means that a value does not apply or is unknown; it never means 0.
"""

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
from weather_hpc.reading import first_error, read_json
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
        """Refuse ``true`` and ``false`` in numeric fields; pydantic would read ``true`` as 1."""
        if value is not True and value is not False:
            return value
        field = cls.model_fields[str(info.field_name)]
        if bool not in (field.annotation, *get_args(field.annotation)):
            raise ValueError("expected a number, not true or false")
        return value


class RankInfo(Part):
    """One rank or worker process of the run, as reported by itself."""

    rank: int = Field(description="rank, from 0; preprocessing: number of the worker")
    host: str = Field(description="host name")
    pid: int = Field(description="process id")
    device: str | None = Field(
        None, description="device it computed on, such as cpu or cuda:0; null: not applicable"
    )
    device_name: str | None = Field(
        None, description="model name of the device; null: not applicable"
    )
    cpus: list[int] | None = Field(
        None, description="numbers of the CPUs it may run on (CPU affinity)"
    )
    threads: int | None = Field(None, description="number of compute threads")
    memory_peak_mb: float | None = Field(None, description="peak resident memory, MB (1e6 bytes)")
    device_memory_peak_mb: list[float] | None = Field(
        None, description="peak memory in use on each of its GPUs after warm-up, MB"
    )
    images: int | None = Field(None, description="number of images it processed in measured time")
    computation_s: float | None = Field(
        None,
        description="seconds of measured time in which it computed, without waiting for data and"
        " without communication; other stages: in which it worked on images, reading and writing"
        " included; null: not known",
    )
    data_wait_s: float | None = Field(
        None, description="seconds of measured time in which it waited for data"
    )
    communication_s: float | None = Field(
        None,
        description="seconds of measured time that it spent in exchanges, waiting for slower ranks"
        " included; null: no exchanges, or not measurable",
    )


class Actual(Part):
    """Resources that the run used."""

    nodes: int | None = Field(None, description="number of nodes")
    world_size: int | None = Field(None, description="number of ranks or workers that took part")
    device: str | None = Field(None, description="cpu or cuda; null: not applicable")
    ranks: list[RankInfo] = Field(default=[], description="one entry per rank or worker")


class Phases(Part):
    """Seconds of wall clock by phase."""

    queue: float | None = Field(
        None, description="seconds from submission to start by the scheduler"
    )
    startup: float | None = Field(
        None, description="seconds from process start until all workers are ready"
    )
    warmup: float | None = Field(None, description="seconds of the unmeasured first steps")
    data_wait: float | None = Field(
        None, description="seconds of measured time spent waiting for input"
    )
    compute: float | None = Field(None, description="seconds of measured time spent computing")
    communication: float | None = Field(
        None, description="seconds of measured time spent communicating between ranks"
    )
    checkpoint: float | None = Field(
        None, description="seconds spent writing checkpoints, not part of time_s"
    )
    evaluation: float | None = Field(
        None, description="seconds spent on held-out evaluation, not part of time_s"
    )
    total: float | None = Field(
        None, description="seconds from process start until the record is written"
    )


class Counts(Part):
    """Numbers of images, files, epochs and steps."""

    images: int | None = Field(
        None, description="number of distinct images preprocessed or trained on"
    )
    quarantined: int | None = Field(
        None, description="number of invalid files left out; see the store's quarantine.csv"
    )
    unreadable: int | None = Field(
        None,
        description="number of image files that could not be read or decoded, or are damaged and "
        "left out",
    )
    damaged: int | None = Field(
        None, description="number of damaged images that were kept; see the store's items.csv"
    )
    duplicates: int | None = Field(
        None, description="number of files with the same content as another file"
    )
    epochs: int | None = Field(None, description="number of measured epochs")
    steps: int | None = Field(None, description="number of optimizer steps in measured time")
    test_images: int | None = Field(None, description="number of held-out images evaluated")


class Quality(Part):
    """Losses, accuracies (fractions from 0 to 1), size of the network, checksum of the store."""

    train_loss: float | None = Field(None, description="mean training loss of the last epoch")
    train_accuracy: float | None = Field(
        None, description="training accuracy of the last epoch, 0 to 1"
    )
    test_loss: float | None = Field(None, description="mean loss on the held-out split")
    test_accuracy: float | None = Field(None, description="accuracy on the held-out split, 0 to 1")
    parameters: int | None = Field(None, description="number of trainable parameters")
    store_checksum: str | None = Field(None, description="SHA-256 of the packed pixels")


class ExplorationTimes(Part):
    """Exploration: seconds of all workers together for each part of the work on pixels."""

    reading: float | None = Field(None, description="seconds for reading pixels from the store")
    histograms: float | None = Field(None, description="seconds for histograms of each channel")
    equalization: float | None = Field(None, description="seconds for equalizing histograms")
    normalization: float | None = Field(
        None, description="seconds for normalizing pixels by mean and standard deviation"
    )
    augmentation: float | None = Field(
        None, description="seconds for augmenting images as a training recipe does"
    )
    features: float | None = Field(
        None, description="seconds for features: colour moments, gradients, hashes"
    )


EDA_PARTS = tuple(ExplorationTimes.model_fields)
"""The parts of exploration, in the order of its table."""


class Usage(Part):
    """Memory, energy and load of the devices and hosts."""

    host_memory_peak_mb: float | None = Field(
        None, description="peak resident memory of the largest process, MB"
    )
    device_memory_peak_mb: float | None = Field(
        None, description="largest peak memory in use on one of the GPUs, MB"
    )
    device_use_percent: float | None = Field(
        None, description="mean GPU utilisation in measured time, %"
    )
    energy_j: float | None = Field(
        None, description="energy of all ranks' GPUs in measured time, J"
    )
    host_cpu_percent: float | None = Field(
        None, description="mean CPU use of rank 0's host in measured time, % of one core"
    )
    foreign_cpu_percent: float | None = Field(
        None, description="CPU use by processes outside the run in measured time, % of one core"
    )


class Provenance(Part):
    """What is needed to trace and repeat the measurement: commit, versions, host, job."""

    started_at: str | None = Field(None, description="start of the run, UTC, ISO 8601")
    command: list[str] = Field(default=[], description="command line of the run")
    commit: str | None = Field(
        None, description="git commit of weather_hpc; null: not a git checkout"
    )
    dirty: bool | None = Field(None, description="whether the checkout had uncommitted changes")
    host: str | None = Field(None, description="host name of rank 0")
    cpu_model: str | None = Field(None, description="model name of the host's processor")
    cpu_count: int | None = Field(None, description="number of logical CPUs of the host")
    memory_mb: float | None = Field(None, description="memory of the host, MB (1e6 bytes)")
    driver: str | None = Field(None, description="version of the GPU driver; null: no GPU")
    devices: list[str] = Field(
        default=[],
        description="devices that training computed on, in order: cpu, or GPU names; more than one"
        " if the run was resumed on other hardware",
    )
    packages: dict[str, str] = Field(
        default={}, description="package versions; on GPUs also cuda, cudnn, nccl and triton"
    )
    environment: dict[str, str] = Field(
        default={},
        description="environment variables for threads, allocators, torch, NCCL and gloo",
    )
    slurm: dict[str, str] = Field(default={}, description="SLURM_* variables: ids and node list")
    restarts: int = Field(
        0, description="number of times the run was resumed or a lost worker replaced"
    )


def measured_on_several(devices: list[str]) -> str:
    """Why a run with several :attr:`Provenance.devices` is in no table."""
    return f"measured on {', then on '.join(devices)}: the time is not that of one device"


class RunRecord(Part):
    """The complete record of one run."""

    schema_version: int = Field(SCHEMA_VERSION, description="version of this schema")
    run_id: str = Field(description="id of the run, as in its spec")
    status: Status = Field(Status.INCOMPLETE, description="how the run ended")
    reason: str | None = Field(None, description="why the status is not ok; null: it is ok")
    spec: RunSpec = Field(description="planned settings of the run")
    actual: Actual = Field(default_factory=Actual, description="resources that the run used")
    time_s: float | None = Field(
        None,
        description="measured time, seconds. Preprocessing: from the first image dispatched, all"
        " workers being ready, until the store is committed. Exploration: from the first batch"
        " dispatched, all workers being ready, until all results are summed. Array operations:"
        " from the first chunk dispatched, all workers being ready with their input in place, until"
        " the result is in one process. Training: the measured epochs with data loading, without"
        " evaluation and warm-up",
    )
    images_per_s: float | None = Field(
        None, description="images processed per second of measured time; every epoch counts"
    )
    phases: Phases = Field(default_factory=Phases, description="seconds of wall clock by phase")
    counts: Counts = Field(
        default_factory=Counts, description="numbers of images, files, epochs and steps"
    )
    left_out: str | None = Field(
        None,
        description="how many of the folder's image files were left out of the store, and why;"
        " null: under a tenth",
    )
    quality: Quality = Field(default_factory=Quality, description="losses, accuracies and checksum")
    usage: Usage = Field(default_factory=Usage, description="memory, energy and load")
    exploration: ExplorationTimes = Field(
        default_factory=ExplorationTimes, description="seconds of each part of exploration"
    )
    provenance: Provenance = Field(
        default_factory=Provenance, description="commit, versions, host and job"
    )

    @classmethod
    def of(cls, spec: RunSpec, **fields: Any) -> "RunRecord":
        """A record of ``spec``, with its run_id."""
        return cls(run_id=spec.run_id, spec=spec, **fields)

    def write(self, path: Path) -> None:
        """Write to ``path`` atomically. Raises ValueError on NaN."""
        # Validated again because fields are assigned one by one during a run.
        checked = RunRecord.model_validate(self.model_dump())
        write_json(path, checked.model_dump(mode="json"))


def read_record(path: Path) -> RunRecord:
    """The record in ``path``.

    Raises :class:`UserError` naming the file, the field and what is wrong with it, or the
    schema version found and the one expected.
    """
    value = read_json(path)
    found = value.get("schema_version") if isinstance(value, dict) else None
    if found != SCHEMA_VERSION or type(found) is not int:
        raise UserError(f"{path}: schema_version {found!r:.40} found, expected {SCHEMA_VERSION}")
    try:
        return RunRecord.model_validate(value)
    except ValidationError as error:
        raise UserError(f"{path}: {first_error(error)}") from None
