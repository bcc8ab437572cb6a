"""The scripts that a sweep would write, without writing or running anything."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from weather_hpc.launch.cluster import DEFAULT_MAX_ARRAY_SIZE
from weather_hpc.launch.machine import skip_reason, this_machine
from weather_hpc.launch.sbatch import array_script, by_shape, chunks
from weather_hpc.launch.script import run_script, slurm_run_script
from weather_hpc.paths import StudyPaths
from weather_hpc.study.plan import Plan
from weather_hpc.study.site import SiteProfile
from weather_hpc.study.spec import RunSpec


@dataclass(frozen=True)
class Script:
    """One script. ``run_id`` is None for one that starts others."""

    path: Path
    text: str
    run_id: str | None = None
    skipped: str | None = None


def local(
    plan: Plan, specs: Sequence[RunSpec], paths: StudyPaths, site: SiteProfile
) -> Iterator[Script]:
    """What would be run here, and what would be skipped and why."""
    machine = this_machine(specs, site.python)
    for spec in specs:
        reason = skip_reason(spec, machine, site.oversubscribe)
        text = run_script(plan, spec, paths, site)
        yield Script(paths.script(spec.run_id), text, spec.run_id, reason)


def slurm(
    plan: Plan, specs: Sequence[RunSpec], paths: StudyPaths, site: SiteProfile
) -> Iterator[Script]:
    """What would be submitted; needs no Slurm, so nothing is known of what nodes can hold."""
    size = site.slurm.max_array_size or DEFAULT_MAX_ARRAY_SIZE
    number = 0
    for shape, group in by_shape(specs, site.slurm).items():
        for chunk in chunks(group, size):
            number += 1
            token = f"array{number}"
            yield Script(paths.array_script(token), array_script(shape, chunk, token, paths, site))
            for spec in chunk:
                text = slurm_run_script(plan, spec, paths, site)
                yield Script(paths.script(spec.run_id), text, spec.run_id)
