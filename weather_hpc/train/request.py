"""What the command line asks for, checked, before anything heavy is imported."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from weather_hpc.dataset.image_file import printable
from weather_hpc.dataset.store import Store
from weather_hpc.errors import UserError
from weather_hpc.runs.paths import RunPaths
from weather_hpc.runs.record import RunRecord, Status, read_record
from weather_hpc.runs.writer import read_spec
from weather_hpc.study.flags import check_agreement, given, make_task
from weather_hpc.study.spec import (
    Device,
    Resources,
    RunSpec,
    Stage,
    Strategy,
    TrainTask,
)
from weather_hpc.train.ranks import World, check_world, world_from


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
    if args.resume and args.run_dir is None:
        raise UserError("--resume needs --run-dir: the folder that holds the checkpoint")
    if args.evaluate_every < 0:
        raise UserError(f"--evaluate-every {args.evaluate_every}: must be 0 or more")
    store = Store.open(args.store)
    spec, task = _spec_and_task(args, store, world)
    check_world(task, world, argv)
    return Request(
        spec=spec,
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
    if record.spec.key != request.spec.key:
        others = ", ".join(record.spec.differences(request.spec))
        raise UserError(
            f"{request.run_dir}: holds another run, which differs in {others}; "
            "choose another --run-dir, or leave out --resume to begin anew"
        )
    return record if record.status is Status.OK else None


def _spec_and_task(
    args: argparse.Namespace, store: Store, world: World
) -> tuple[RunSpec, TrainTask]:
    """The launcher's spec where it left one in the run folder, else one made from the flags.

    Raises UserError naming the flag that is out of range, or other than the spec.
    """
    values = given(args, "train") | {"image_size": store.size}
    spec = read_spec(args.run_dir)
    if spec is not None:
        if not isinstance(spec.task, TrainTask):
            raise UserError(f"{args.run_dir}: its spec.json asks for preprocessing, not training")
        check_agreement(spec.task, values, f"{args.run_dir}/spec.json")
        return spec, spec.task
    task = make_task(TrainTask, {"strategy": "single", "world_size": world.size} | values)
    nodes = max(1, world.size // world.local_size)
    on_gpus = task.device is Device.CUDA or task.strategy is Strategy.DP
    spec = RunSpec(
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
    return spec, task


def differences(there: dict[str, Any], here: dict[str, Any]) -> str:
    """``batch_size 32 there, 64 here; ...``; empty where both are equal."""
    names = [name for name in here | there if there.get(name) != here.get(name)]
    return "; ".join(f"{name} {there.get(name)} there, {here.get(name)} here" for name in names)
