"""RunSpec -> the command that runs it, as an argument list."""

from pathlib import Path

from weather_hpc.runs.paths import StudyPaths
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
from weather_hpc.train.world import torchrun


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
        flags = _preprocess_flags(spec, spec.task)
        if spec.stage is Stage.PREPARE:
            flags["--out"] = str(paths.store(plan.store_name))
        if site_file is not None and submits_workers(spec):
            flags["--site"] = str(site_file)
        argv = [python, "-m", "weather_hpc.preprocess"]
    else:
        flags = _train_flags(spec.task)
        if needs_cuda(spec.task) and without_cuda is not WithoutCuda.SKIP:
            flags["--without-cuda"] = without_cuda.value
        flags["--store"] = str(paths.store(plan.store_name))
        argv = [python]
        if spec.task.strategy in (Strategy.DDP, Strategy.MODEL):
            nodes = spec.resources.nodes
            argv += torchrun(nodes, spec.task.world_size // nodes)
        argv += ["-m", "weather_hpc.train"]
    argv += [part for flag, value in flags.items() for part in (flag, value)]
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


def _preprocess_flags(spec: RunSpec, task: PreprocessTask) -> dict[str, str]:
    flags = {
        "--data": spec.data,
        "--backend": task.backend.value,
        "--workers": str(task.workers),
        "--size": str(task.image_size),
        "--decoder": task.decoder.value,
    }
    if task.images is not None:
        flags["--images"] = str(task.images)
    return flags


def _train_flags(task: TrainTask) -> dict[str, str]:
    flags = {
        "--strategy": task.strategy.value,
        "--device": task.device.value,
        "--world-size": str(task.world_size),
        "--threads": str(task.threads_per_rank),
        "--batch-size": str(task.batch_size),
        "--batch-mode": task.batch_mode.value,
        "--epochs": str(task.epochs),
        "--warmup-steps": str(task.warmup_steps),
        "--model": task.model,
        "--recipe": task.recipe,
        "--batch-norm": task.batch_norm.value,
        "--precision": task.precision.value,
        "--memory-format": task.memory_format.value,
        "--execution": task.execution.value,
        "--seed": str(task.seed),
    }
    if task.weights is not None:
        flags["--weights"] = task.weights
    if task.learning_rate is not None:
        flags["--lr"] = repr(task.learning_rate)
    if task.images is not None:
        flags["--images"] = str(task.images)
    return flags


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
