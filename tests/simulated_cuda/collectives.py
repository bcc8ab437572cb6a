"""NCCL: collectives of tensors on simulated devices go through the host, and there through gloo."""

from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist

from tests.simulated_cuda.waits import not_counted

dist_: Any = dist
"""torch tells no types of what is below."""

inits: list[str] = []
"""Backends that process groups were made with."""


class _Done(dist_._Work):  # type: ignore[misc]
    """Work that is done, or is by the time somebody waits for it."""

    def __init__(self, value: Any = None, rest: Callable[[], None] | None = None) -> None:
        super().__init__()
        self.value, self.rest = value, rest
        self.future: torch.futures.Future[Any] = torch.futures.Future()
        if rest is None:
            self.future.set_result(value)

    def wait(self, timeout: Any = None) -> bool:
        if self.rest is not None:
            rest, self.rest = self.rest, None
            with not_counted():
                rest()
            self.future.set_result(self.value)
        return True

    def is_completed(self) -> bool:
        return True

    def get_future(self) -> "torch.futures.Future[Any]":
        self.wait()
        return self.future


class Collectives(dist_.ProcessGroup):  # type: ignore[misc]
    """gloo for tensors of the CPU, and by way of it for those of devices."""

    def __init__(self, store: Any, rank: int, size: int, timeout: Any) -> None:
        super().__init__(rank, size)
        self.gloo = dist_.ProcessGroupGloo(store, rank, size, timeout)

    def getBackendName(self) -> str:
        return "simulated"

    def allreduce(self, tensors: Any, options: Any = None) -> Any:
        with not_counted():
            copies = _to_host(tensors)
            asked = (copies, options) if options else (copies,)
            self.gloo.allreduce(*asked).wait()
            return _Done(_to_device(tensors, copies))

    def broadcast(self, tensors: Any, options: Any) -> Any:
        with not_counted():
            copies = _to_host(tensors)
            self.gloo.broadcast(copies, options).wait()
            return _Done(_to_device(tensors, copies))

    def allgather(self, outputs: Any, inputs: Any, options: Any = None) -> Any:
        with not_counted():
            copies = [[torch.empty(one.shape, dtype=one.dtype) for one in out] for out in outputs]
            self.gloo.allgather(copies, _to_host(inputs)).wait()
            for output, copy in zip(outputs, copies, strict=True):
                _to_device(output, copy)
            return _Done(outputs)

    def gather(self, outputs: Any, inputs: Any, options: Any) -> Any:
        assert not inputs[0].is_cuda, "objects are gathered on the CPU"
        self.gloo.gather(outputs, inputs, options).wait()
        return _Done(outputs)

    def send(self, tensors: Any, to: int, tag: int = 0) -> Any:
        with not_counted():
            contiguous = [tensor.detach().contiguous() for tensor in tensors]
            return _Done(rest=self.gloo.send(_to_host(contiguous), to, tag).wait)

    def recv(self, tensors: Any, source: int, tag: int = 0) -> Any:
        copies = [torch.empty(tensor.shape, dtype=tensor.dtype) for tensor in tensors]
        work = self.gloo.recv(copies, source, tag)

        def rest() -> None:
            work.wait()
            _to_device(tensors, copies)

        return _Done(rest=rest)

    def barrier(self, options: Any = None) -> Any:
        self.gloo.barrier().wait()
        return _Done()


def _to_host(tensors: Any) -> list[torch.Tensor]:
    return [tensor.detach().cpu() for tensor in tensors]


def _to_device(tensors: Any, copies: Any) -> Any:
    with torch.no_grad():
        for tensor, copy in zip(tensors, copies, strict=True):
            tensor.detach().copy_(copy)
    return tensors


def install() -> None:
    """Have a process group with NCCL in it use :class:`Collectives`."""
    make = dist_.init_process_group

    def init_process_group(backend: Any = None, **options: Any) -> None:
        inits.append(str(backend))
        make("simulated" if "nccl" in str(backend) else backend, **options)

    dist_.Backend.register_backend("simulated", Collectives, devices=["cpu", "cuda"])
    dist_.init_process_group = init_process_group
