"""Rendering sbatch scripts: one job array for each shape of job, and the collecting job."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from weather_hpc.errors import UserError
from weather_hpc.launch.command import check_command, submits_workers
from weather_hpc.launch.script import command_lines, meeting, prelude, srun
from weather_hpc.runs.paths import StudyPaths
from weather_hpc.slurm.directives import (
    Shape,
    array_option,
    directives,
    job_name,
    pattern_path,
    quote,
    shape_of,
)
from weather_hpc.study.site import SiteProfile
from weather_hpc.study.spec import Resources, RunSpec, Stage

COLLECT = Resources(time_limit_min=30)
"""What the job asks for that turns what came back into tables."""


def chunks(specs: Sequence[RunSpec], size: int) -> Iterator[Sequence[RunSpec]]:
    """``specs`` in pieces of at most ``size``: arrays may hold MaxArraySize tasks each."""
    for start in range(0, len(specs), size):
        yield specs[start : start + size]


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


def _sbatch_head(asked: Sequence[str], about: str) -> str:
    # sbatch reads values as a shell reads words, so a shell's quoting serves
    lines = [f"#SBATCH {quote(option)}" for option in asked]
    return "\n".join(["#!/usr/bin/env bash", *lines, f"# {about}; written by weather_hpc", ""])


CHECK_HERE = "local"
"""The name of the check of this machine."""


CHECK_TIME_LIMIT_MIN = 15
"""The verb stops by itself before ten minutes; starting it on a busy file system takes some."""


@dataclass(frozen=True)
class Check:
    """One check: its name, and a run of the study whose resources and environment it has."""

    name: str
    spec: RunSpec


def planned_checks(specs: Iterable[RunSpec]) -> list[Check]:
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
    asked = {"nodes": nodes, "time_limit_min": CHECK_TIME_LIMIT_MIN}
    return spec.model_copy(update={"resources": spec.resources.model_copy(update=asked)})


def local_check_script(check: Check, paths: StudyPaths, site: SiteProfile) -> str:
    """The script that checks this machine; it runs by hand as well."""
    head = ["#!/usr/bin/env bash", "# checks this machine, written by weather_hpc"]
    return "\n".join([*head, *_check_body(check, CHECK_HERE, paths, site), ""])


def check_script(check: Check, job: str, paths: StudyPaths, site: SiteProfile) -> str:
    """The sbatch script, for a job called ``job``."""
    shape, log = shape_of(check.spec, site.slurm), f"{pattern_path(paths)}/%j.log"
    head = [
        "#!/usr/bin/env bash",
        *(f"#SBATCH {quote(option)}" for option in directives(shape, job, log, site.slurm)),
        f"# {check.name}: {shape.label}; written by weather_hpc",
    ]
    step = command_lines(srun(check.spec, site.slurm))
    return "\n".join([*head, *_check_body(check, check.name, paths, site, step), ""])


def _check_body(
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
