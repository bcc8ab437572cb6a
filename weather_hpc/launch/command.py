"""RunSpec -> the command that runs it, as an argument list."""

import math
from pathlib import Path

from weather_hpc.runs.paths import StudyPaths
from weather_hpc.study.flags import task_flags
from weather_hpc.study.plan import Plan
from weather_hpc.study.site import WithoutCuda
from weather_hpc.study.spec import Resources, RunSpec, Stage
from weather_hpc.study.tasks import (
    ArrayTask,
    Device,
    EdaTask,
    PredictTask,
    PreprocessTask,
    Strategy,
    TrainTask,
)
from weather_hpc.train.ranks import torchrun

MODULES = {"eda": ["weather_hpc.eda"], "array": ["weather_hpc.eda.array"]}
"""The modules that explore a store, by kind of task."""

MOST_EVALUATIONS = 10
"""A training run is evaluated on the way so many times at most: a curve needs no more, and each
costs a few per cent of an epoch, outside measured time."""


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
    task = spec.task
    if isinstance(task, PreprocessTask):
        argv = [python, "-m", "weather_hpc.preprocess", "--data", spec.data, *task_flags(task)]
        if spec.stage is Stage.PREPARE:
            argv += ["--out", str(paths.store(plan.store_name))]
    elif isinstance(task, EdaTask | ArrayTask):
        # the image size is the store's
        argv = [python, "-m", *MODULES[task.kind], *task_flags(task, without=["image_size"])]
        argv += ["--store", str(paths.store(plan.store_name))]
    elif isinstance(task, PredictTask):
        argv = [python, "-m", "weather_hpc.predict", "--best-of", str(paths.root)]
        argv += ["--device", "cpu"]  # its job has no GPU; here one may be in use
        return [*argv, "--run-dir", run_dir, task.new_images]
    else:
        argv = [python]
        if task.strategy in (Strategy.DDP, Strategy.MODEL):
            nodes = spec.resources.nodes
            argv += torchrun(nodes, task.world_size // nodes)
        # the image size is the store's
        argv += ["-m", "weather_hpc.train", *task_flags(task, without=["image_size"])]
        if task.epochs > 1:
            argv += ["--evaluate-every", str(math.ceil(task.epochs / MOST_EVALUATIONS))]
        if needs_cuda(task) and without_cuda is not WithoutCuda.SKIP:
            argv += ["--without-cuda", without_cuda.value]
        argv += ["--store", str(paths.store(plan.store_name))]
    if site_file is not None and spec.submits_workers:
        argv += ["--site", str(site_file)]
    argv += ["--run-dir", run_dir]
    if spec.stage is Stage.PREPROCESS:
        argv.append("--discard")
    if spec.stage is Stage.TRAIN:
        argv.append("--resume")
    return argv


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
