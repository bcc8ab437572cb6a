"""The ranks of a run before they have a process group: they meet at the launcher's store.

There they tell each other where they are and what they can compute on. Gradients of a rank that has
found a GPU and of one that has not would else be waited for in different places, for ever.
"""

import json
import os
import socket
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any, Self

import torch.distributed as dist
from torch.distributed.rendezvous import rendezvous

from weather_hpc.study.spec import Device, TrainTask
from weather_hpc.train.cuda import usable_gpus, why_no_cuda
from weather_hpc.train.world import Unavailable, World, choose_device

STORE_ANSWERS = timedelta(seconds=30)
"""A store that does not answer in this time has gone."""


@dataclass(frozen=True)
class Rank:
    """One process of the run, as it tells the others of itself."""

    rank: int
    host: str
    pid: int
    device: Device | None
    """What it would compute on; None: what it is to compute on is not there."""
    lacks: str
    """What is not there."""

    @classmethod
    def here(cls, task: TrainTask, world: World, *, fall_back: bool) -> Self:
        """This process. ``fall_back``: it may compute on the CPU where GPUs are asked for."""
        asks = task.device is not Device.CPU
        gpus, why = (usable_gpus(), why_no_cuda()) if asks else (0, None)
        device, lacks = None, ""
        try:
            device = choose_device(task, world, gpus, why, fall_back=fall_back)
        except Unavailable as lacking:
            lacks = str(lacking)
        return cls(world.rank, socket.gethostname(), os.getpid(), device, lacks)

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """The rank that has told ``text``, its fields as JSON."""
        told = json.loads(text)
        return cls(**told | {"device": told["device"] and Device(told["device"])})


class Ranks:
    """All processes of a run, known to each of them."""

    def __init__(self, world: World, own: Rank) -> None:
        """Meet. Collective: it returns once every rank has told ``own``."""
        self.world = world
        self.own = own
        self.all = [own]
        self.store: Any = None
        """Where a process group can be made; None where no launcher has started this process."""
        if world.launched:
            self.store, _, _ = next(rendezvous("env://", world.rank, world.size))
        if world.size > 1:
            self.store.set(_key(world.rank), json.dumps(asdict(own)))
            self.all = [Rank.from_json(self.store.get(_key(rank))) for rank in range(world.size)]

    @property
    def on_this_host(self) -> list[Rank]:
        """Those that run here, this one among them."""
        return [rank for rank in self.all if rank.host == self.own.host]

    def second_connection(self) -> Any:
        """To the store, for another thread; None where this process is alone."""
        if self.world.size == 1:
            return None
        address, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
        return dist.TCPStore(  # type: ignore[attr-defined]
            address, port, is_master=False, timeout=STORE_ANSWERS
        )


def agreed_device(ranks: Sequence[Rank]) -> Device:
    """What ``ranks`` can all compute on: the CPU where one of them makes do with it.

    Raises Unavailable, naming the rank if others have what it lacks, where one can on nothing.
    """
    for rank in ranks:
        if rank.device is None:
            alike = all(other.lacks == rank.lacks for other in ranks)
            raise Unavailable(("" if alike else f"rank {rank.rank} on {rank.host} ") + rank.lacks)
    return Device.CPU if any(rank.device is Device.CPU for rank in ranks) else Device.CUDA


def _key(rank: int) -> str:
    restart = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")  # the store outlives a restart
    return f"weather_hpc/{restart}/rank/{rank}"
