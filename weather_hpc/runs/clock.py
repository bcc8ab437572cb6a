"""Seconds of phases, synchronised with the device, and CPU use by other processes."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from weather_hpc.runs.proc import busy_s, family, process_times, running_s

Synchronise = Callable[[], None]


class Clock:
    """Wall-clock seconds of phases, measured when the device has finished its work.

    ``synchronise`` waits for a GPU, which still works after a launch returns; None on the CPU.
    """

    def __init__(self, synchronise: Synchronise | None = None) -> None:
        self.synchronise = synchronise
        self.seconds: dict[str, float] = {}
        """Of each phase so far."""

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Add the block's seconds to the phase ``name``."""
        start = self.now()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + self.now() - start

    def now(self) -> float:
        """Seconds of a monotonic clock, once the device has finished its work."""
        if self.synchronise is not None:
            self.synchronise()
        return time.perf_counter()


def since_process_start() -> float:
    """Wall-clock seconds since this process was created, interpreter start included."""
    return running_s(os.getpid()) or 0.0


def seconds_of(text: str | None) -> float | None:
    """UNIX time of an ISO 8601 time, s; None where it is none. Without a time zone it is UTC."""
    try:
        time_of = datetime.fromisoformat(text or "")
        known = time_of if time_of.tzinfo else time_of.replace(tzinfo=UTC)
        return known.timestamp()
    except (ValueError, OverflowError):
        return None


class ForeignLoad:
    """CPU use by processes outside this run since its start, in % of one core.

    The whole machine's busy time (from /proc/stat) less that of the run's processes: ``own`` lists
    root pids, by default this process. With ``descendants`` their children count while they run,
    which reads every process; without, once they have ended: for frequent calls.
    """

    def __init__(self, own: list[int] | None = None, *, descendants: bool = True) -> None:
        self.own = own or [os.getpid()]
        self.descendants = descendants
        self.start()

    def start(self) -> None:
        """Start, or start over."""
        self._wall = time.perf_counter()
        self._busy = busy_s()
        self._mine = self._own_busy()

    def percent(self) -> float:
        """CPU use by processes outside the run since the start, in % of one core; never below 0."""
        wall = time.perf_counter() - self._wall
        busy = busy_s() - self._busy
        mine = self._own_busy() - self._mine
        return max(0.0, 100.0 * (busy - mine) / wall) if wall > 0 else 0.0

    def _own_busy(self) -> float:
        total = 0.0
        for root in self.own:
            for pid in family(root) if self.descendants else [root]:
                times = process_times(pid)
                if times is not None:
                    total += times.own_s + (times.children_s if pid == root else 0.0)
        return total
