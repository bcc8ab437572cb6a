"""Telemetry: what host and devices do while a run is measured, sampled beside it."""

import threading
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import Protocol, Self

from weather_hpc.files import append_csv
from weather_hpc.runs.clock import ForeignLoad
from weather_hpc.runs.gpus import DeviceSample
from weather_hpc.runs.proc import busy_s, memory_used_mb

EVERY_S = 1.0
"""Between two samples: one costs well under a millisecond."""


class Devices(Protocol):
    """What is asked of the devices that a process computes on."""

    def sample(self) -> DeviceSample:
        """What they do now."""

    def energy_j(self) -> float | None:
        """Joules used so far, from any origin."""


@dataclass(frozen=True)
class Sample:
    """One moment: a line of telemetry.csv."""

    at: float
    """UNIX time, s, as in events.jsonl."""
    host_cpu_percent: float
    """CPU use on the host, whoever's it is, since the sample before, % of one core."""
    host_memory_mb: float
    """In use on the host, whoever uses it."""
    foreign_cpu_percent: float
    """As ``host_cpu_percent``, of processes that are not the run's."""
    device_use_percent: float | None = None
    device_memory_mb: float | None = None
    device_power_w: float | None = None


class Telemetry:
    """Samples in a thread of its own from start to stop, at least at both ends.

    Each is added to ``path`` at once, so that a run which is killed has left its own, and one
    that is gone on with has all. ``own``: pids of the run's processes on this host.
    """

    def __init__(
        self,
        devices: Devices | None = None,
        own: Sequence[int] = (),
        path: Path | None = None,
        every_s: float = EVERY_S,
    ) -> None:
        self.devices = devices
        self.path = path
        self.every_s = every_s
        self.samples: list[Sample] = []
        self._others = ForeignLoad(list(own), descendants=False)
        self._joules = 0.0
        """Energy by the samples' power, each held since the one before."""
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="telemetry", daemon=True)

    def __enter__(self) -> Self:
        self._before = time.perf_counter(), busy_s()
        self._others.start()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        self._take()

    def mean(self, name: str) -> float | None:
        """The mean of one column of the samples; None where no sample has it."""
        values = [value for s in self.samples if (value := getattr(s, name)) is not None]
        return fmean(values) if values else None

    def energy_j(self) -> float | None:
        """Joules that the devices have used, from any origin; None where they do not tell.

        By their own counter; without one, by power over time since the watch began.
        """
        if self.devices is None:
            return None
        counted = self.devices.energy_j()
        if counted is not None:
            return counted
        sample = self._take()
        return None if sample.device_power_w is None else self._joules

    def _watch(self) -> None:
        while not self._over.wait(self.every_s):
            self._take()

    def _take(self) -> Sample:
        with self._lock:
            device = self.devices.sample() if self.devices else DeviceSample(None, None, None)
            now, busy = time.perf_counter(), busy_s()
            (then, busy_then), self._before = self._before, (now, busy)
            sample = Sample(
                at=time.time(),
                host_cpu_percent=100.0 * (busy - busy_then) / (now - then),
                host_memory_mb=memory_used_mb(),
                foreign_cpu_percent=self._others.percent(),
                device_use_percent=device.use_percent,
                device_memory_mb=device.memory_mb,
                device_power_w=device.power_w,
            )
            self._others.start()
            self._joules += (device.power_w or 0.0) * (now - then)
            self.samples.append(sample)
            self._write(sample)
            return sample

    def _write(self, sample: Sample) -> None:
        if self.path is None:
            return
        values = {k: v if v is None else round(v, 3) for k, v in asdict(sample).items()}
        append_csv(self.path, list(values), [values])


@dataclass
class Energy:
    """Joules in measured time, of all ranks' devices; None once a part is not known."""

    total_j: float | None = 0.0
    before_epoch_j: float | None = 0.0
    """What the total was when the epoch under way began."""

    def begin_epoch(self) -> None:
        """From here on it is the next epoch's."""
        self.before_epoch_j = self.total_j

    def add(self, parts: Sequence[float | None]) -> None:
        """What each rank's devices have used meanwhile."""
        for part in parts:
            if part is None or self.total_j is None:
                self.total_j = None
            else:
                self.total_j += part

    @property
    def epoch_j(self) -> float | None:
        """Of the epoch under way."""
        if self.total_j is None or self.before_epoch_j is None:
            return None
        return self.total_j - self.before_epoch_j
