"""How long a device waits for its batches."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch


class DataWait:
    """Seconds that ``device`` has had nothing to compute on because a batch was not there yet.

    On a CPU the loading of a batch and the waiting for it are one. A GPU is given work ahead: it
    waits only once it has done all of that, so the seconds between the end of one step's work and
    the arrival of the next batch are taken by its own clock.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._seconds = 0.0
        self._pending: list[tuple[torch.cuda.Event, torch.cuda.Event]] = []

    @contextmanager
    def batch(self) -> Iterator[None]:
        """Within the block a batch is loaded and sent to the device."""
        if self.device.type != "cuda":
            with self.idle():
                yield
            return
        stream = torch.cuda.current_stream(self.device)
        begin, end = (
            torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
            for _ in range(2)
        )
        begin.record(stream)
        yield
        end.record(stream)
        self._pending.append((begin, end))

    @contextmanager
    def idle(self) -> Iterator[None]:
        """Within the block the host works while the device has nothing to do."""
        start = time.perf_counter()
        yield
        self._seconds += time.perf_counter() - start

    def seconds(self) -> float:
        """In all so far. Call it where the device has finished what it was given."""
        for begin, end in self._pending:
            self._seconds += begin.elapsed_time(end) / 1000
        self._pending.clear()
        return self._seconds
