"""CUDA graphs: operations are recorded and done again in the same memory, without their Python.

The operations must be carried out to be recorded, where CUDA computes nothing: at its end a capture
puts back what was there before, and poisons what it has made.
"""

import contextlib
import ctypes
import itertools
from collections.abc import Iterator
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from tests.simulated_cuda.cuda import DEFAULT, calls, stream
from tests.simulated_cuda.waits import not_counted, wait_in

_recording = [False]
_pools = itertools.count(1)

POISON = 0xFF
"""Of such bytes every floating-point number is NaN."""


class _Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Keeps every operation with its arguments and results; refuses what a capture refuses."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.operations: list[tuple[Any, Any, Any, Any]] = []
        self._made: dict[int, torch.UntypedStorage] = {}
        """Memory of results, by address."""
        self._written: dict[int, tuple[torch.UntypedStorage, bytes]] = {}
        """Memory from before that was written to, by address, and what was in it."""
        self._generators = [
            torch.cuda.get_rng_state(gpu) for gpu in range(torch.cuda.device_count())
        ]

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        told = wait_in(func, args, kwargs or {})
        if told is not None:
            raise RuntimeError(
                f"CUDA error: operation not permitted when stream is capturing: {told}"
            )
        for storage in _written_by(func, args, kwargs or {}):
            if storage.data_ptr() not in self._made | self._written:
                self._written[storage.data_ptr()] = storage, _content(storage)
        before = {storage.data_ptr() for storage in _storages((args, kwargs))}
        result = func(*args, **(kwargs or {}))
        for storage in _storages(result):
            if storage.data_ptr() not in before:
                self._made[storage.data_ptr()] = storage
        self.operations.append((func, args, kwargs or {}, result))
        return result

    def undo(self) -> None:
        """Leave memory and generators as if nothing had been computed."""
        for storage, content in self._written.values():
            ctypes.memmove(storage.data_ptr(), content, len(content))
        for storage in self._made.values():
            ctypes.memset(storage.data_ptr(), POISON, storage.nbytes())
        for gpu, state in enumerate(self._generators):
            torch.cuda.set_rng_state(state, gpu)


def _written_by(func: Any, args: Any, kwargs: Any) -> list[torch.UntypedStorage]:
    """The memory that an operation writes to, of that which it is given."""
    given = []
    for place, argument in enumerate(func._schema.arguments):
        if argument.alias_info is not None and argument.alias_info.is_write:
            named = kwargs.get(argument.name)
            given.append(args[place] if place < len(args) else named)
    return _storages(given)


def _storages(values: Any) -> list[torch.UntypedStorage]:
    tensors = [leaf for leaf in tree_leaves(values) if isinstance(leaf, torch.Tensor)]
    return [tensor.untyped_storage() for tensor in tensors if tensor.is_cuda]


def _content(storage: torch.UntypedStorage) -> bytes:
    return ctypes.string_at(storage.data_ptr(), storage.nbytes())


class Graph:
    """What was recorded; its results stay where they were."""

    def __init__(self) -> None:
        self.operations: list[tuple[Any, Any, Any, Any]] = []

    def replay(self) -> None:
        """Do it all again."""
        calls.append(("replay", len(self.operations)))
        below_autograd = torch._C._AutoDispatchBelowAutograd()
        with not_counted(), torch.no_grad(), below_autograd:
            for func, args, kwargs, before in self.operations:
                if _is_view(func):
                    continue  # it is one still
                result = func(*args, **kwargs)
                for old, new in zip(tree_leaves(before), tree_leaves(result), strict=True):
                    if isinstance(old, torch.Tensor) and old.data_ptr() != new.data_ptr():
                        old.copy_(new)


def _is_view(func: Any) -> bool:
    aliases = [one.alias_info for one in func._schema.returns]
    return any(alias is not None and not alias.is_write for alias in aliases)


@contextlib.contextmanager
def graph(into: Graph, pool: Any = None, stream: Any = None, **_: Any) -> Iterator[None]:
    """Record the block. Out of memory ends it as CUDA may end it: by an error that hides that."""
    assert stream is not None
    assert stream is not DEFAULT, "the default stream cannot be captured"
    recorder = _Recorder()
    try:
        with _on(stream), recorder:
            _recording[0] = True
            yield
    except torch.OutOfMemoryError:
        calls.append(("capture_failed", pool))
        hides = "CUDA error: operation failed due to a previous error during capture"
        raise RuntimeError(hides)  # noqa: B904
    finally:
        _recording[0] = False
        recorder.undo()
    into.operations = recorder.operations
    calls.append(("capture", pool, _bytes(recorder.operations)))


_on = stream


def _bytes(operations: list[tuple[Any, Any, Any, Any]]) -> int:
    """Of all results."""
    leaves = tree_leaves([result for *_, result in operations])
    return sum(leaf.nbytes for leaf in leaves if isinstance(leaf, torch.Tensor))


def install() -> None:
    """Replace graphs of ``torch.cuda``, and the check that optimizers make within a capture."""
    cuda: Any = torch.cuda
    cuda.CUDAGraph, cuda.graph = Graph, graph
    cuda.graph_pool_handle = lambda: (0, next(_pools))

    def check(self: torch.optim.Optimizer) -> None:
        if _recording[0] and not all(group["capturable"] for group in self.param_groups):
            raise RuntimeError("Attempting CUDA graph capture of step() but capturable is False")

    optimizer: Any = torch.optim.Optimizer
    optimizer._accelerator_graph_capture_health_check = check
    optimizer._cuda_graph_capture_health_check = check
