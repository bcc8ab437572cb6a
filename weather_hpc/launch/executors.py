"""Executors by name, which one to use here, and which runs it cannot make."""

import dataclasses
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, runtime_checkable

from weather_hpc.errors import UserError
from weather_hpc.launch import local_executor
from weather_hpc.launch.first_runs import FirstRuns
from weather_hpc.launch.local_executor import LocalExecutor
from weather_hpc.launch.slurm_executor import SlurmExecutor
from weather_hpc.launch.submitit_executor import SubmititExecutor
from weather_hpc.launch.watch import BetweenRuns
from weather_hpc.runs.paths import StudyPaths
from weather_hpc.runs.state import RunState
from weather_hpc.slurm import cluster
from weather_hpc.slurm.client import Slurm, unavailable
from weather_hpc.slurm.jobs import Job
from weather_hpc.study.plan import Plan
from weather_hpc.study.site import SiteProfile
from weather_hpc.study.spec import RunSpec
from weather_hpc.text import counted

AUTO = "auto"


class Executor(Protocol):
    """Runs the runs of one plan."""

    def active(self) -> Mapping[str, Job]:
        """The jobs of runs that are already queued or running, by run_id."""

    def run(self, specs: Sequence[RunSpec]) -> dict[str, RunState]:
        """Run or submit ``specs``, in their order; the state of each."""


@runtime_checkable
class Background(Executor, Protocol):
    """An executor whose runs continue after :meth:`run` has returned."""

    def leave(self) -> list[int]:
        """Arrange that results are collected after the last run; the ids of all open jobs."""

    def wait(self, specs: Sequence[RunSpec]) -> dict[str, RunState]:
        """Wait until all of ``specs`` have ended; the state of each."""


Make = Callable[[Plan, StudyPaths, SiteProfile, FirstRuns, BetweenRuns], Executor]

EXECUTORS: dict[str, Make] = {
    "slurm": SlurmExecutor,
    "submitit": SubmititExecutor,
    "local": LocalExecutor,
}


def choose(name: str, partition: str | None, needed: bool) -> str:
    """The name of the executor to use; ``auto`` is Slurm where it answers, else local.

    Prints its choice on stderr. Raises UserError where Slurm is named, or a partition given, and
    Slurm does not answer; unless it is not ``needed``, because scripts are only shown.
    """
    if name == "local":
        if partition is not None:
            raise UserError(f"--partition {partition} needs Slurm, not --executor local")
        return name
    by_slurm = "slurm" if name == AUTO else name
    if not needed and (name != AUTO or partition is not None):
        return by_slurm
    why_not = unavailable()
    if why_not is None:
        if name == AUTO:
            print("executor slurm: sbatch answers here", file=sys.stderr)
        return by_slurm
    if partition is not None:
        raise UserError(f"--partition {partition} needs Slurm: {why_not}")
    if name != AUTO:
        raise UserError(f"--executor {name}: {why_not}")
    print(f"executor local: {why_not}", file=sys.stderr)
    return "local"


def destinations(executor: str, specs: Sequence[RunSpec], site: SiteProfile) -> str | None:
    """The partitions of ``specs``, with and without GPUs, in a sentence; None where there are none.

    ``executor`` is its name: the local one has no partitions.
    """
    if executor == "local" or not specs:
        return None
    names: dict[str, str | None] = {}
    for spec in specs:
        gpus = spec.resources.gpus_per_node
        kind = "runs with GPUs" if gpus else "runs on CPUs"
        names[kind] = site.slurm.partition_for(gpus)
    where = ", ".join(
        f"{kind} go to {f'partition {name}' if name else 'the default partition'}"
        for kind, name in sorted(names.items(), reverse=True)
    )
    same = len(names) > 1 and len(set(names.values())) == 1
    return where + ("; --cpu-partition NAME sends those on CPUs elsewhere" if same else "")


def prepare_workers(executor: str, site: SiteProfile, most: int) -> int:
    """CPUs for the run that packs the store: ``most``, or what this process or a node has."""
    if executor == "local":
        return min(most, len(os.sched_getaffinity(0)))
    if unavailable() is not None:
        return most
    nodes = cluster.read_cluster(Slurm())
    return min(most, cluster.largest_node(nodes, site.slurm.partition_for(0)) or most)


def within(executor: str, plan: Plan, site: SiteProfile) -> Plan:
    """``plan`` on the machines of ``executor`` (its name).

    Runs that may be oversubscribed ask for no more CPUs than the largest node has, or this
    machine. Prints on stderr how many of them those are.
    """
    allowed = [spec for spec in plan.all if spec.resources.oversubscribe]
    if not allowed:
        return plan
    most = _most_cpus(executor, allowed, site)
    if most is None:
        asked = max(spec.resources.cpus_per_node for spec in allowed)
        print(
            "oversubscribe: a run that asks for more CPUs than a node has gets up to the largest "
            f"node's CPUs; Slurm does not answer here, so scripts ask for up to {asked}",
            file=sys.stderr,
        )
        return plan

    def fitted(spec: RunSpec) -> RunSpec:
        return spec.within(most.get(spec.run_id))

    prepare = None if plan.prepare is None else fitted(plan.prepare)
    fitting = dataclasses.replace(plan, prepare=prepare, runs=tuple(map(fitted, plan.runs)))
    if fewer := [new for new, old in zip(fitting.all, plan.all, strict=True) if new is not old]:
        cpus = ", ".join(map(str, sorted({spec.resources.cpus_per_node for spec in fewer})))
        print(
            f"oversubscribe: {counted(len(fewer), 'run')} would need more CPUs than a node has; "
            f"CPUs of the largest node: {cpus}",
            file=sys.stderr,
        )
    return fitting


def _most_cpus(
    executor: str, specs: Sequence[RunSpec], site: SiteProfile
) -> dict[str, int | None] | None:
    """The most CPUs that a node has for each run, by run_id; None where Slurm does not answer."""
    if executor == "local":
        here = len(os.sched_getaffinity(0))
        return {spec.run_id: here for spec in specs}
    if unavailable() is not None:
        return None
    nodes = cluster.read_cluster(Slurm())
    return {spec.run_id: cluster.most_cpus(spec, nodes, site) for spec in specs}


def skip_reasons(executor: str, specs: Sequence[RunSpec], site: SiteProfile) -> dict[str, str]:
    """Why some of ``specs`` cannot run with ``executor`` (its name), by run_id.

    Empty where Slurm does not answer, since nothing is known about its nodes.
    """
    reasons: dict[str, str | None] = {}
    if executor == "local":
        machine = local_executor.this_machine(specs, site.python)
        reasons = {s.run_id: local_executor.skip_reason(s, machine) for s in specs}
    elif unavailable() is None:
        nodes = cluster.read_cluster(Slurm())
        reasons = {s.run_id: cluster.skip_reason(s, nodes, site) for s in specs}
    return {run_id: reason for run_id, reason in reasons.items() if reason is not None}
