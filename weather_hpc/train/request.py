"""What the command line requests, checked before torch is imported."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from weather_hpc.dataset.image_file import printable
from weather_hpc.dataset.store import Store
from weather_hpc.errors import UserError
from weather_hpc.runs.paths import RunPaths
from weather_hpc.runs.record import RunRecord, Status, read_record
from weather_hpc.runs.soundness import implausible
from weather_hpc.runs.writer import read_spec
from weather_hpc.study.flags import check_agreement, make_task
from weather_hpc.study.spec import Resources, RunSpec, Stage
from weather_hpc.study.tasks import Device, Strategy, TrainTask
from weather_hpc.train.again import DISCARD
from weather_hpc.train.exchange import rank_timeout_s
from weather_hpc.train.ranks import TorchrunEnv, check_launch


@dataclass(frozen=True)
class TrainOptions:
    """The verb's options."""

    store: Path
    settings: Mapping[str, Any]
    """The task's settings whose flags were given, by name (:mod:`weather_hpc.study.settings`)."""
    run_dir: Path | None
    resume: bool
    evaluate_every: int
    """Evaluate on the held-out images after every so many epochs; 0: only after the last."""
    fall_back: bool
    """Compute on the CPU where CUDA is requested and there is none."""
    prints_epochs: bool = False
    """Print a line for each rank and epoch."""
    discard: bool = False
    """Replace the checkpoint that the run folder holds."""


@dataclass(frozen=True)
class Request:
    """One run of the train verb."""

    spec: RunSpec
    task: TrainTask
    store: Store
    env: TorchrunEnv
    options: TrainOptions

    @property
    def paths(self) -> RunPaths | None:
        """The run's files, where it has a folder."""
        return None if self.options.run_dir is None else RunPaths(self.options.run_dir)

    @property
    def configuration(self) -> dict[str, Any]:
        """What a checkpoint must have been trained with for this run to resume from it."""
        return self.task.model_dump(mode="json") | {"store checksum": self.store.checksum}


def make_request(options: TrainOptions, argv: Sequence[str], env: TorchrunEnv) -> Request:
    """The request that ``options``, typed as ``argv``, make. Raises UserError."""
    rank_timeout_s()  # refuses a wrong one now
    if options.resume and options.run_dir is None:
        raise UserError("--resume needs --run-dir: the folder that holds the checkpoint")
    if options.discard and options.run_dir is None:
        raise UserError("--discard needs --run-dir: the folder whose checkpoint is replaced")
    if options.evaluate_every < 0:
        raise UserError(f"--evaluate-every {options.evaluate_every}: must be 0 or more")
    store = Store.open(options.store)
    spec, task = _spec_and_task(options, store, env)
    check_launch(task, env, argv)
    return Request(spec, task, store, env, options)


def already_done(request: Request) -> RunRecord | None:
    """This run's record where it is complete, valid, and --resume is given.

    Raises UserError where the folder holds another run.
    """
    if request.paths is None or not request.options.resume or not request.paths.record.exists():
        return None
    try:
        record = read_record(request.paths.record)
    except UserError:
        return None  # not a record: the run is made again
    if record.spec.key != request.spec.key:
        others = ", ".join(record.spec.differences(request.spec))
        raise UserError(
            f"{request.options.run_dir}: holds another run, which differs in {others}; "
            f"choose another --run-dir, or give {DISCARD} instead of --resume"
        )
    return record if record.status is Status.OK and implausible(record) is None else None


def _spec_and_task(
    options: TrainOptions, store: Store, env: TorchrunEnv
) -> tuple[RunSpec, TrainTask]:
    """The launcher's spec where it left one in the run folder, else one made from the flags.

    Raises UserError naming the flag that is out of range or differs from the spec.
    """
    values = {**options.settings, "image_size": store.size}
    spec = read_spec(options.run_dir)
    if spec is not None:
        if not isinstance(spec.task, TrainTask):
            raise UserError(f"{options.run_dir}: spec.json is for preprocessing, not training")
        check_agreement(spec.task, values, f"{options.run_dir}/spec.json")
        return spec, spec.task
    task = make_task(TrainTask, {"strategy": "single", "world_size": env.world_size} | values)
    nodes = max(1, env.world_size // env.local_world_size)
    on_gpus = task.device is Device.CUDA or task.strategy is Strategy.DP
    spec = RunSpec(
        study="adhoc",
        stage=Stage.TRAIN,
        task=task,
        resources=Resources(
            nodes=nodes,
            cpus_per_node=task.threads_per_rank * env.local_world_size,
            gpus_per_node=task.world_size // nodes if on_gpus else 0,
        ),
        data=printable(str(options.store.absolute())),
    )
    return spec, task


def differences(there: dict[str, Any], here: dict[str, Any]) -> str:
    """``batch_size 32 there, 64 here; ...``; empty where both are equal."""
    names = [name for name in here | there if there.get(name) != here.get(name)]
    return "; ".join(f"{name} {there.get(name)} there, {here.get(name)} here" for name in names)
