"""What runs ask of Slurm: the shape of a job and its options, quoted for a shell."""

import shlex
from collections.abc import Iterable
from dataclasses import dataclass

from weather_hpc.errors import UserError
from weather_hpc.runs.paths import StudyPaths
from weather_hpc.study.slurm_site import GpuRequest, SlurmSite
from weather_hpc.study.spec import Resources, RunSpec, Stage


class Shell(str):
    """A word that a script's shell is to expand: :func:`quote` leaves it as it is."""

    __slots__ = ()


def quote(text: str) -> str:
    """``text`` as one word of a shell. Raises UserError on a line break, which no path needs."""
    if isinstance(text, Shell):
        return text
    if any(sign in text for sign in "\r\n\0"):
        raise UserError(f"{text!r}: a line break cannot be part of a job script")
    return shlex.quote(text)


def gpu_options(asked: Resources, slurm: SlurmSite) -> list[str]:
    """The option that asks for a run's GPUs, for sbatch and srun alike.

    srun needs it where jobs have whole nodes: they get every GPU, the step what it asks for.
    """
    if not asked.gpus_per_node:
        return []
    model = f"{slurm.gpu_type}:" if slurm.gpu_type else ""
    if slurm.gpu_request is GpuRequest.GRES:
        return [f"--gres=gpu:{model}{asked.gpus_per_node}"]
    return [f"--gpus-per-node={model}{asked.gpus_per_node}"]


@dataclass(frozen=True)
class Shape:
    """What the runs of one array have in common: what they ask for, and where."""

    stage: Stage
    resources: Resources
    partition: str | None

    @property
    def label(self) -> str:
        """``train 1 node x 2 CPUs x 4 GPUs``, for people."""
        asked = self.resources
        gpus = f" x {asked.gpus_per_node} GPUs" if asked.gpus_per_node else ""
        nodes = f"{asked.nodes} node" + ("s" if asked.nodes > 1 else "")
        return f"{self.stage} {nodes} x {asked.cpus_per_node} CPUs{gpus}"


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
    """The name that finds a submission again in the queue: its token is like no other's."""
    return f"whpc-{study}-{token}"


def directives(shape: Shape, name: str, log: str, slurm: SlurmSite) -> list[str]:
    """The options of a job as sbatch takes them. ``log``: the file pattern for its output."""
    asked = shape.resources
    # on a short job half its time must do: the warning may not come before the job
    warning = min(slurm.warning_s, asked.time_limit_min * 30)
    named = {
        "job-name": name,
        "partition": shape.partition,
        "account": slurm.account,
        "qos": slurm.qos,
        "constraint": slurm.constraint,
        "reservation": slurm.reservation,
        "nodes": asked.nodes,
        "ntasks-per-node": 1,
        "cpus-per-task": asked.cpus_per_node,
        "mem-per-cpu": None if slurm.mem_per_cpu_mb is None else f"{slurm.mem_per_cpu_mb}M",
        "mem": None if slurm.memory_mb is None else f"{slurm.memory_mb}M",
        "time": asked.time_limit_min,
        "output": log,
        "error": log,
        "open-mode": "append",
        "signal": f"B:USR1@{warning}",
    }
    found = [f"--{key}={value}" for key, value in named.items() if value is not None]
    found += gpu_options(asked, slurm)
    if slurm.exclusive:
        found.append("--exclusive")
    found.append("--requeue" if slurm.requeue else "--no-requeue")
    return found + slurm.extra_directives


def array_option(count: int, slurm: SlurmSite) -> str:
    """The option for an array of ``count`` tasks; one is an array as well."""
    at_a_time = f"%{slurm.max_running}" if slurm.max_running else ""
    return f"--array=0-{count - 1}{at_a_time}"


def pattern_path(paths: StudyPaths) -> str:
    """The log folder for sbatch, which takes ``%`` for a pattern unless it is doubled."""
    return str(paths.job_logs).replace("%", "%%")
