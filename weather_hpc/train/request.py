"""What the command line asks for, checked, before anything heavy is imported."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from weather_hpc.dataset.names import printable
from weather_hpc.dataset.store import Store
from weather_hpc.errors import UserError
from weather_hpc.runs.paths import RunPaths
from weather_hpc.runs.record import RunRecord, Status, read_record
from weather_hpc.runs.writer import read_spec
from weather_hpc.study.spec import (
    BatchMode,
    BatchNorm,
    Device,
    Execution,
    MemoryFormat,
    Precision,
    Resources,
    RunSpec,
    Stage,
    Strategy,
    TrainTask,
)
from weather_hpc.train.ranks import World, check_world, world_from

FLAGS = {"threads_per_rank": "threads", "learning_rate": "lr"}
"""Settings whose flag has another name."""


@dataclass(frozen=True)
class Request:
    """One run of the train verb."""

    spec: RunSpec
    task: TrainTask
    store: Store
    world: World
    run_dir: Path | None
    resume: bool
    evaluate_every: int
    """Evaluate on the held-out images after every so many epochs; 0: after the last alone."""
    fall_back: bool
    """Compute on the CPU where CUDA is asked for and there is none."""

    @property
    def paths(self) -> RunPaths | None:
        """The run's files, where it has a folder."""
        return None if self.run_dir is None else RunPaths(self.run_dir)

    @property
    def asked(self) -> dict[str, Any]:
        """What a checkpoint must have been asked for to be gone on with."""
        return self.task.model_dump(mode="json") | {"store checksum": self.store.checksum}


def make_request(args: argparse.Namespace, argv: Sequence[str]) -> Request:
    """The request that ``args`` make; ``argv`` are they as typed. Raises UserError."""
    world = world_from()
    choices: dict[str, type[StrEnum]] = {
        "strategy": Strategy, "device": Device, "batch_mode": BatchMode, "batch_norm": BatchNorm,
        "precision": Precision, "memory_format": MemoryFormat, "execution": Execution,
    }  # fmt: skip
    for name, kind in choices.items():
        _check_choice(name, getattr(args, name), kind)
    if args.resume and args.run_dir is None:
        raise UserError("--resume needs --run-dir: the folder that holds the checkpoint")
    if args.evaluate_every < 0:
        raise UserError(f"--evaluate-every {args.evaluate_every}: must be 0 or more")
    store = Store.open(args.store)
    task = _task(args, store, world)
    check_world(task, world, argv)
    return Request(
        spec=_spec(args, task, world),
        task=task,
        store=store,
        world=world,
        run_dir=args.run_dir,
        resume=args.resume,
        evaluate_every=args.evaluate_every,
        fall_back=args.without_cuda == "cpu",
    )


def already_done(request: Request) -> RunRecord | None:
    """The record of this very run where it is complete and --resume asks to go on with it.

    Raises UserError where the folder holds another run's.
    """
    if request.paths is None or not request.resume or not request.paths.record.exists():
        return None
    record = read_record(request.paths.record)
    if record.run_id != request.spec.run_id:
        raise UserError(
            f"{request.run_dir}: holds {record.run_id}, not {request.spec.run_id}; "
            "choose another --run-dir, or leave out --resume to begin anew"
        )
    return record if record.status is Status.OK else None


def _check_choice(name: str, value: str, kind: type[StrEnum]) -> None:
    known = [str(choice) for choice in kind]
    if value not in known:
        flag = name.replace("_", "-")
        raise UserError(f"--{flag} {value}: no such {flag}; known: {', '.join(known)}")


def _task(args: argparse.Namespace, store: Store, world: World) -> TrainTask:
    try:
        return TrainTask(
            strategy=args.strategy,
            device=args.device,
            world_size=world.size if args.world_size is None else args.world_size,
            threads_per_rank=args.threads,
            batch_size=args.batch_size,
            batch_mode=args.batch_mode,
            epochs=args.epochs,
            warmup_steps=args.warmup_steps,
            model=args.model,
            weights=args.weights,
            image_size=store.size,
            recipe=args.recipe,
            learning_rate=args.lr,
            batch_norm=args.batch_norm,
            precision=args.precision,
            memory_format=args.memory_format,
            execution=args.execution,
            seed=args.seed,
            images=args.images,
        )
    except ValidationError as error:
        first = error.errors()[0]
        if not first["loc"]:
            raise UserError(first["msg"].removeprefix("Value error, ")) from None
        name = str(first["loc"][0])
        flag = FLAGS.get(name, name.replace("_", "-"))
        raise UserError(f"--{flag} {first['input']}: {first['msg']}") from None


def _spec(args: argparse.Namespace, task: TrainTask, world: World) -> RunSpec:
    """The launcher's spec where it left one in the run folder, else one made from the flags."""
    spec = read_spec(args.run_dir)
    if spec is None:
        nodes = max(1, world.size // world.local_size)
        on_gpus = task.device is Device.CUDA or task.strategy is Strategy.DP
        return RunSpec(
            study="adhoc",
            stage=Stage.TRAIN,
            task=task,
            resources=Resources(
                nodes=nodes,
                cpus_per_node=task.threads_per_rank * world.local_size,
                gpus_per_node=task.world_size // nodes if on_gpus else 0,
            ),
            data=printable(str(args.store.absolute())),
        )
    if spec.task != task:
        other = differences(spec.task.model_dump(mode="json"), task.model_dump(mode="json"))
        raise UserError(f"{args.run_dir}: its spec.json asks for another run: {other}")
    return spec


def differences(there: dict[str, Any], here: dict[str, Any]) -> str:
    """``batch_size 32 there, 64 here; ...``; empty where both are equal."""
    names = [name for name in here | there if there.get(name) != here.get(name)]
    return "; ".join(f"{name} {there.get(name)} there, {here.get(name)} here" for name in names)
