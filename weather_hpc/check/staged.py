"""A process group that copies GPU tensors to the host and exchanges them by gloo."""

from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist

untyped: Any = dist
"""torch.distributed as Any: it has no types for the names below."""


class Done(untyped._Work):  # type: ignore[misc]
    """Completed work; ``rest`` is what still has to be done when it is waited for."""

    def __init__(self, value: Any = None, rest: Callable[[], object] | None = None) -> None:
        super().__init__()
        self.value, self.rest = value, rest
        self.future: torch.futures.Future[Any] = torch.futures.Future()
        if rest is None:
            self.future.set_result(value)

    def wait(self, timeout: Any = None) -> bool:
        """Do the rest, if there is any."""
        if self.rest is not None:
            rest, self.rest = self.rest, None
            rest()
            self.future.set_result(self.value)
        return True

    def is_completed(self) -> bool:
        """Always true: waiting does the rest."""
        return True

    def get_future(self) -> "torch.futures.Future[Any]":
        """The value, after the rest is done."""
        self.wait()
        return self.future


class StagedProcessGroup(untyped.ProcessGroup):  # type: ignore[misc]
    """The operations that DistributedDataParallel and pipelines use."""

    def __init__(self, store: Any, rank: int, size: int, timeout: Any) -> None:
        super().__init__(rank, size)
        self.gloo = untyped.ProcessGroupGloo(store, rank, size, timeout)

    def getBackendName(self) -> str:  # noqa: N802 - torch's own name
        """The name of the backend."""
        return "staged"

    def allreduce(self, tensors: Any, options: Any = None) -> Done:
        """All ranks get the sum."""
        copies = to_host(tensors)
        self.gloo.allreduce(*((copies, options) if options else (copies,))).wait()
        return Done(to_device(tensors, copies))

    def broadcast(self, tensors: Any, options: Any) -> Done:
        """All ranks get the tensors of one."""
        copies = to_host(tensors)
        self.gloo.broadcast(copies, options).wait()
        return Done(to_device(tensors, copies))

    def allgather(self, outputs: Any, inputs: Any, options: Any = None) -> Done:
        """All ranks get the tensors of all."""
        copies = [[torch.empty(one.shape, dtype=one.dtype) for one in out] for out in outputs]
        self.gloo.allgather(copies, to_host(inputs)).wait()
        for output, copy in zip(outputs, copies, strict=True):
            to_device(output, copy)
        return Done(outputs)

    def gather(self, outputs: Any, inputs: Any, options: Any) -> Done:
        """One rank gets the tensors of all; used for objects, which are on the CPU."""
        self.gloo.gather(outputs, inputs, options).wait()
        return Done(outputs)

    def send(self, tensors: Any, to: int, tag: int = 0) -> Done:
        """Send to another rank."""
        contiguous = [tensor.detach().contiguous() for tensor in tensors]
        return Done(rest=self.gloo.send(to_host(contiguous), to, tag).wait)

    def recv(self, tensors: Any, source: int, tag: int = 0) -> Done:
        """Receive from another rank."""
        copies = [torch.empty(tensor.shape, dtype=tensor.dtype) for tensor in tensors]
        work = self.gloo.recv(copies, source, tag)

        def rest() -> None:
            work.wait()
            to_device(tensors, copies)

        return Done(rest=rest)

    def barrier(self, options: Any = None) -> Done:
        """Wait for all ranks."""
        self.gloo.barrier().wait()
        return Done()


def to_host(tensors: Any) -> list[torch.Tensor]:
    """Copies of ``tensors`` on the CPU; those already there are not copied."""
    return [tensor.detach().cpu() for tensor in tensors]


def to_device(tensors: Any, copies: Any) -> Any:
    """``tensors``, after copying the values of ``copies`` into them."""
    with torch.no_grad():
        for tensor, copy in zip(tensors, copies, strict=True):
            tensor.detach().copy_(copy)
    return tensors


def register(name: str, group: type[StagedProcessGroup] = StagedProcessGroup) -> None:
    """Register ``group`` with torch as the backend ``name``."""
    untyped.Backend.register_backend(name, group, devices=["cpu", "cuda"])
