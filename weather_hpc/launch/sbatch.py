"""Rendering sbatch scripts: one job array for each shape of job, and the collecting job."""

from collections.abc import Iterator, Sequence

from weather_hpc.runs.paths import StudyPaths
from weather_hpc.slurm.directives import (
    Shape,
    array_option,
    directives,
    job_name,
    pattern_path,
    quote,
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
