"""Telemetry: what host and devices do while a run is measured, sampled beside it."""

import csv
import io
import threading
import time
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from statistics import fmean
from typing import Protocol, Self

import psutil

from weather_hpc.files import write_text
from weather_hpc.records.clock import machine_busy_s
from weather_hpc.records.nvml import DeviceSample

EVERY_S = 1.0
"""Between two samples: one costs well under a millisecond."""

BYTES_PER_MB = 1e6


class Devices(Protocol):
    """What is asked of the devices that a process computes on."""

    def sample(self) -> DeviceSample:
        """What they do now."""

    def energy_j(self) -> float | None:
        """Joules used so far, from any origin."""


@dataclass(frozen=True)
class Sample:
    """One moment: a line of telemetry.csv."""

    at_s: float
    """Seconds since the watch began."""
    host_cpu_percent: float
    """CPU use on the host, whoever's it is, since the sample before, % of one core."""
    host_memory_mb: float
    """In use on the host, whoever uses it."""
    device_use_percent: float | None = None
    device_memory_mb: float | None = None
    device_power_w: float | None = None


class Telemetry:
    """Samples in a thread of its own from start to stop, at least at both ends."""

    def __init__(self, devices: Devices | None = None, every_s: float = EVERY_S) -> None:
        self.devices = devices
        self.every_s = every_s
        self.samples: list[Sample] = []
        self.energy_j: float | None = None
        """Device energy from start to stop; None where there are no devices that tell."""
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="telemetry", daemon=True)

    def __enter__(self) -> Self:
        self._begin = time.perf_counter()
        self._before = self._begin, machine_busy_s()
        self._energy = self.devices.energy_j() if self.devices else None
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        self._take()
        after = self.devices.energy_j() if self.devices else None
        if after is not None and self._energy is not None:
            self.energy_j = after - self._energy
        elif self.devices:
            self.energy_j = self._integrated()

    def mean(self, name: str) -> float | None:
        """The mean of one column of the samples; None where no sample has it."""
        values = [value for s in self.samples if (value := getattr(s, name)) is not None]
        return fmean(values) if values else None

    def write(self, path: Path) -> None:
        """Write the samples to ``path`` as CSV; what is not known is empty."""
        text = io.StringIO()
        writer = csv.DictWriter(text, [field.name for field in fields(Sample)], lineterminator="\n")
        writer.writeheader()
        for sample in self.samples:
            values = asdict(sample).items()
            writer.writerow({k: "" if v is None else round(v, 3) for k, v in values})
        write_text(path, text.getvalue())

    def _watch(self) -> None:
        while not self._over.wait(self.every_s):
            self._take()

    def _take(self) -> None:
        device = self.devices.sample() if self.devices else DeviceSample(None, None, None)
        now, busy = time.perf_counter(), machine_busy_s()
        (then, busy_then), self._before = self._before, (now, busy)
        self.samples.append(
            Sample(
                at_s=now - self._begin,
                host_cpu_percent=100.0 * (busy - busy_then) / (now - then),
                host_memory_mb=psutil.virtual_memory().used / BYTES_PER_MB,
                device_use_percent=device.use_percent,
                device_memory_mb=device.memory_mb,
                device_power_w=device.power_w,
            )
        )

    def _integrated(self) -> float | None:
        """Energy by the samples' power, each held since the one before."""
        joules, before = 0.0, 0.0
        for sample in self.samples:
            if sample.device_power_w is None:
                return None
            joules += sample.device_power_w * (sample.at_s - before)
            before = sample.at_s
        return joules
