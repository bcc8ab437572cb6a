"""Writes the folder ``jobs/``: an sbatch script for every configuration of the paper's study.

python -m weather_hpc.launch.jobs_folder jobs/
python -m weather_hpc.launch.jobs_folder my_jobs/ --site my_cluster.yaml
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from weather_hpc import cli

if TYPE_CHECKING:
    from weather_hpc.study.config import StudyConfig
    from weather_hpc.study.plan import Plan
    from weather_hpc.study.site import SiteProfile
    from weather_hpc.study.spec import RunSpec

STUDY = "paper"
JOBQUEUE_WORKERS = 8
"""Dask workers with a job each: as many as the study has on one node at most."""


def main(argv: Sequence[str] | None = None) -> int:
    """Write the scripts. Exit code 0; 1 where they cannot be written; 2 where the site is wrong."""
    parser = cli.Parser("launch.jobs_folder", description=__doc__)
    parser.add_argument("folder", type=Path, metavar="DIR", help="where the scripts go")
    parser.add_argument("--site", metavar="FILE", help="site YAML, or the name of a shipped one "
                        "(default: options that suit most clusters)")  # fmt: skip
    args = parser.parse_args(argv)
    from weather_hpc.files import replacing, write_text
    from weather_hpc.study.site import load_site

    scripts = jobs_folder(load_site(args.site))
    with replacing(args.folder) as folder:
        for name, text in scripts.items():
            write_text(folder / name, text)
    print(f"{len(scripts)} scripts in {args.folder}")
    return cli.EXIT_OK


def jobs_folder(site: "SiteProfile") -> dict[str, str]:
    """The text of every script, by its file's name."""
    from weather_hpc.launch.job_file import RESULTS_KINDS, check_file, job_file, results_file
    from weather_hpc.launch.sbatch import planned_checks

    study, plan = _study(site)
    scripts = {
        f"{name}.sbatch": job_file(name, specs, plan, study, site)
        for name, specs in by_name(plan.runs).items()
    }
    checks = {
        f"{check.name}.sbatch": check_file(check.name, check.spec, site)
        for check in planned_checks(plan.runs)
    }
    of_results = {f"{name}.sbatch": results_file(name, site) for name in RESULTS_KINDS}
    return scripts | checks | of_results


def by_name(specs: "Sequence[RunSpec]") -> "dict[str, list[RunSpec]]":
    """``specs`` by the name of their script: one for all batch sizes of a configuration."""
    scripts: dict[str, list[RunSpec]] = {}
    for spec in specs:
        scripts.setdefault(name_of(spec), []).append(spec)
    return scripts


def name_of(spec: "RunSpec") -> str:
    """The script's name: ``preprocess_dask_4cpu``, ``train_1gpu``, ``ddp_4gpu``, ``ddp_2node``."""
    from weather_hpc.study.tasks import (
        Backend,
        Device,
        EdaTask,
        PreprocessTask,
        Strategy,
        TrainTask,
    )

    task = spec.task
    if isinstance(task, PreprocessTask | EdaTask):
        if task.backend in (Backend.SEQUENTIAL, Backend.DASK_JOBQUEUE):
            return f"{spec.stage}_{task.backend.replace('-', '_')}"
        cpus = spec.resources.cpus_per_node
        workers = "" if cpus == task.workers else f"{task.workers}workers_"
        return f"{spec.stage}_{task.backend}_{workers}{cpus}cpu"
    if not isinstance(task, TrainTask):
        raise ValueError(f"there are no job files of stage {spec.stage}")
    if task.device is Device.CPU:
        alone = task.strategy is Strategy.SINGLE
        return "train_cpu" if alone else f"{task.strategy}_{task.world_size}cpu"
    if spec.resources.nodes > 1:
        return f"{task.strategy}_{spec.resources.nodes}node"
    strategy = "train" if task.strategy is Strategy.SINGLE else task.strategy
    return f"{strategy}_{task.world_size}gpu"


def _study(site: "SiteProfile") -> "tuple[StudyConfig, Plan]":
    """Preprocessing, exploration and training of the paper's study, each configuration once.

    And one more: Dask with a job for each worker.
    """
    from weather_hpc.study.config import PreprocessGrid, load_study
    from weather_hpc.study.plan import make_plan
    from weather_hpc.study.tasks import Backend

    study = load_study(STUDY)
    jobqueue = PreprocessGrid.model_validate(
        {"backend": Backend.DASK_JOBQUEUE, "workers": JOBQUEUE_WORKERS}
    )
    study = study.model_copy(
        update={
            "repeats": 1,
            "preprocess": [*study.preprocess, jobqueue],
            "array": [],
        }
    )
    return study, make_plan(study, "", site=site)


if __name__ == "__main__":
    cli.run("jobs_folder", main, sys.argv[1:])
