"""RunSpec -> the command that runs it, as an argument list."""

from pathlib import Path

from weather_hpc.runs.paths import StudyPaths
from weather_hpc.study.flags import task_flags
from weather_hpc.study.plan import Plan
from weather_hpc.study.site import WithoutCuda
from weather_hpc.study.spec import (
    Backend,
    Device,
    PreprocessTask,
    Resources,
    RunSpec,
    Stage,
    Strategy,
    TrainTask,
)
from weather_hpc.train.ranks import torchrun


def stage_command(
    plan: Plan,
    spec: RunSpec,
    paths: StudyPaths,
    python: str,
    without_cuda: WithoutCuda = WithoutCuda.SKIP,
    site_file: Path | None = None,
) -> list[str]:
    """The argument list that runs ``spec``, on each of its nodes, with files under ``paths``.

    torchrun starts DDP and model parallelism, also with one rank, so that the cost of a launch is
    the same at every world size. ``without_cuda``: what a CUDA run does where torch finds no CUDA.
    ``site_file``: the site, for a run that submits its workers' jobs.
    """
    run_dir = str(paths.run(spec.run_id).root)
    if isinstance(spec.task, PreprocessTask):
        argv = [python, "-m", "weather_hpc.preprocess", "--data", spec.data, *task_flags(spec.task)]
        if spec.stage is Stage.PREPARE:
            argv += ["--out", str(paths.store(plan.store_name))]
        if site_file is not None and submits_workers(spec):
            argv += ["--site", str(site_file)]
    else:
        argv = [python]
        if spec.task.strategy in (Strategy.DDP, Strategy.MODEL):
            nodes = spec.resources.nodes
            argv += torchrun(nodes, spec.task.world_size // nodes)
        # the image size is the store's
        argv += ["-m", "weather_hpc.train", *task_flags(spec.task, without=["image_size"])]
        if needs_cuda(spec.task) and without_cuda is not WithoutCuda.SKIP:
            argv += ["--without-cuda", without_cuda.value]
        argv += ["--store", str(paths.store(plan.store_name))]
    argv += ["--run-dir", run_dir]
    if spec.stage is Stage.PREPROCESS:
        argv.append("--discard")
    if spec.stage is Stage.TRAIN:
        argv.append("--resume")
    return argv


def submits_workers(spec: RunSpec) -> bool:
    """Whether the run's workers are jobs of their own."""
    task = spec.task
    return isinstance(task, PreprocessTask) and task.backend is Backend.DASK_JOBQUEUE


def needs_cuda(task: TrainTask) -> bool:
    """Whether the task can run on GPUs only."""
    return task.device is Device.CUDA or task.strategy is Strategy.DP


def check_command(resources: Resources, python: str, out: str) -> list[str]:
    """The argument list that checks nodes with ``resources``, on each of them.

    On one node the verb starts the ranks itself. On several, torchrun starts one rank for each
    GPU, or without GPUs two on a node, so that ranks share a node and others are on different ones.
    """
    launcher = []
    if resources.nodes > 1:
        ranks_per_node = resources.gpus_per_node or min(2, resources.cpus_per_node)
        launcher = torchrun(resources.nodes, ranks_per_node)
    device = [] if resources.gpus_per_node else ["--device", "cpu"]
    return [python, *launcher, "-m", "weather_hpc.check", *device, "--out", out]
