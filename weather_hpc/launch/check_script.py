"""Rendering the scripts of ``sweep check``: the check verb, where a study's runs would be made."""

from collections.abc import Iterable
from dataclasses import dataclass

from weather_hpc.errors import UserError
from weather_hpc.launch.command import submits_workers
from weather_hpc.launch.script import command_lines, meeting, prelude, srun
from weather_hpc.runs.paths import StudyPaths
from weather_hpc.slurm.directives import directives, pattern_path, quote, shape_of
from weather_hpc.study.site import SiteProfile
from weather_hpc.study.spec import Resources, RunSpec
from weather_hpc.train.ranks import torchrun

HERE = "local"
"""The name of the check of this machine."""

TIME_LIMIT_MIN = 15
"""The verb stops by itself before ten minutes; starting it on a busy file system takes some."""


@dataclass(frozen=True)
class Check:
    """One check: its name, and a run of the study whose resources and environment it has."""

    name: str
    spec: RunSpec


def planned(specs: Iterable[RunSpec]) -> list[Check]:
    """The check of one node, and that of two where ``specs`` have runs of several.

    Each asks for what the largest of those runs asks for on a node. Raises UserError where no run
    is made on nodes of its own.
    """
    runs = [spec for spec in specs if not submits_workers(spec)]
    found = []
    if alone := [spec for spec in runs if spec.resources.nodes == 1]:
        found.append(Check("check_1node", _largest(alone, 1)))
    if together := [spec for spec in runs if spec.resources.nodes > 1]:
        found.append(Check("check_2node", _largest(together, 2)))
    if not found:
        raise UserError("no run of the study can be made here, so there is nothing to check for")
    return found


def _largest(specs: Iterable[RunSpec], nodes: int) -> RunSpec:
    spec = max(specs, key=lambda s: (s.resources.gpus_per_node, s.resources.cpus_per_node))
    asked = {"nodes": nodes, "time_limit_min": TIME_LIMIT_MIN}
    return spec.model_copy(update={"resources": spec.resources.model_copy(update=asked)})


def check_command(asked: Resources, python: str, out: str) -> list[str]:
    """The argument list that checks the nodes ``asked`` for, on each of them.

    On one node the verb starts ranks as it needs them. On several torchrun starts it, one rank for
    each GPU, or without GPUs two on a node, so that some meet on a node and some between nodes.
    """
    launcher = []
    if asked.nodes > 1:
        launcher = torchrun(asked.nodes, asked.gpus_per_node or min(2, asked.cpus_per_node))
    device = [] if asked.gpus_per_node else ["--device", "cpu"]
    return [python, *launcher, "-m", "weather_hpc.check", *device, "--out", out]


def local_script(check: Check, paths: StudyPaths, site: SiteProfile) -> str:
    """The script that checks this machine; it runs by hand as well."""
    head = ["#!/usr/bin/env bash", "# checks this machine, written by weather_hpc"]
    return "\n".join([*head, *_body(check, HERE, paths, site), ""])


def job_script(check: Check, job: str, paths: StudyPaths, site: SiteProfile) -> str:
    """The sbatch script, for a job called ``job``."""
    shape, log = shape_of(check.spec, site.slurm), f"{pattern_path(paths)}/%j.log"
    head = [
        "#!/usr/bin/env bash",
        *(f"#SBATCH {quote(option)}" for option in directives(shape, job, log, site.slurm)),
        f"# {check.name}: {shape.label}; written by weather_hpc",
    ]
    step = command_lines(srun(check.spec, site.slurm))
    return "\n".join([*head, *_body(check, check.name, paths, site, step), ""])


def _body(
    check: Check, name: str, paths: StudyPaths, site: SiteProfile, step: str | None = None
) -> list[str]:
    argv = check_command(check.spec.resources, site.python, str(paths.check(name).root))
    command = " \\\n    ".join(filter(None, [step, command_lines(argv)]))
    return [
        "set -uo pipefail",
        *prelude(check.spec, site),
        "",
        *meeting(check.spec),
        f"exec {command}",
    ]
