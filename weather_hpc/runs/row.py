"""Row: one run as a row of rows.csv, from a run folder or a log; all that analysis uses of it."""

import dataclasses
from collections.abc import Hashable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeVar

from weather_hpc.study.settings import CONFIGURATION, columns

DERIVED = ("batch_size",)
"""Settings that rows have other columns for: batch_size_per_device and batch_size_global."""

ASKED = ("cpus_per_node", "gpus_per_node")
"""What a run asked for besides nodes. It follows from other settings, so rows that differ in it
alone are of one configuration."""

T = TypeVar("T")


def _with_settings(row: type[T]) -> type[T]:
    """Give ``row`` a column for each setting that it has no field for, after its own fields."""
    own = {field.name for field in dataclasses.fields(row)}  # type: ignore[arg-type]
    more = [c for c in columns(*CONFIGURATION) if c not in own and c not in DERIVED]
    return dataclasses.make_dataclass(
        row.__name__, [(column, Any, None) for column in more], bases=(row,),
        frozen=True, kw_only=True, namespace={"__doc__": row.__doc__, "__module__": row.__module__},
    )  # fmt: skip


@_with_settings
@dataclass(frozen=True, kw_only=True)
class Row:
    """One run as a line of rows.csv; the fields are its columns, in this order.

    Settings that no code here reads by name follow at the end.

    Seconds end in ``_s``, megabytes (1e6 bytes) in ``_mb``, pixels in ``_px``. None means that
    a value does not apply or is unknown; it is written as an empty cell, never as 0.
    """

    run_id: str
    """Of the record, or the name of its folder where there is none to read."""
    source: str
    """The folder that the run was read from."""
    status: str
    """How the run ended: a Status."""
    table: str | None = None
    """The table that has the run's values; None: it is in rejects.csv."""
    reason: str | None = None
    """Why the run is in no table, or the reason in its record."""

    audit_errors: str | None = None
    """Codes of the errors that the audit found in this run alone; advice never recommends it."""

    study: str | None = None
    stage: str | None = None
    configuration: str | None = None
    """Name and hash of the planned settings without the repeat: repeats share it."""
    repeat: int | None = None
    scaling: str | None = None
    data: str | None = None

    backend: str | None = None
    workers: int | None = None
    """Planned number of workers or ranks."""
    decoder: str | None = None
    image_size_px: int | None = None
    images_asked: int | None = None
    """Number of images that the run was limited to; None: all."""

    strategy: str | None = None
    device: str | None = None
    """The device used; the planned one if the run ended before it reported one."""
    device_asked: str | None = None
    nodes: int | None = None
    threads_per_rank: int | None = None
    batch_size_per_device: int | None = None
    batch_size_global: int | None = None
    batch_mode: str | None = None
    epochs: int | None = None
    model: str | None = None
    recipe: str | None = None
    learning_rate: float | None = None
    """The largest learning rate of the optimizer."""
    batch_norm: str | None = None
    precision: str | None = None
    memory_format: str | None = None
    execution: str | None = None
    seed: int | None = None
    warmup_steps: int | None = None

    time_s: float | None = None
    images_per_s: float | None = None
    queue_s: float | None = None
    startup_s: float | None = None
    warmup_s: float | None = None
    data_wait_s: float | None = None
    compute_s: float | None = None
    communication_s: float | None = None
    checkpoint_s: float | None = None
    evaluation_s: float | None = None
    total_s: float | None = None

    images: int | None = None
    quarantined: int | None = None
    duplicates: int | None = None
    epochs_done: int | None = None
    steps: int | None = None
    test_images: int | None = None

    train_loss: float | None = None
    train_accuracy: float | None = None
    test_loss: float | None = None
    test_accuracy: float | None = None
    parameters: int | None = None
    store_checksum: str | None = None

    host_memory_peak_mb: float | None = None
    device_memory_peak_mb: float | None = None
    device_use_percent: float | None = None
    energy_j: float | None = None
    host_cpu_percent: float | None = None
    """CPU use on rank 0's host by all processes, % of one core."""
    foreign_cpu_percent: float | None = None
    """CPU use by processes outside the run in measured time, % of one core."""
    restarts: int | None = None

    world_size_actual: int | None = None
    started_at: str | None = None
    host: str | None = None
    cpu_model: str | None = None
    cpu_count: int | None = None
    device_name: str | None = None
    driver: str | None = None
    commit: str | None = None
    dirty: bool | None = None
    packages: str | None = None
    """Versions as ``name version`` joined by ``; ``."""
    slurm_job_id: str | None = None
    slurm_state: str | None = None
    """State of the job as Slurm names it."""
    slurm_node_list: str | None = None
    slurm_elapsed_s: float | None = None
    """Wall clock of the job, including its requeued tries."""
    slurm_max_rss_mb: float | None = None
    slurm_source: str | None = None
    """Source of the job's values: sacct, squeue, scontrol, or the exit file of its script."""
    node_hours: float | None = None
    """Nodes x wall clock of the Slurm job; of the run's process where it is no job of its own.
    The jobs of Dask workers are added, of one node each. None where a part is not known."""

    weights: str | None = None
    augmentation: str | None = None
    """The recipe whose augmentation exploration measured."""
    operation: str | None = None
    array_input: str | None = None
    engine: str | None = None
    chunk_images: int | None = None

    reading_s: float | None = None
    """Exploration: seconds of all workers together for each part of the work, up to features_s."""
    histograms_s: float | None = None
    equalization_s: float | None = None
    normalization_s: float | None = None
    augmentation_s: float | None = None
    features_s: float | None = None

    cpus_per_node: int | None = None
    """CPUs that the run asked for, on each node."""
    gpus_per_node: int | None = None
    """GPUs that the run asked for, on each node, whether it used them or not."""
    new_images: str | None = None
    """The folder of new images that stage predict classified."""

    computation_sum_s: float | None = None
    """Seconds that all ranks or workers together computed; None unless known of each."""
    computation_max_s: float | None = None
    """Of the rank or worker that computed longest."""
    slowest_rank: int | None = None
    """That rank or worker, among several."""
    slowest_host: str | None = None

    cpus_per_worker: float | None = None
    """CPUs asked for each worker or rank, where a study or site gives a number."""
    oversubscribe: bool | None = None
    """Whether the run was allowed fewer CPUs than it needs."""
    cpus: int | None = None
    """Number of different CPUs that all workers had together."""
    oversubscribed: str | None = None
    """Where workers had fewer CPUs than threads: whether that was asked for."""
    color: str | None = None
    """What packing did with ICC profiles."""
    worker_jobs_s: float | None = None
    """Backend dask-jobqueue: seconds that all jobs of its workers took together, replaced ones
    included; None where that is not known."""

    submitted_at: str | None = None
    """When its job was submitted, UTC, ISO 8601; None without a scheduler."""
    slurm_started_at: str | None = None
    """When the last try of its job started, UTC."""
    ended_at: str | None = None
    """When its job ended, or the run where its record does not say how long it took, UTC."""
    node_hours_spent: float | None = None
    """Of all tries, failed ones included, as far as their durations are known."""

    host_memory_mb: float | None = None
    """Memory of rank 0's host."""
    memory_asked_mb: float | None = None
    """Memory that the run's job asked for on each node; None: not known, or all of the node's."""
    ranks_memory_mb: float | None = None
    """Sum of the peaks of the ranks on rank 0's host; memory that they share counts for each."""

    @property
    def is_rejected(self) -> bool:
        """Whether the run failed, or is in no table although its stage is measured."""
        served = self.stage in ("prepare", "predict") and self.status == "ok"
        return self.table is None and not served


