"""The ranks of a run: how torchrun starts them, and what each of them computes on.

Before they have a process group they meet at the launcher's store and exchange their host and
device: with one rank on a GPU and another on the CPU, each would wait for the other's gradients in
a different place, for ever. Importable without torch, since planning needs torchrun's command line.
"""

import os
import shlex
import socket
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any, Self

from weather_hpc.errors import UserError
from weather_hpc.study.tasks import Device, Strategy, TrainTask
from weather_hpc.text import counted
from weather_hpc.train.exchange import exchange

LAUNCHED_BY_TORCHRUN = (Strategy.DDP, Strategy.MODEL)

LAUNCHER = "weather_hpc.train.torchrun"
"""The module that starts ranks."""


SHARED_MEMORY = "WEATHER_HPC_SHARED_MEMORY"
"""The variable that, set to ``off`` for rank 0, makes ranks of one host use gloo."""


class Unavailable(Exception):  # noqa: N818 - no error: the run is skipped
    """This machine lacks what the run needs; the text says what."""


@dataclass(frozen=True)
class TorchrunEnv:
    """This process among those of the run, by the variables that torchrun sets."""

    rank: int = 0
    world_size: int = 1
    local_rank: int = 0
    local_world_size: int = 1
    launched: bool = False
    """Whether torchrun started this process."""


def torchrun_env(environment: Mapping[str, str] = os.environ) -> TorchrunEnv:
    """What torchrun's variables say; without them, a process that is alone.

    Raises UserError where one of them is missing or not a number.
    """
    if "RANK" not in environment and "WORLD_SIZE" not in environment:
        return TorchrunEnv()
    try:
        return TorchrunEnv(
            rank=int(environment["RANK"]),
            world_size=int(environment["WORLD_SIZE"]),
            local_rank=int(environment["LOCAL_RANK"]),
            local_world_size=int(environment["LOCAL_WORLD_SIZE"]),
            launched=True,
        )
    except (KeyError, ValueError) as error:
        raise UserError(
            f"environment: torchrun's variables RANK, WORLD_SIZE, LOCAL_RANK and LOCAL_WORLD_SIZE "
            f"are not all set to numbers ({error}); start with torchrun or unset them"
        ) from None


def torchrun(nodes: int, ranks_per_node: int) -> list[str]:
    """Arguments of Python that start torchrun on each of ``nodes``; the module's follow.

    Several nodes get their rank and the place where they meet from the job script, in variables
    (:mod:`weather_hpc.train.torchrun`).
    """
    several = [f"--nnodes={nodes}"] if nodes > 1 else []
    return ["-m", LAUNCHER, *several, f"--nproc-per-node={ranks_per_node}"]


def check_launch(task: TrainTask, env: TorchrunEnv, argv: Sequence[str]) -> None:
    """Raise UserError where this process was not started as ``task`` requires."""
    processes = task.world_size if task.strategy in LAUNCHED_BY_TORCHRUN else 1
    if env.world_size == processes:
        return
    if not env.launched:
        command = shlex.join(["python", *torchrun(1, processes), "-m", "weather_hpc.train", *argv])
        raise UserError(
            f"--strategy {task.strategy} with --world-size {processes} is started by torchrun: "
            f"{command}"
        )
    raise UserError(
        f"--strategy {task.strategy} with --world-size {task.world_size} is {processes} "
        f"processes; torchrun started {env.world_size}"
    )


def lacking_gpus(needed: int, gpus: int, why: str | None) -> str:
    """The message where there are fewer than ``needed`` GPUs; ``why``: why torch sees none."""
    asks = f"asks for {counted(needed, 'CUDA GPU')}"
    return f"{asks}; this machine has {gpus}" + (f": {why}" if why else "")


