"""SiteProfile: where runs happen, as ``hpc/sites/*.yaml`` says it."""

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
        raise ValueError("must start with -- such as --exclude=node7")
    return value


Line = Annotated[str, AfterValidator(_one_line)]
"""A string without line breaks: it becomes part of a job script."""


Option = Annotated[Line, AfterValidator(_option)]
"""One long option as sbatch or srun takes it, with its value after ``=``."""


Word = Annotated[str, Field(pattern=r"^[^\s'\"\\#]+$")]
"""A name as Slurm has them: no blanks, no quotes."""


class GpuRequest(StrEnum):
    """The option that asks for GPUs: ``--gres=gpu:N`` or ``--gpus-per-node=N``."""

    GRES = "gres"
    GPUS_PER_NODE = "gpus-per-node"


class WithoutCuda(StrEnum):
    """What a GPU run does on a node where torch finds no CUDA."""

    CPU = "cpu"
    SKIP = "skip"


class SlurmSite(Section):
    """How this cluster wants to be asked. What is not given is left to the cluster's defaults."""

    partition: Word | None = Field(None, description="for every run; null: the cluster's default")
    gpu_partition: Word | None = Field(None, description="for runs with GPUs, over partition")
    cpu_partition: Word | None = Field(None, description="for runs without, over partition")
    account: Word | None = Field(None, description="who pays")
    qos: Word | None = Field(None, description="quality of service")
    constraint: Line | None = Field(None, description="node features, such as 'a100&ib'")
    reservation: Word | None = Field(None, description="a reservation's name")
    exclusive: bool = Field(False, description="whole nodes; a run still uses what it asked for")
    gpu_request: GpuRequest = Field(GpuRequest.GRES, description="the option that asks for GPUs")
    gpu_type: Word | None = Field(None, description="GPU model as the cluster names it")
    mem_per_cpu_mb: Count | None = Field(None, description="memory per CPU, MB")
    memory_mb: Count | None = Field(None, description="memory per node, MB")
    max_running: Count | None = Field(None, description="tasks of one array that run at a time")
    max_array_size: Count | None = Field(
        None, description="runs in one array; null: as many as the cluster allows"
    )
    requeue: bool = Field(True, description="may a run be stopped and started again by Slurm")
    max_requeues: Count = Field(
        20, description="times that a run which nears its time limit puts itself back in the queue"
    )
    warning_s: Count = Field(120, description="notice before the time limit, s: to checkpoint in")
    interface: Word | None = Field(None, description="network interface between nodes, such as ib0")
    dask_time_limit_min: Count | None = Field(
        None, description="time limit of a Dask worker's job, minutes; null: as the run's"
    )
    dask_memory_mb: Count | None = Field(
        None, description="memory of a Dask worker's job, MB; null: one CPU's mem_per_cpu_mb"
    )
    dask_wait_s: Count = Field(
        600, description="how long Dask waits for all its workers' jobs to start, s"
    )
    cpu_bind: Word | None = Field(None, description="srun's --cpu-bind, such as cores")
    srun_options: list[Option] = Field(default=[], description="more options of srun")
    extra_directives: list[Option] = Field(default=[], description="more #SBATCH lines")
    without_cuda: WithoutCuda = Field(
        WithoutCuda.SKIP, description="what GPU runs do on nodes where torch finds no CUDA"
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.mem_per_cpu_mb is not None and self.memory_mb is not None:
            raise ValueError("mem_per_cpu_mb and memory_mb exclude each other")
        return self

    def partition_for(self, gpus: int) -> str | None:
        """Where a run that asks for ``gpus`` GPUs a node goes; None: the cluster's default."""
        return (self.gpu_partition if gpus else self.cpu_partition) or self.partition


Name = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
"""The name of an environment variable."""


class SiteProfile(Section):
    """One machine or cluster."""

    name: Line = Field("local", description="the site's name")
    about: str = Field("", description="what it is, in a sentence")
    python: Line = Field(default=sys.executable, description="the interpreter that runs stages")
    modules: list[Line] = Field(default=[], description="environment modules to load")
    setup: list[Line] = Field(
        default=[], description="shell lines run first in every job, such as source activate"
    )
    environment: dict[Name, Line] = Field(
        default={},
        description="variables set for every run, baselines included, over the package's own",
    )
    oversubscribe: bool = Field(
        False, description="local executor: run what asks for more CPUs than there are"
    )
    slurm: SlurmSite = Field(
        SlurmSite(), description="how jobs are asked for, where there is Slurm"
    )

    def on(self, partition: str | None, cpu_partition: str | None) -> "SiteProfile":
        """This site with runs sent to ``partition``, those without GPUs to ``cpu_partition``.

        None leaves what the profile says; ``partition`` alone is for all runs.
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