ROW_COLUMNS = [field.name for field in dataclasses.fields(Row)]

REJECT_COLUMNS = ["run_id", "status", "reason"]
"""Of the rows in rejects.csv."""

CONFIGURATION_COLUMNS = [
    "stage", "batch_size_per_device", "batch_size_global",
    *(c for c in columns(*CONFIGURATION) if c in ROW_COLUMNS and c not in ASKED),
]  # fmt: skip
"""Rows that differ in one of these columns have different configurations."""


class Severity(StrEnum):
    """``error``: a value is wrong. ``warning``: it may be wrong. ``info``: note when comparing."""

    ERROR = "error"
    WARNING = "warning"
    INFO = "info"


class Code(StrEnum):
    """The kinds of findings."""

    RANK_COUNT_MISMATCH = "rank_count_mismatch"
    DUPLICATE_CONTENT = "duplicate_content"
    INCOMPLETE_EPOCHS = "incomplete_epochs"
    MISSING_TOTAL = "missing_total"
    NAN_LOSS = "nan_loss"
    SUPERLINEAR = "superlinear"
    FOREIGN_LOAD = "foreign_load"
    AFFINITY_MISMATCH = "affinity_mismatch"
    HARDWARE_MISMATCH = "hardware_mismatch"
    BATCH_SEMANTICS = "batch_semantics"
    RESTARTED = "restarted"
    REFERENCE_MISMATCH = "reference_mismatch"
    CHECK_FAILED = "check_failed"
    CHECK_UNREADABLE = "check_unreadable"
    WRONG_BINDING = "wrong_binding"
    SLOW_NETWORK = "slow_network"
    EXCHANGE_TIME = "exchange_time"
    OVERSUBSCRIBED = "oversubscribed"
    UNREADABLE_IMAGES = "unreadable_images"
    PREDICTIONS_UNREADABLE = "predictions_unreadable"
    ACCOUNTING = "accounting"


@dataclass(frozen=True)
class Finding:
    """``source`` is a run_id, or the name of a table, a check or a file; ``message`` the evidence
    in one line."""

    source: str
    severity: Severity
    code: Code
    message: str

    @property
    def tells_of_images_left_out(self) -> bool:
        """Whether many of a folder's images are not used, although the run did not fail."""
        return (self.severity, self.code) == (Severity.WARNING, Code.UNREADABLE_IMAGES)


FINDING_COLUMNS = [field.name for field in dataclasses.fields(Finding)]


@dataclass(frozen=True)
class Reading:
    """One run, small enough that any number of them stays in memory."""

    row: Row
    findings: tuple[Finding, ...] = ()
    """Findings in this run alone."""
    content: Hashable | None = None
    """Equal only for copies of one run; None: too little is known about the run."""
    epochs: frozenset[int] = frozenset()
    """Values of some epochs, equal for runs with the same epochs; empty: too little is known."""
    key: Hashable | None = None
    """Configuration and repeat of a planned run; None: identified by its run_id alone."""
