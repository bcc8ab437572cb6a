"""Which operations make the host wait for a device, and which a graph could not hold."""

import contextlib
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

import weather_hpc

PACKAGE = Path(weather_hpc.__file__).parent

READ_BY_THE_HOST = ("_local_scalar_dense", "nonzero", "masked_select", "unique")

_own_doing = [0]


@contextlib.contextmanager
def not_counted() -> Iterator[None]:
    """What the simulation itself does in the block would not be done by a real device."""
    _own_doing[0] += 1
    try:
        yield
    finally:
        _own_doing[0] -= 1


def wait_in(func: Any, args: Any, kwargs: Any) -> str | None:
    """Why the host would wait in this operation; None: it would not."""
    name = func.__name__
    if name.startswith(READ_BY_THE_HOST) and any(_on_gpu(argument) for argument in args):
        return f"{name}: the host reads a result of the device"
    if name.startswith(("index.", "index_put", "_index_put")) and any(map(_is_mask, args[1])):
        return f"{name}: the host counts what a mask on the device has chosen"
    if name.startswith("lift_fresh") and _on_gpu(args[0]):
        return f"{name}: numbers of Python, {tuple(args[0].shape)}, are sent to the device"
    if name.startswith("copy_"):
        to_gpu, source = _on_gpu(args[0]), args[1]
        waits = not (args[2] if len(args) > 2 else kwargs.get("non_blocking", False))
    elif name.startswith("_to_copy") and kwargs.get("device") is not None:
        to_gpu, source = torch.device(kwargs["device"]).type == "cuda", args[0]
        waits = not kwargs.get("non_blocking", False)
    else:
        return None
    shape = tuple(source.shape)
    if to_gpu and not _on_gpu(source) and (waits or not source.is_pinned()):
        kind = "pinned" if source.is_pinned() else "pageable"
        return f"{name}: {shape} from {kind} memory{', blocking' if waits else ''}"
    if _on_gpu(source) and not to_gpu:
        return f"{name}: {shape} from the device to the host"
    return None


class Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes operations at which the host waits, with the line of the package that asks for each."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.found: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        told = None if _own_doing[0] else wait_in(func, args, kwargs or {})
        if told is not None:
            self.found.append(f"{_line()}: {told}")
        return func(*args, **(kwargs or {}))


def _line() -> str:
    """``train/loop.py:99``: the innermost line of the package."""
    for frame in reversed(traceback.extract_stack()):
        file = Path(frame.filename)
        if file.is_relative_to(PACKAGE):
            return f"{file.relative_to(PACKAGE)}:{frame.lineno}"
    return "in the backward pass"


def _is_mask(value: Any) -> bool:
    return _on_gpu(value) and value.dtype in (torch.bool, torch.uint8)


def _on_gpu(value: Any) -> bool:
    return isinstance(value, torch.Tensor) and value.is_cuda
