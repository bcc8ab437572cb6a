"""``torch.cuda`` for the simulated devices: what the package and torch itself ask of it."""

import contextlib
import ctypes
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import torch

NAME = "Simulated GPU"
VERSION = "0.0"
"""Of CUDA: none."""

calls: list[tuple[Any, ...]] = []
"""What was asked of the devices, in order: name and arguments."""


class Stream:
    """All is done at once, so a stream is a name alone."""

    def __init__(self, device: Any = None) -> None:
        self.device = device

    def wait_stream(self, other: "Stream") -> None:
        """Nothing is left to be done there."""


class Event:
    """The time at which it was recorded, which is known once somebody has waited for the device."""

    def __init__(self, enable_timing: bool = False) -> None:
        self.timing = enable_timing
        self.at: float | None = None
        self._waits_before = 0

    def record(self, stream: Stream | None = None) -> None:
        """Now."""
        self.at = time.perf_counter()
        self._waits_before = _waits[0]

    def synchronize(self) -> None:
        """Wait for it."""
        _waits[0] += 1

    def query(self) -> bool:
        """Whether somebody has waited since it was recorded: a device may take its time."""
        return _waits[0] > self._waits_before

    def elapsed_time(self, end: "Event") -> float:
        """Milliseconds from this one until ``end``. Raises RuntimeError as CUDA does."""
        if not (self.timing and end.timing):
            raise RuntimeError("Both events must be created with argument 'enable_timing=True'.")
        if self.at is None or end.at is None:
            raise RuntimeError("Both events must be recorded before calculating elapsed time.")
        if not (self.query() and end.query()):
            raise RuntimeError("Both events must be completed before calculating elapsed time.")
        return (end.at - self.at) * 1000


_waits = [0]
"""How often the host has waited for the devices."""

DEFAULT = Stream()
_streams = [DEFAULT]


@contextlib.contextmanager
def stream(chosen: Stream | None) -> Iterator[None]:
    """``chosen`` is the current one meanwhile."""
    _streams.append(chosen or _streams[-1])
    try:
        yield
    finally:
        _streams.pop()


def install(library: Any, gpus: int) -> None:
    """Replace functions of ``torch.cuda`` by those of the device in ``library``."""
    cuda: Any = torch.cuda

    def index(device: Any = None) -> int:
        if isinstance(device, int):
            return device
        chosen = None if device is None else torch.device(device).index
        return int(library.get_device()) if chosen is None else chosen

    def synchronize(device: Any = None) -> None:
        calls.append(("synchronize", index(device)))
        _waits[0] += 1

    def set_device(device: Any) -> None:
        calls.append(("set_device", index(device)))
        library.set_device(index(device))

    class Device(contextlib.ContextDecorator):
        def __init__(self, device: Any) -> None:
            self.to = None if device is None else index(device)

        def __enter__(self) -> None:
            self.before = library.get_device()
            if self.to is not None and self.to >= 0:
                library.set_device(self.to)

        def __exit__(self, *_: object) -> None:
            library.set_device(self.before)

    def rng_state(device: Any = "cuda") -> torch.Tensor:
        state = torch.empty(library.generator_bytes(), dtype=torch.uint8)
        library.get_generator(index(device), ctypes.c_void_p(state.data_ptr()))
        return state

    def set_rng_state(state: torch.Tensor, device: Any = "cuda") -> None:
        library.set_generator(index(device), ctypes.c_void_p(state.contiguous().data_ptr()))

    def manual_seed_all(seed: int) -> None:
        state = torch.Generator().manual_seed(seed).get_state()
        for gpu in range(gpus):
            set_rng_state(state, gpu)

    def properties(device: Any = None) -> SimpleNamespace:
        return SimpleNamespace(
            name=NAME, total_memory=library.memory_limit(), multi_processor_count=132, major=9,
            minor=0, uuid=f"0000000{index(device)}-0000-0000-0000-000000000000",
        )  # fmt: skip

    def mem_get_info(device: Any = None) -> tuple[int, int]:
        total = library.memory_limit()
        return total - library.memory_used(index(device)), total

    def reset_peak(device: Any = None) -> None:
        calls.append(("reset_peak", index(device)))
        library.reset_memory_peak(index(device))

    def set_memory_fraction(fraction: float, device: Any = None) -> None:
        library.set_memory_limit(ctypes.c_int64(int(fraction * library.memory_limit())))

    cuda.set_per_process_memory_fraction = set_memory_fraction
    cuda._lazy_init = lambda: None
    cuda.init = lambda: None
    cuda.is_available = lambda: True
    cuda.is_initialized = lambda: True
    cuda.is_bf16_supported = lambda *_, **__: True
    cuda.device_count = lambda: gpus
    cuda.current_device = lambda: library.get_device()
    cuda.set_device = set_device
    cuda.device = Device
    cuda.synchronize = synchronize
    cuda.empty_cache = lambda: calls.append(("empty_cache",))
    cuda.mem_get_info = mem_get_info
    cuda.memory_allocated = lambda device=None: library.memory_used(index(device))
    cuda.memory_reserved = cuda.memory_allocated
    cuda.max_memory_allocated = lambda device=None: library.memory_peak(index(device))
    cuda.reset_peak_memory_stats = reset_peak
    cuda.get_device_name = lambda device=None: NAME
    cuda.get_device_capability = lambda device=None: (9, 0)
    cuda.get_device_properties = properties
    cuda.get_rng_state = rng_state
    cuda.set_rng_state = set_rng_state
    cuda.manual_seed_all = manual_seed_all
    cuda.Stream, cuda.Event, cuda.stream = Stream, Event, stream
    cuda.current_stream = lambda device=None: _streams[-1]
    torch.version.cuda = VERSION
    torch.backends.cudnn.enabled = False
    manual_seed_all(torch.initial_seed())
