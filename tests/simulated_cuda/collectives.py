"""NCCL: collectives of tensors on simulated devices go through the host, and there through gloo."""

from typing import Any

import torch.distributed as dist

from tests.simulated_cuda.waits import not_counted
from weather_hpc.check.staged import Done, StagedProcessGroup, register

NAME = "simulated"


def _uncounted(name: str) -> Any:
    """The method ``name`` of StagedProcessGroup, whose copies NCCL would not make."""

    def method(self: StagedProcessGroup, *arguments: Any) -> Done:
        with not_counted():
            work: Done = getattr(StagedProcessGroup, name)(self, *arguments)
        if work.rest is not None:
            work.rest = _rest(work.rest)
        return work

    return method


def _rest(rest: Any) -> Any:
    def uncounted() -> None:
        with not_counted():
            rest()

    return uncounted


class Collectives(StagedProcessGroup):
    """StagedProcessGroup, and none of its waits is counted."""

    allreduce = _uncounted("allreduce")
    broadcast = _uncounted("broadcast")
    allgather = _uncounted("allgather")
    send = _uncounted("send")
    recv = _uncounted("recv")


def install() -> None:
    """Have a process group with NCCL in it use :class:`Collectives`."""
    make: Any = dist.init_process_group

    def init_process_group(backend: Any = None, **options: Any) -> None:
        make(NAME if "nccl" in str(backend) else backend, **options)

    register(NAME, Collectives)
    untyped: Any = dist
    untyped.init_process_group = init_process_group
