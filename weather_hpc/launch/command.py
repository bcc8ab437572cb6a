"""RunSpec -> the command that carries it out, as an argument list."""

from weather_hpc.paths import StudyPaths
from weather_hpc.study.plan import Plan
from weather_hpc.study.spec import PreprocessTask, RunSpec, Stage, Strategy, TrainTask


def stage_command(plan: Plan, spec: RunSpec, paths: StudyPaths, python: str) -> list[str]:
    """The argument list that runs ``spec`` on one node, reading and writing under ``paths``.

    DDP and model parallelism are started by torchrun, also with one rank, so that every world
    size carries the same cost of being launched.
    """
    run_dir = str(paths.run(spec.run_id).root)
    if isinstance(spec.task, PreprocessTask):
        flags = _preprocess_flags(spec, spec.task)
        if spec.stage is Stage.PREPARE:
            flags["--out"] = str(paths.store(plan.store_name))
        argv = [python, "-m", "weather_hpc.preprocess"]
    else:
        flags = _train_flags(spec.task)
        flags["--store"] = str(paths.store(plan.store_name))
        argv = [python]
        if spec.task.strategy in (Strategy.DDP, Strategy.MODEL):
            ranks = spec.task.world_size // spec.resources.nodes
            argv += ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={ranks}"]
        argv += ["-m", "weather_hpc.train"]
    argv += [part for flag, value in flags.items() for part in (flag, value)]
    argv += ["--run-dir", run_dir]
    if spec.stage is Stage.PREPROCESS:
        argv.append("--discard")
    if spec.stage is Stage.TRAIN:
        argv.append("--resume")
    return argv


def _preprocess_flags(spec: RunSpec, task: PreprocessTask) -> dict[str, str]:
    flags = {
        "--data": spec.data,
        "--backend": task.backend.value,
        "--workers": str(task.workers),
        "--size": str(task.image_size),
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
        "--lr": repr(task.learning_rate),
        "--seed": str(task.seed),
    }
    if task.images is not None:
        flags["--images"] = str(task.images)
    return flags
