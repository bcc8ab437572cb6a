"""RunSpec -> the command that carries it out, as an argument list."""

from pathlib import Path

from weather_hpc.runs.paths import StudyPaths
from weather_hpc.study.flags import task_flags
from weather_hpc.study.plan import Plan
from weather_hpc.study.slurm_site import WithoutCuda
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

    DDP and model parallelism are started by torchrun, also with one rank, so that every world
    size carries the same cost of being launched. ``without_cuda``: what a run that asks for
    CUDA does where torch finds none. ``site_file``: what a run that submits jobs of its own reads
    the site from.
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
    """Whether the task is one for GPUs only."""
    return task.device is Device.CUDA or task.strategy is Strategy.DP


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