def choose_device(
    task: TrainTask,
    env: TorchrunEnv,
    gpus: int,
    why: str | None = None,
    *,
    fall_back: bool = False,
) -> Device:
    """CPU or CUDA for ``task`` on a machine with ``gpus`` CUDA GPUs; ``why``: why it has none.

    Raises Unavailable where CUDA is required and missing, unless ``fall_back`` allows the CPU.
    DataParallel does nothing without CUDA, so it never falls back.
    """
    if task.device is Device.CPU and task.strategy is not Strategy.DP:
        return Device.CPU
    if task.device is Device.CPU:
        raise Unavailable("DataParallel spreads work over CUDA GPUs only; on a CPU it does nothing")
    needed = task.world_size if task.strategy is Strategy.DP else env.local_world_size
    if gpus >= needed:
        return Device.CUDA
    if task.strategy is not Strategy.DP and (task.device is Device.AUTO or fall_back):
        return Device.CPU
    raise Unavailable(lacking_gpus(needed, gpus, why))


GROUP_MEETS = timedelta(minutes=30)
"""A process group that has not formed in this time has failed: torch's default."""

STORE_ANSWERS = timedelta(seconds=30)
"""A store that does not answer in this time has ended."""


@dataclass(frozen=True)
class Rank:
    """One process of the run, as it describes itself to other ranks."""

    rank: int
    host: str
    pid: int
    device: Device | None
    """What it would compute on; None where that is missing."""
    lacks: str
    """What is missing."""

    @classmethod
    def here(cls, task: TrainTask, env: TorchrunEnv, *, fall_back: bool) -> Self:
        """This process. ``fall_back``: it may compute on the CPU where GPUs are missing."""
        from weather_hpc.train.cuda import usable_gpus, why_no_cuda

        may_use_gpus = task.device is not Device.CPU
        gpus, why = (usable_gpus(), why_no_cuda()) if may_use_gpus else (0, None)
        device, lacks = None, ""
        try:
            device = choose_device(task, env, gpus, why, fall_back=fall_back)
        except Unavailable as lacking:
            lacks = str(lacking)
        return cls(env.rank, socket.gethostname(), os.getpid(), device, lacks)

    @classmethod
    def from_values(cls, values: Mapping[str, Any]) -> Self:
        """The rank with these fields, of which ``device`` may be plain text."""
        return cls(**{**values, "device": values["device"] and Device(values["device"])})


class Ranks:
    """All processes of a run, known to each of them."""

    def __init__(self, env: TorchrunEnv, own: Rank) -> None:
        """Exchange ``own`` with all ranks. Collective.

        Raises FailedError naming those that do not arrive, or why one of them has failed.
        """
        self.env = env
        self.own = own
        self.all = [own]
        self.store: Any = None
        """For all ranks; None where torchrun has not started this process."""
        self.group_store: Any = None
        """For the process group; None where torchrun has not started this process."""
        if env.launched:
            from weather_hpc.train.shared_store import group_store, open_store

            self.store = open_store(GROUP_MEETS)
            self.group_store = group_store(self.store)
        if env.world_size > 1:
            self.all = [
                Rank.from_values(values)
                for values in exchange(self.store, env, "rank", asdict(own))
            ]

    @property
    def on_this_host(self) -> list[Rank]:
        """Those that run here, this one included."""
        return [rank for rank in self.all if rank.host == self.own.host]

    def second_connection(self) -> Any:
        """To the store, for another thread; None where this process is alone."""
        return None if self.env.world_size == 1 else second_connection()


def second_connection() -> Any:
    """To the store at which torchrun lets its ranks meet."""
    from weather_hpc.train.shared_store import open_store

    return open_store(STORE_ANSWERS)


def agreed_device(ranks: Sequence[Rank]) -> Device:
    """What all ``ranks`` can compute on: the CPU if one of them falls back to it.

    Raises Unavailable where a rank has no device, naming it if others have what it lacks.
    """
    for rank in ranks:
        if rank.device is None:
            alike = all(other.lacks == rank.lacks for other in ranks)
            raise Unavailable(("" if alike else f"rank {rank.rank} on {rank.host} ") + rank.lacks)
    return Device.CPU if any(rank.device is Device.CPU for rank in ranks) else Device.CUDA
