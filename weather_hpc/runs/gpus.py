"""NVIDIA GPUs of this node: driver version, state of every card, measurements of a run's devices.

By NVML where nvidia-ml-py is installed, else by nvidia-smi; never through torch.
"""

import contextlib
import csv
import ctypes
import os
import re
import subprocess
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from types import ModuleType
from typing import Any

from weather_hpc.files import append_csv
from weather_hpc.runs.provenance import node_name

MILLI = 1e-3
BYTES_PER_MB, BYTES_PER_MIB = 1e6, 2**20

DRIVER_MODULE = Path("/proc/driver/nvidia/version")
"""What the loaded kernel module says of itself."""


DRIVER_LIBRARY = "libcuda.so.1"
"""The part of the driver that programs load."""


def driver_version() -> str | None:
    """Such as ``535.104.05``, by the kernel module, else by NVML; None where neither is there."""
    with contextlib.suppress(OSError):
        found = re.search(r"\d+\.\d+(\.\d+)?", DRIVER_MODULE.read_text().partition("\n")[0])
        if found:
            return found[0]
    with contextlib.suppress(ImportError):
        import pynvml

        with contextlib.suppress(pynvml.NVMLError):
            pynvml.nvmlInit()
            return str(pynvml.nvmlSystemGetDriverVersion())
    return None


def driver_cuda() -> tuple[int, int] | None:
    """The newest CUDA that the driver serves, such as (12, 4); None where it cannot be asked."""
    version = ctypes.c_int(0)
    try:
        failed = ctypes.CDLL(DRIVER_LIBRARY).cuDriverGetVersion(ctypes.byref(version))
    except (OSError, AttributeError):
        return None
    # 12040 is 12.4; 0 comes from the stub that toolkits have for linking
    return None if failed or not version.value else divmod(version.value // 10, 100)


ANSWERS_WITHIN_S = 30.0
"""A driver in trouble may let nvidia-smi wait for minutes."""


@dataclass(frozen=True)
class Gpu:
    """One GPU at one moment: a line of nvidia-smi.csv. None where it does not tell."""

    moment: str
    """``start`` or ``middle`` of the measured time."""
    at: float
    """UNIX time, s."""
    host: str
    gpu: int
    """Its number on the host, whichever of its GPUs the run computes on."""
    name: str | None
    driver: str | None
    use_percent: float | None
    """Share of the last second or less in which a kernel ran, %."""
    memory_mb: float | None
    """In use, whoever uses it, MB (1e6 bytes)."""
    memory_total_mb: float | None
    power_w: float | None
    temperature_c: float | None
    p_state: str | None
    """P0 is the fastest state; the larger the number, the more of it sleeps."""


COLUMNS = [field.name for field in fields(Gpu)]


def look_at_gpus(moment: str) -> list[Gpu]:
    """Every GPU of this node that the job may see; none where the driver does not answer."""
    found = _by_nvml()
    if found is None:
        found = _by_nvidia_smi()
    at, host = round(time.time(), 3), node_name()
    return [Gpu(moment, at, host, gpu, **figures) for gpu, figures in enumerate(found)]


def append_gpus(path: Path, seen: Sequence[Gpu]) -> None:
    """Add lines to a CSV file, its header first. What cannot be written is left out."""
    if seen:
        append_csv(path, COLUMNS, map(asdict, seen))


def _by_nvml() -> list[dict[str, Any]] | None:
    """None where there is no NVML that answers."""
    try:
        import pynvml
    except ImportError:
        return None
    try:
        pynvml.nvmlInit()
        driver = str(pynvml.nvmlSystemGetDriverVersion())
        places = range(pynvml.nvmlDeviceGetCount())
        return [_told(pynvml, pynvml.nvmlDeviceGetHandleByIndex(place), driver) for place in places]
    except pynvml.NVMLError:
        return None


def _told(nvml: Any, handle: Any, driver: str) -> dict[str, Any]:
    def ask(question: Any, *more: Any) -> Any:
        with contextlib.suppress(nvml.NVMLError):
            return question(handle, *more)
        return None

    use, memory = ask(nvml.nvmlDeviceGetUtilizationRates), ask(nvml.nvmlDeviceGetMemoryInfo)
    power, state = ask(nvml.nvmlDeviceGetPowerUsage), ask(nvml.nvmlDeviceGetPerformanceState)
    return {
        "name": ask(nvml.nvmlDeviceGetName),
        "driver": driver,
        "use_percent": None if use is None else use.gpu,
        "memory_mb": None if memory is None else round(memory.used / BYTES_PER_MB, 1),
        "memory_total_mb": None if memory is None else round(memory.total / BYTES_PER_MB, 1),
        "power_w": None if power is None else round(power * MILLI, 1),
        "temperature_c": ask(nvml.nvmlDeviceGetTemperature, nvml.NVML_TEMPERATURE_GPU),
        "p_state": None if state in (None, nvml.NVML_PSTATE_UNKNOWN) else f"P{state}",
    }


QUERY = [
    "name", "driver_version", "utilization.gpu", "memory.used", "memory.total", "power.draw",
    "temperature.gpu", "pstate",
]  # fmt: skip
"""What nvidia-smi is asked, in the order of Gpu's fields from its name on; memory in MiB."""


def _by_nvidia_smi() -> list[dict[str, Any]]:
    return [_parsed(line) for line in nvidia_smi(QUERY)]


def nvidia_smi(query: Sequence[str]) -> list[list[str]]:
    """What nvidia-smi answers to ``query``, its own names, for each GPU; none where it fails."""
    argv = ["nvidia-smi", f"--query-gpu={','.join(query)}", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(
            argv, capture_output=True, text=True, timeout=ANSWERS_WITHIN_S, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return []
    lines = csv.reader(done.stdout.splitlines(), skipinitialspace=True)
    return [line for line in lines if len(line) == len(query)]


def _parsed(line: list[str]) -> dict[str, Any]:
    name, driver, use, used, total, power, temperature, state = line
    return {
        "name": name,
        "driver": driver,
        "use_percent": _number(use),
        "memory_mb": _number(used, BYTES_PER_MIB / BYTES_PER_MB),
        "memory_total_mb": _number(total, BYTES_PER_MIB / BYTES_PER_MB),
        "power_w": _number(power),
        "temperature_c": _number(temperature),
        "p_state": state if state.startswith("P") else None,
    }


def _number(text: str, scale: float = 1.0) -> float | None:
    """None for what it says instead of a number, such as ``[N/A]``."""
    try:
        return round(float(text) * scale, 1)
    except ValueError:
        return None


GPU, MIG = "GPU-", "MIG-"
"""What the UUIDs of cards and of their instances begin with."""


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
