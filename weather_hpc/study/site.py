"""SiteProfile: the machine or cluster that runs a study, from ``hpc/sites/*.yaml``."""

import re
import sys
from enum import StrEnum
from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator

from weather_hpc.study.yaml_file import Count, Section, load, shipped


def _one_line(value: str) -> str:
    if re.search(r"[\r\n\0]", value):
        raise ValueError("must be one line")
    return value


def _option(value: str) -> str:
    if not value.startswith("--"):
        raise ValueError("must start with --, for example --exclude=node7")
    return value


Line = Annotated[str, AfterValidator(_one_line)]
"""A string without line breaks: it becomes part of a job script."""


Option = Annotated[Line, AfterValidator(_option)]
"""One long option as sbatch or srun takes it, with its value after ``=``."""


Word = Annotated[str, Field(pattern=r"^[^\s'\"\\#]+$")]
"""A name as Slurm allows it: no blanks, no quotes."""


class GpuRequest(StrEnum):
    """The option that requests GPUs: ``--gres=gpu:N`` or ``--gpus-per-node=N``."""

    GRES = "gres"
    GPUS_PER_NODE = "gpus-per-node"


class WithoutCuda(StrEnum):
    """What a GPU run does on a node where torch finds no CUDA."""

    CPU = "cpu"
    SKIP = "skip"


class SlurmSite(Section):
    """Options of this cluster's Slurm. Where a key is not given, the cluster's default applies."""

    partition: Word | None = Field(
        None, description="partition of all runs; null: the cluster's default"
    )
    gpu_partition: Word | None = Field(
        None, description="partition of runs with GPUs; null: partition"
    )
    cpu_partition: Word | None = Field(
        None, description="partition of runs without GPUs; null: partition"
    )
    account: Word | None = Field(None, description="account that is charged")
    qos: Word | None = Field(None, description="quality of service (QOS)")
    constraint: Line | None = Field(None, description="required node features, such as 'a100&ib'")
    reservation: Word | None = Field(None, description="name of a reservation")
    exclusive: bool = Field(
        False, description="allocate whole nodes; a run uses only its own CPUs and GPUs"
    )
    gpu_request: GpuRequest = Field(GpuRequest.GRES, description="option that requests GPUs")
    gpu_type: Word | None = Field(None, description="GPU type as the cluster names it")
    mem_per_cpu_mb: Count | None = Field(None, description="memory per CPU, MB; excludes memory_mb")
    memory_mb: Count | None = Field(
        None, description="memory per node, MB; excludes mem_per_cpu_mb"
    )
    max_running: Count | None = Field(
        None, description="number of tasks of one array that run at the same time; null: no limit"
    )
    max_array_size: Count | None = Field(
        None, description="number of runs in one array; null: the cluster's limit"
    )
    requeue: bool = Field(True, description="whether Slurm may requeue a run")
    max_requeues: Count = Field(
        20,
        description="number of times that a run may be requeued, by itself near its time limit or"
        " by Slurm; it bounds what the run can cost",
    )
    warning_s: Count = Field(
        120,
        description="seconds before the time limit at which a run gets the signal to checkpoint",
    )
    interface: Word | None = Field(
        None,
        description="network interface between nodes, such as ib0; null: chosen by gloo and NCCL",
    )
    dask_time_limit_min: Count | None = Field(
        None, description="time limit of a Dask worker's job, minutes; null: that of the run"
    )
    dask_memory_mb: Count | None = Field(
        None, description="memory of a Dask worker's job, MB; null: one CPU's mem_per_cpu_mb"
    )
    dask_wait_s: Count = Field(
        600, description="seconds that Dask waits for all its workers' jobs to start"
    )
    cpu_bind: Word | None = Field(None, description="value of srun's --cpu-bind, such as cores")
    srun_options: list[Option] = Field(default=[], description="further options of srun")
    extra_directives: list[Option] = Field(
        default=[], description="further options of sbatch, as #SBATCH lines"
    )
    without_cuda: WithoutCuda = Field(
        WithoutCuda.SKIP,
        description="what GPU runs do on a node where torch finds no CUDA: cpu (run there) or skip",
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.mem_per_cpu_mb is not None and self.memory_mb is not None:
            raise ValueError("mem_per_cpu_mb and memory_mb exclude each other")
        return self

    def partition_for(self, gpus: int) -> str | None:
        """The partition of a run with ``gpus`` GPUs per node; None: the cluster's default."""
        return (self.gpu_partition if gpus else self.cpu_partition) or self.partition


Name = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
"""The name of an environment variable."""


class SiteProfile(Section):
    """One machine or cluster."""

    name: Line = Field("local", description="name of the site")
    about: str = Field("", description="description of the site in a sentence")
    python: Line = Field(default=sys.executable, description="Python interpreter of the runs")
    modules: list[Line] = Field(default=[], description="environment modules to load")
    setup: list[Line] = Field(
        default=[], description="shell lines at the start of every job, such as source activate"
    )
    environment: dict[Name, Line] = Field(
        default={},
        description="environment variables of every run, baselines too; override the package's own",
    )
    cpus_per_worker: float | None = Field(
        None,
        gt=0,
        strict=True,
        allow_inf_nan=False,
        description="number of CPUs for each worker or rank, such as 0.5, where an entry of the "
        "study gives none; null: one for each worker, or each thread of a rank",
    )
    oversubscribe: bool = Field(
        False,
        strict=True,
        description="whether a run that asks for more CPUs than any node (or this machine) has "
        "gets those of the largest node instead of being skipped; an entry of the study may differ",
    )
    slurm: SlurmSite = Field(SlurmSite(), description="options of the cluster's Slurm")

    def on(self, partition: str | None, cpu_partition: str | None) -> "SiteProfile":
        """This site with runs sent to ``partition``, those without GPUs to ``cpu_partition``.

        None keeps the profile's value; ``partition`` alone applies to all runs.
        """
        chosen = {}
        if partition is not None:
            chosen = {"gpu_partition": partition, "cpu_partition": partition}
        if cpu_partition is not None:
            chosen["cpu_partition"] = cpu_partition
        return self.model_copy(update={"slurm": self.slurm.model_copy(update=chosen)})


def load_site(name: str | None) -> SiteProfile:
    """The profile in the file ``name``, or the shipped one; the local default for None.

    Raises :class:`~weather_hpc.errors.UserError` where there is none or it is not valid.
    """
    return SiteProfile() if name is None else load(shipped("sites", name), SiteProfile)
