"""Who this process is among the run's processes, and what it computes on."""

import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from weather_hpc.errors import UserError
from weather_hpc.study.spec import Device, Strategy, TrainTask

LAUNCHED_BY_TORCHRUN = (Strategy.DDP, Strategy.MODEL)

SHARED_MEMORY = "WEATHER_HPC_SHARED_MEMORY"
"""The variable that says ``off``, to rank 0, where ranks of one host are to use gloo."""


class Unavailable(Exception):  # noqa: N818 - no error: the run is skipped
    """This machine lacks what the run asks for; the text says what."""


@dataclass(frozen=True)
class World:
    """The processes of a run, as torchrun tells each of them."""

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    local_size: int = 1
    launched: bool = False
    """Whether torchrun started this process."""


def world_from(environment: Mapping[str, str] = os.environ) -> World:
    """The world that torchrun's variables describe; without them, this process alone.

    Raises UserError where one of them is missing or not a number.
    """
    if "RANK" not in environment and "WORLD_SIZE" not in environment:
        return World()
    try:
        return World(
            rank=int(environment["RANK"]),
            size=int(environment["WORLD_SIZE"]),
            local_rank=int(environment["LOCAL_RANK"]),
            local_size=int(environment["LOCAL_WORLD_SIZE"]),
            launched=True,
        )
    except (KeyError, ValueError) as error:
        raise UserError(
            f"environment: torchrun's variables RANK, WORLD_SIZE, LOCAL_RANK and LOCAL_WORLD_SIZE "
            f"are not all set to numbers ({error}); start with torchrun or unset them"
        ) from None


def torchrun(nodes: int, ranks_per_node: int) -> list[str]:
    """torchrun on each of ``nodes``, for an interpreter; the module with its options comes after.

    One node finds a free port by itself; more of them are told rank, address and port. The script
    passes those three in torchrun's own variables, ``PET_<OPTION>``.
    """
    meet = ["--standalone"] if nodes == 1 else [f"--nnodes={nodes}", "--rdzv-backend=static"]
    return ["-m", "torch.distributed.run", *meet, f"--nproc-per-node={ranks_per_node}"]


def check_world(task: TrainTask, world: World, argv: Sequence[str]) -> None:
    """Raise UserError where this process was not started as ``task`` needs it."""
    processes = task.world_size if task.strategy in LAUNCHED_BY_TORCHRUN else 1
    if world.size == processes:
        return
    if not world.launched:
        command = shlex.join(
            ["python", "-m", "torch.distributed.run", "--standalone",
             "--nproc-per-node", str(processes), "-m", "weather_hpc.train", *argv]
        )  # fmt: skip
        raise UserError(
            f"--strategy {task.strategy} with --world-size {processes} is started by torchrun: "
            f"{command}"
        )
    raise UserError(
        f"--strategy {task.strategy} with --world-size {task.world_size} is {processes} "
        f"processes; torchrun started {world.size}"
    )


def lacking_gpus(needed: int, gpus: int, why: str | None) -> str:
    """What is said where ``needed`` GPUs are not there; ``why`` tells why none can be used."""
    return f"asks for {needed} CUDA GPUs; this machine has {gpus}" + (f": {why}" if why else "")


def choose_device(
    task: TrainTask,
    world: World,
    gpus: int,
    why: str | None = None,
    *,
    fall_back: bool = False,
) -> Device:
    """CPU or CUDA for ``task`` on a machine with ``gpus`` CUDA GPUs; ``why`` it has none.

    Raises Unavailable where CUDA is asked for and missing, unless ``fall_back`` allows the CPU.
    DataParallel does nothing without CUDA, so it never falls back.
    """
    if task.device is Device.CPU and task.strategy is not Strategy.DP:
        return Device.CPU
    if task.device is Device.CPU:
        raise Unavailable("DataParallel spreads work over CUDA GPUs only; on a CPU it does nothing")
    needed = task.world_size if task.strategy is Strategy.DP else world.local_size
    if gpus >= needed:
        return Device.CUDA
    if task.strategy is not Strategy.DP and (task.device is Device.AUTO or fall_back):
        return Device.CPU
    raise Unavailable(lacking_gpus(needed, gpus, why))
