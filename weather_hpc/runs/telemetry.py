"""Telemetry: CPU, memory, device use and power, sampled while a run is measured."""

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
"""Seconds between two samples; a sample takes well under a millisecond."""


class SampledDevices(Protocol):
    """The devices that a process computes on; runs.gpus.Devices is one implementation."""

    def sample(self) -> DeviceSample:
        """Use, memory and power now."""

    def energy_j(self) -> float | None:
        """Joules used so far, from any origin."""


@dataclass(frozen=True)
class Sample:
    """One moment: a line of telemetry.csv."""

    at: float
    """UNIX time, s, as in events.jsonl."""
    host_cpu_percent: float
    """CPU use of all processes on the host since the sample before, % of one core."""
    host_memory_mb: float
    """In use on the host by all processes, MB (1e6 bytes)."""
    foreign_cpu_percent: float
    """As ``host_cpu_percent``, of processes that do not belong to the run."""
    device_use_percent: float | None = None
    device_memory_mb: float | None = None
    device_power_w: float | None = None


class Telemetry:
    """Takes samples in a thread of its own from start to stop, and one at the end.

    Each is appended to ``path`` immediately, so a killed run leaves its samples and a resumed
    run adds to them. ``own``: pids of the run's processes on this host.
    """

    def __init__(
        self,
        devices: SampledDevices | None = None,
        own: Sequence[int] = (),
        path: Path | None = None,
        every_s: float = EVERY_S,
    ) -> None:
        self.devices = devices
        self.path = path
        self.every_s = every_s
        self.samples: list[Sample] = []
        self._foreign = ForeignLoad(list(own), descendants=False)
        self._joules = 0.0
        """Energy from the power of the samples, each constant since the sample before."""
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="telemetry", daemon=True)

    def __enter__(self) -> Self:
        self._before = time.perf_counter(), busy_s()
        self._foreign.start()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join()
        self._take()

    def mean(self, name: str) -> float | None:
        """The mean of one column of the samples; None if no sample has a value."""
        values = [value for s in self.samples if (value := getattr(s, name)) is not None]
        return fmean(values) if values else None

    def energy_j(self) -> float | None:
        """Joules that the devices have used, from any origin; None if they report neither
        energy nor power.

        From their energy counter; without one, from power over time since the start.
        """
        if self.devices is None:
            return None
        counter = self.devices.energy_j()
        if counter is not None:
            return counter
        sample = self._take()
        return None if sample.device_power_w is None else self._joules

    def _run(self) -> None:
        while not self._stopped.wait(self.every_s):
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
                foreign_cpu_percent=self._foreign.percent(),
                device_use_percent=device.use_percent,
                device_memory_mb=device.memory_mb,
                device_power_w=device.power_w,
            )
            self._foreign.start()
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
    """Joules of the devices of all ranks in measured time; None once a part is unknown."""

    total_j: float | None = 0.0
    before_epoch_j: float | None = 0.0
    """The total when the current epoch began."""

    def begin_epoch(self) -> None:
        """Begin the next epoch."""
        self.before_epoch_j = self.total_j

    def add(self, parts: Sequence[float | None]) -> None:
        """Add what the devices of each rank have used."""
        for part in parts:
            if part is None or self.total_j is None:
                self.total_j = None
            else:
                self.total_j += part

    @property
    def epoch_j(self) -> float | None:
        """Joules of the current epoch."""
        if self.total_j is None or self.before_epoch_j is None:
            return None
        return self.total_j - self.before_epoch_j
