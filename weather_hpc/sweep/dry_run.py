"""The scripts that a sweep would write; nothing is written or run."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from weather_hpc.launch.local_executor import skip_reason, this_machine
from weather_hpc.launch.sbatch import array_script, chunks
from weather_hpc.launch.script import run_script, slurm_run_script
from weather_hpc.launch.submitit_executor import parameters, without_requeue
from weather_hpc.runs.paths import StudyPaths
from weather_hpc.slurm.cluster import DEFAULT_MAX_ARRAY_SIZE
from weather_hpc.slurm.directives import Shape, by_shape, job_name
from weather_hpc.study.plan import Plan
from weather_hpc.study.site import SiteProfile
from weather_hpc.study.spec import RunSpec


@dataclass(frozen=True)
class Script:
    """One script. ``run_id`` is None for one that starts other scripts."""

    path: Path
    text: str
    run_id: str | None = None
    skipped: str | None = None


def local(
    plan: Plan, specs: Sequence[RunSpec], paths: StudyPaths, site: SiteProfile
) -> Iterator[Script]:
    """The scripts that would run here, and why some runs would be skipped."""
    machine = this_machine(specs, site.python)
    for spec in specs:
        reason = skip_reason(spec, machine, site.oversubscribe)
        text = run_script(plan, spec, paths, site)
        yield Script(paths.script(spec.run_id), text, spec.run_id, reason)


def slurm(
    plan: Plan, specs: Sequence[RunSpec], paths: StudyPaths, site: SiteProfile
) -> Iterator[Script]:
    """The scripts that would be submitted. No Slurm is needed, so the nodes are not known."""
    for token, shape, chunk in _arrays(specs, site):
        yield Script(paths.array_script(token), array_script(shape, chunk, token, paths, site))
        yield from _runs(plan, chunk, paths, site)


def submitit(
    plan: Plan, specs: Sequence[RunSpec], paths: StudyPaths, site: SiteProfile
) -> Iterator[Script]:
    """The parameters that submitit would get, and the scripts. submitit is not needed."""
    for token, shape, chunk in _arrays(specs, site):
        values = parameters(shape, len(chunk), job_name(plan.study, token), [], site)
        yield Script(paths.submitit(token), json.dumps(values, indent=2))
        yield from _runs(plan, chunk, paths, without_requeue(site))


SCRIPTS = {"local": local, "slurm": slurm, "submitit": submitit}
"""By the executor's name."""


def _arrays(
    specs: Sequence[RunSpec], site: SiteProfile
) -> Iterator[tuple[str, Shape, Sequence[RunSpec]]]:
    """The arrays of a sweep, each with ``array<number>`` in place of its token."""
    size = site.slurm.max_array_size or DEFAULT_MAX_ARRAY_SIZE
    pieces = (
        (shape, chunk)
        for shape, group in by_shape(specs, site.slurm).items()
        for chunk in chunks(group, size)
    )
    for number, (shape, chunk) in enumerate(pieces, start=1):
        yield f"array{number}", shape, chunk


def _runs(
    plan: Plan, specs: Sequence[RunSpec], paths: StudyPaths, site: SiteProfile
) -> Iterator[Script]:
    for spec in specs:
        text = slurm_run_script(plan, spec, paths, site)
        yield Script(paths.script(spec.run_id), text, spec.run_id)
