"""What runs request of Slurm: the shape of a job and its options, quoted for a shell."""

import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple, Self

from weather_hpc.errors import UserError
from weather_hpc.runs.paths import StudyPaths
from weather_hpc.study.site import GpuRequest, SlurmSite
from weather_hpc.study.spec import Resources, RunSpec, Stage
from weather_hpc.text import counted


class Shell(str):
    """A word that the script's shell expands: :func:`quote` leaves it as it is."""

    __slots__ = ()


def quote(text: str) -> str:
    """``text`` as one word of a shell. Raises UserError on a line break, which no path needs."""
    if isinstance(text, Shell):
        return text
    if any(sign in text for sign in "\r\n\0"):
        raise UserError(f"{text!r}: a line break cannot be part of a job script")
    return shlex.quote(text)


class JobOption(NamedTuple):
    """One option of sbatch and srun; ``value`` is None where it takes none."""

    name: str
    """Without its dashes."""
    value: str | None = None

    def __str__(self) -> str:
        return f"--{self.name}" if self.value is None else f"--{self.name}={self.value}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """An option as a site file has it: ``--exclude=node7``."""
        name, equals, value = text.removeprefix("--").partition("=")
        return cls(name, value if equals else None)


def gpu_options(resources: Resources, slurm: SlurmSite) -> list[JobOption]:
    """The option that requests a run's GPUs, for sbatch and srun; empty where it needs none.

    srun needs it on whole nodes: the job has every GPU there, the step what it requests.
    """
    if not resources.gpus_per_node:
        return []
    model = f"{slurm.gpu_type}:" if slurm.gpu_type else ""
    kind = "gpu:" if slurm.gpu_request is GpuRequest.GRES else ""
    return [JobOption(slurm.gpu_request.value, f"{kind}{model}{resources.gpus_per_node}")]


@dataclass(frozen=True)
class Shape:
    """What the runs of one array have in common: stage, resources and partition."""

    stage: Stage
    resources: Resources
    partition: str | None

    @property
    def label(self) -> str:
        """``train 1 node x 2 CPUs x 4 GPUs``, for people."""
        resources = self.resources
        gpus = f" x {resources.gpus_per_node} GPUs" if resources.gpus_per_node else ""
        nodes = counted(resources.nodes, "node")
        return f"{self.stage} {nodes} x {resources.cpus_per_node} CPUs{gpus}"


def shape_of(spec: RunSpec, slurm: SlurmSite) -> Shape:
    """The shape of the job that ``spec`` runs in."""
    partition = slurm.partition_for(spec.resources.gpus_per_node)
    return Shape(spec.stage, spec.resources, partition)


def by_shape(specs: Iterable[RunSpec], slurm: SlurmSite) -> dict[Shape, list[RunSpec]]:
    """``specs`` by their shape; shapes and runs in the order in which they first come."""
    groups: dict[Shape, list[RunSpec]] = {}
    for spec in specs:
        groups.setdefault(shape_of(spec, slurm), []).append(spec)
    return groups


def job_name(study: str, token: str) -> str:
    """The name by which a submission is found in the queue: its token is unique."""
    return f"whpc-{study}-{token}"


def sbatch_options(
    shape: Shape, name: str, log: str | None, slurm: SlurmSite, warning: str = "USR1"
) -> list[JobOption]:
    """The options of a job called ``name``, in their order.

    ``log``: the file pattern for its output (None: no option). ``warning``: the signal that the
    batch shell gets ``warning_s`` before the time limit.
    """
    resources = shape.resources
    # on a short job half its time must do: the warning may not come before the job
    warning_s = min(slurm.warning_s, resources.time_limit_min * 30)
    values = {
        "job-name": name,
        "partition": shape.partition,
        "account": slurm.account,
        "qos": slurm.qos,
        "constraint": slurm.constraint,
        "reservation": slurm.reservation,
        "nodes": resources.nodes,
        "ntasks-per-node": 1,
        "cpus-per-task": resources.cpus_per_node,
        "mem-per-cpu": None if slurm.mem_per_cpu_mb is None else f"{slurm.mem_per_cpu_mb}M",
        "mem": None if slurm.memory_mb is None else f"{slurm.memory_mb}M",
        "time": resources.time_limit_min,
        "output": log,
        "error": log,
        "open-mode": None if log is None else "append",
        "signal": f"B:{warning}@{warning_s}",
    }
    options = [JobOption(key, str(value)) for key, value in values.items() if value is not None]
    options += gpu_options(resources, slurm)
    if slurm.exclusive:
        options.append(JobOption("exclusive"))
    options.append(JobOption("requeue" if slurm.requeue else "no-requeue"))
    return options + [JobOption.parse(text) for text in slurm.extra_directives]


def array_option(count: int, slurm: SlurmSite) -> JobOption:
    """The option for an array of ``count`` tasks; one task is an array too."""
    limit = f"%{slurm.max_running}" if slurm.max_running else ""
    return JobOption("array", f"0-{count - 1}{limit}")


def directive_lines(options: Iterable[JobOption]) -> list[str]:
    """``options`` as ``#SBATCH`` lines; sbatch reads values as a shell reads words."""
    return [f"#SBATCH {quote(str(option))}" for option in options]


def pattern_path(paths: StudyPaths) -> str:
    """The log folder for sbatch, which takes ``%`` for a pattern unless it is doubled."""
    return str(paths.job_logs).replace("%", "%%")
