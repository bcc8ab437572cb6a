"""NVIDIA's management library: what GPUs do while a run computes on them."""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

MILLI = 1e-3
BYTES_PER_MB = 1e6


@dataclass(frozen=True)
class DeviceSample:
    """All devices of a process at one moment; None where the hardware does not tell."""

    use_percent: float | None
    """Share of time in which a kernel ran, mean over devices, %."""
    memory_mb: float | None
    """Memory in use, all devices together, MB."""
    power_w: float | None
    """Power drawn, all devices together, W."""


class Devices:
    """The GPUs that a process computes on, by their UUIDs."""

    def __init__(self, library: ModuleType, uuids: Sequence[str]) -> None:
        self._nvml: Any = library
        self._handles = [library.nvmlDeviceGetHandleByUUID(uuid) for uuid in uuids]

    def sample(self) -> DeviceSample:
        """What the devices do now."""
        use = self._of_all(
            lambda handle: float(self._nvml.nvmlDeviceGetUtilizationRates(handle).gpu)
        )
        memory = self._of_all(lambda handle: self._nvml.nvmlDeviceGetMemoryInfo(handle).used)
        power = self._of_all(lambda handle: self._nvml.nvmlDeviceGetPowerUsage(handle))
        return DeviceSample(
            use_percent=None if use is None else sum(use) / len(use),
            memory_mb=None if memory is None else sum(memory) / BYTES_PER_MB,
            power_w=None if power is None else sum(power) * MILLI,
        )

    def energy_j(self) -> float | None:
        """Joules that the devices have used since the driver was loaded; None before Volta."""
        energy = self._of_all(lambda handle: self._nvml.nvmlDeviceGetTotalEnergyConsumption(handle))
        return None if energy is None else sum(energy) * MILLI

    @property
    def driver(self) -> str | None:
        """The driver's version."""
        with contextlib.suppress(self._nvml.NVMLError):
            return str(self._nvml.nvmlSystemGetDriverVersion())
        return None

    def _of_all(self, ask: Any) -> list[float] | None:
        """The answers of all devices; None where one of them has none."""
        try:
            return [ask(handle) for handle in self._handles] or None
        except self._nvml.NVMLError:
            return None


def open_devices(uuids: Sequence[str]) -> Devices | None:
    """The devices with these UUIDs (``GPU-...``); None where NVML or one of them is missing."""
    if not uuids:
        return None
    try:
        import pynvml
    except ImportError:
        return None
    try:
        pynvml.nvmlInit()
        return Devices(pynvml, uuids)
    except pynvml.NVMLError:
        return None
