"""NVIDIA's management library: what GPUs do while a run computes on them."""

import contextlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

GPU, MIG = "GPU-", "MIG-"
"""What the UUIDs of cards and of their instances begin with."""

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
    """What a process computes on, by CUDA's UUIDs: GPUs, or instances (MIG) of them.

    Of an instance only its memory is told. Use, power and energy are the whole card's, whoever
    else computes on it: they are None.
    """

    def __init__(self, library: ModuleType, uuids: Sequence[str]) -> None:
        """Raises NVMLError or LookupError where one of the devices cannot be told."""
        self._nvml: Any = library
        self._handles = [_device(library, uuid) for uuid in uuids]
        self._whole = not any(map(library.nvmlDeviceIsMigDeviceHandle, self._handles))

    def sample(self) -> DeviceSample:
        """What the devices do now."""
        use = self._of_cards(
            lambda handle: float(self._nvml.nvmlDeviceGetUtilizationRates(handle).gpu)
        )
        memory = self._of_all(lambda handle: self._nvml.nvmlDeviceGetMemoryInfo(handle).used)
        power = self._of_cards(lambda handle: self._nvml.nvmlDeviceGetPowerUsage(handle))
        return DeviceSample(
            use_percent=None if use is None else sum(use) / len(use),
            memory_mb=None if memory is None else sum(memory) / BYTES_PER_MB,
            power_w=None if power is None else sum(power) * MILLI,
        )

    def energy_j(self) -> float | None:
        """Joules that the devices have used since the driver was loaded; None before Volta."""
        energy = self._of_cards(
            lambda handle: self._nvml.nvmlDeviceGetTotalEnergyConsumption(handle)
        )
        return None if energy is None else sum(energy) * MILLI

    @property
    def driver(self) -> str | None:
        """The driver's version."""
        with contextlib.suppress(self._nvml.NVMLError):
            return str(self._nvml.nvmlSystemGetDriverVersion())
        return None

    def _of_cards(self, ask: Any) -> list[float] | None:
        """As ``_of_all``, of what is measured for whole cards."""
        return self._of_all(ask) if self._whole else None

    def _of_all(self, ask: Any) -> list[float] | None:
        """The answers of all devices; None where one of them has none."""
        try:
            return [ask(handle) for handle in self._handles] or None
        except self._nvml.NVMLError:
            return None


def open_devices(uuids: Sequence[str]) -> Devices | None:
    """The devices that CUDA gives these UUIDs; None where NVML or one of them is missing."""
    if not uuids:
        return None
    try:
        import pynvml
    except ImportError:
        return None
    try:
        pynvml.nvmlInit()
        return Devices(pynvml, uuids)
    except (pynvml.NVMLError, LookupError):
        return None


def _device(nvml: Any, uuid: str) -> Any:
    """The handle of a GPU, or of the instance of it that this process computes on.

    An instance has a UUID of its own, but CUDA may tell its card's. Raises NVMLError or
    LookupError where neither is there, or it is not known which of the card's instances it is.
    """
    bare = uuid.removeprefix(GPU).removeprefix(MIG)
    with contextlib.suppress(nvml.NVMLError):
        return nvml.nvmlDeviceGetHandleByUUID(MIG + bare)
    card = nvml.nvmlDeviceGetHandleByUUID(GPU + bare)
    if not _is_divided(nvml, card):
        return card
    # CUDA shows a process the first instance that the variable names, and no other
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "").partition(",")[0]
    if visible.startswith(MIG):
        with contextlib.suppress(nvml.NVMLError):
            return nvml.nvmlDeviceGetHandleByUUID(visible)
    instances = _instances(nvml, card)
    if visible.startswith(MIG):  # the beginning of a UUID will do
        instances = [i for i in instances if nvml.nvmlDeviceGetUUID(i).startswith(visible)]
    if len(instances) != 1:
        raise LookupError(f"{uuid}: {len(instances)} instances that it may be")
    return instances[0]


def _is_divided(nvml: Any, card: Any) -> bool:
    """Whether a GPU is divided into instances (MIG)."""
    try:
        return bool(nvml.nvmlDeviceGetMigMode(card)[0] == nvml.NVML_DEVICE_MIG_ENABLE)
    except nvml.NVMLError:  # it cannot be
        return False


def _instances(nvml: Any, card: Any) -> list[Any]:
    """The instances of ``card`` that this process may see."""
    found = []
    for place in range(nvml.nvmlDeviceGetMaxMigDeviceCount(card)):
        with contextlib.suppress(nvml.NVMLError):  # places may be empty
            found.append(nvml.nvmlDeviceGetMigDeviceHandleByIndex(card, place))
    return found
