"""Rendering sbatch scripts: job arrays of runs, the collecting job, checks of nodes."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from weather_hpc.errors import UserError
from weather_hpc.launch.claim import still_wanted
from weather_hpc.launch.command import check_command
from weather_hpc.launch.script import (
    SHEBANG,
    command_lines,
    module_lines,
    rendezvous_lines,
    setup_lines,
    srun,
)
from weather_hpc.runs.paths import StudyPaths
from weather_hpc.slurm.directives import (
    JobOption,
    Shape,
    array_option,
    directive_lines,
    job_name,
    pattern_path,
    quote,
    sbatch_options,
    shape_of,
)
from weather_hpc.study.site import SiteProfile, SlurmSite
from weather_hpc.study.spec import Resources, RunSpec, Stage

COLLECT = Resources(time_limit_min=30)
"""Resources of the job that turns records into tables."""

LOCAL_CHECK = "local"
"""The name of the check of this machine."""

CHECK_TIME_LIMIT_MIN = 15
"""The verb ends by itself within ten minutes; its start on a busy file system takes longer."""


def chunks(specs: Sequence[RunSpec], size: int) -> Iterator[Sequence[RunSpec]]:
    """``specs`` in pieces of at most ``size``: an array may have MaxArraySize tasks."""
    for start in range(0, len(specs), size):
        yield specs[start : start + size]


def array_script(
    shape: Shape, specs: Sequence[RunSpec], token: str, paths: StudyPaths, site: SiteProfile
) -> str:
    """The sbatch script of an array: task ``i`` runs the script of ``specs[i]``."""
    log = f"{pattern_path(paths)}/%A_%a.log"
    options = sbatch_options(shape, job_name(specs[0].study, token), log, site.slurm)
    options.append(array_option(len(specs), site.slurm))
    return "\n".join(
        [
            *_head(options, f"array of {len(specs)}: {shape.label}"),
            'case "$SLURM_ARRAY_TASK_ID" in',
            *(f"{index}) run={spec.run_id} ;;" for index, spec in enumerate(specs)),
            '*) echo "no run has index $SLURM_ARRAY_TASK_ID" >&2; exit 1 ;;',
            "esac",
            f'exec bash {quote(str(paths.jobs))}/"$run.sh" {token}',
            "",
        ]
    )


def collect_script(study: str, token: str, paths: StudyPaths, site: SiteProfile) -> str:
    """The sbatch script of the job that comes last and collects."""
    shape = Shape(Stage.PREPARE, COLLECT, site.slurm.partition_for(0))
    log = f"{pattern_path(paths)}/%j.log"
    options = sbatch_options(shape, job_name(study, token), log, _once(site))
    return "\n".join(
        [
            *_head(options, f"collects study {study} once all its jobs have ended"),
            still_wanted(token, paths),
            *module_lines(site),
            f"exec {quote(site.python)} -m weather_hpc.collect {quote(str(paths.root))}",
            "",
        ]
    )


def _once(site: SiteProfile) -> SlurmSite:
    """The site's options for a job that is not requeued: its time limit bounds its cost."""
    return site.slurm.model_copy(update={"requeue": False})


@dataclass(frozen=True)
class CheckJob:
    """A check of nodes, and a run of the study whose resources and environment it uses."""

    name: str
    spec: RunSpec


def planned_checks(specs: Iterable[RunSpec]) -> list[CheckJob]:
    """A check of one node, and one of two nodes where ``specs`` have runs on several.

    Each requests what the largest of those runs requests of a node. Raises UserError where no run
    computes on the nodes of its own job.
    """
    runs = [spec for spec in specs if not spec.submits_workers]
    checks = []
    if one_node := [spec for spec in runs if spec.resources.nodes == 1]:
        checks.append(CheckJob("check_1node", _largest(one_node, 1)))
    if several_nodes := [spec for spec in runs if spec.resources.nodes > 1]:
        checks.append(CheckJob("check_2node", _largest(several_nodes, 2)))
    if not checks:
        raise UserError("no run of the study can run here, so there is nothing to check")
    return checks


def _largest(specs: Iterable[RunSpec], nodes: int) -> RunSpec:
    spec = max(specs, key=lambda s: (s.resources.gpus_per_node, s.resources.cpus_per_node))
    changes = {"nodes": nodes, "time_limit_min": CHECK_TIME_LIMIT_MIN}
    return spec.model_copy(update={"resources": spec.resources.model_copy(update=changes)})


def local_check_script(check: CheckJob, paths: StudyPaths, site: SiteProfile) -> str:
    """The script that checks this machine; it can be run by hand too."""
    head = [SHEBANG, "# checks this machine; written by weather_hpc"]
    return "\n".join([*head, *_check_lines(check, LOCAL_CHECK, [], paths, site), ""])


def check_script(
    check: CheckJob, job: str, token: str, paths: StudyPaths, site: SiteProfile
) -> str:
    """The sbatch script of ``check``, for a job called ``job`` of the submission ``token``."""
    shape, log = shape_of(check.spec, site.slurm), f"{pattern_path(paths)}/%j.log"
    head = _head(sbatch_options(shape, job, log, _once(site)), f"{check.name}: {shape.label}")
    step = [command_lines(srun(check.spec, site.slurm))]
    lines = _check_lines(check, check.name, step, paths, site)
    return "\n".join([*head, still_wanted(token, paths), *lines, ""])


def _check_lines(
    check: CheckJob, name: str, step: list[str], paths: StudyPaths, site: SiteProfile
) -> list[str]:
    out = str(paths.check(name).root)
    argv = check_command(check.spec.resources, site.python, out)
    return [
        "set -uo pipefail",
        *setup_lines(check.spec, site),
        "",
        *rendezvous_lines(check.spec, quote(site.python), quote(out)),
        "exec " + " \\\n    ".join([*step, command_lines(argv)]),
    ]


def _head(options: Iterable[JobOption], about: str) -> list[str]:
    return [SHEBANG, *directive_lines(options), f"# {about}; written by weather_hpc", ""]
