"""Rendering sbatch scripts: one job array for each shape of job, and the collecting job."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from weather_hpc.launch.script import gpu_options, quote
from weather_hpc.runs.paths import StudyPaths
from weather_hpc.study.site import SiteProfile
from weather_hpc.study.slurm_site import SlurmSite
from weather_hpc.study.spec import Resources, RunSpec, Stage

COLLECT = Resources(time_limit_min=30)
"""What the job asks for that turns what came back into tables."""


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


def chunks(specs: Sequence[RunSpec], size: int) -> Iterator[Sequence[RunSpec]]:
    """``specs`` in pieces of at most ``size``: arrays may hold MaxArraySize tasks each."""
    for start in range(0, len(specs), size):
        yield specs[start : start + size]


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


def array_script(
    shape: Shape, specs: Sequence[RunSpec], token: str, paths: StudyPaths, site: SiteProfile
) -> str:
    """The sbatch script of an array: task ``i`` runs the script of ``specs[i]``."""
    log = f"{pattern_path(paths)}/%A_%a.log"
    asked = directives(shape, job_name(specs[0].study, token), log, site.slurm)
    asked.append(array_option(len(specs), site.slurm))
    cases = [f"{index}) run={spec.run_id} ;;" for index, spec in enumerate(specs)]
    return "\n".join(
        [
            _sbatch_head(asked, f"array of {len(specs)}: {shape.label}"),
            'case "$SLURM_ARRAY_TASK_ID" in',
            *cases,
            '*) echo "no run has index $SLURM_ARRAY_TASK_ID" >&2; exit 1 ;;',
            "esac",
            f'exec bash {quote(str(paths.jobs))}/"$run.sh"',
            "",
        ]
    )


def collect_script(study: str, token: str, paths: StudyPaths, site: SiteProfile) -> str:
    """The sbatch script of the job that comes last and collects."""
    root = quote(str(paths.root))
    shape = Shape(Stage.PREPARE, COLLECT, site.slurm.partition_for(0))
    asked = directives(shape, job_name(study, token), f"{pattern_path(paths)}/%j.log", site.slurm)
    return "\n".join(
        [
            _sbatch_head(asked, f"collects study {study} once all its jobs have ended"),
            *(f"module load {quote(module)}" for module in site.modules),
            *site.setup,
            f"exec {quote(site.python)} -m weather_hpc.collect {root}",
            "",
        ]
    )


def pattern_path(paths: StudyPaths) -> str:
    """The log folder for sbatch, which takes ``%`` for a pattern unless it is doubled."""
    return str(paths.job_logs).replace("%", "%%")


def _sbatch_head(asked: Sequence[str], about: str) -> str:
    # sbatch reads values as a shell reads words, so a shell's quoting serves
    lines = [f"#SBATCH {quote(option)}" for option in asked]
    return "\n".join(["#!/usr/bin/env bash", *lines, f"# {about}; written by weather_hpc", ""])
