"""NVIDIA GPUs of this node: driver version, state of every GPU, samples of a run's devices.

By NVML where nvidia-ml-py is installed, else by nvidia-smi; never through torch, because its CPU
build knows no GPU.
"""

import contextlib
import csv
import ctypes
import os
import re
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from weather_hpc.files import append_csv
from weather_hpc.runs.provenance import node_name

MILLI = 1e-3
BYTES_PER_MB, BYTES_PER_MIB = 1e6, 2**20

DRIVER_MODULE = Path("/proc/driver/nvidia/version")
"""The version of the loaded kernel module."""

DRIVER_LIBRARY = "libcuda.so.1"
"""The part of the driver that programs load."""

NVIDIA_SMI_TIMEOUT_S = 30.0
"""With a broken driver nvidia-smi may hang for minutes."""

NVIDIA_SMI_QUERY = [
    "name", "driver_version", "utilization.gpu", "memory.used", "memory.total", "power.draw",
    "temperature.gpu", "pstate",
]  # fmt: skip
"""In the order of GpuState's fields from ``name`` on; memory in MiB."""

GPU, MIG = "GPU-", "MIG-"
"""Prefixes of the UUIDs of GPUs and of their instances."""


def driver_version() -> str | None:
    """Such as ``535.104.05``, from the kernel module, else by NVML; None without a driver."""
    with contextlib.suppress(OSError):
        found = re.search(r"\d+\.\d+(\.\d+)?", DRIVER_MODULE.read_text().partition("\n")[0])
        if found:
            return found[0]
    nvml = _nvml()
    return None if nvml is None else _query(nvml, nvml.nvmlSystemGetDriverVersion)


def driver_cuda() -> tuple[int, int] | None:
    """The newest CUDA version that the driver supports, such as (12, 4); None without a driver."""
    version = ctypes.c_int(0)
    try:
        failed = ctypes.CDLL(DRIVER_LIBRARY).cuDriverGetVersion(ctypes.byref(version))
    except (OSError, AttributeError):
        return None
    # 12040 is 12.4; 0 comes from the stub library that CUDA toolkits have for linking
    return None if failed or not version.value else divmod(version.value // 10, 100)


@dataclass(frozen=True)
class GpuState:
    """One GPU at one moment: a line of nvidia-smi.csv. None where it reports no value."""

    moment: str
    """``start`` or ``middle`` of the measured time."""
    at: float
    """UNIX time, s."""
    host: str
    gpu: int
    """Its index on the host, also if the run does not use it."""
    name: str | None
    driver: str | None
    use_percent: float | None
    """Share of the last second or less in which a kernel ran, %."""
    memory_mb: float | None
    """In use by any process, MB (1e6 bytes)."""
    memory_total_mb: float | None
    power_w: float | None
    temperature_c: float | None
    p_state: str | None
    """P0 is the fastest state; larger numbers save more power."""


COLUMNS = [field.name for field in fields(GpuState)]


def read_gpus(moment: str) -> list[GpuState]:
    """Every GPU of this node that the job may see, idle ones too; empty without a driver."""
    states = _read_by_nvml(moment)
    return _read_by_nvidia_smi(moment) if states is None else states


def append_gpus(path: Path, states: Sequence[GpuState]) -> None:
    """Append lines to a CSV file, with its header first. Errors in writing are ignored."""
    if states:
        append_csv(path, COLUMNS, map(asdict, states))


def _read_by_nvml(moment: str) -> list[GpuState] | None:
    """None if NVML is not installed or does not answer."""
    nvml = _nvml()
    if nvml is None:
        return None
    try:
        driver = str(nvml.nvmlSystemGetDriverVersion())
        handles = [nvml.nvmlDeviceGetHandleByIndex(i) for i in range(nvml.nvmlDeviceGetCount())]
    except nvml.NVMLError:
        return None
    return [_nvml_state(nvml, handle, moment, gpu, driver) for gpu, handle in enumerate(handles)]


def _nvml_state(nvml: Any, handle: Any, moment: str, gpu: int, driver: str) -> GpuState:
    use = _query(nvml, nvml.nvmlDeviceGetUtilizationRates, handle)
    memory = _query(nvml, nvml.nvmlDeviceGetMemoryInfo, handle)
    power = _query(nvml, nvml.nvmlDeviceGetPowerUsage, handle)
    state = _query(nvml, nvml.nvmlDeviceGetPerformanceState, handle)
    return GpuState(
        moment,
        round(time.time(), 3),
        node_name(),
        gpu,
        name=_query(nvml, nvml.nvmlDeviceGetName, handle),
        driver=driver,
        use_percent=None if use is None else use.gpu,
        memory_mb=None if memory is None else round(memory.used / BYTES_PER_MB, 1),
        memory_total_mb=None if memory is None else round(memory.total / BYTES_PER_MB, 1),
        power_w=None if power is None else round(power * MILLI, 1),
        temperature_c=_query(
            nvml, nvml.nvmlDeviceGetTemperature, handle, nvml.NVML_TEMPERATURE_GPU
        ),
        p_state=None if state in (None, nvml.NVML_PSTATE_UNKNOWN) else f"P{state}",
    )


def _read_by_nvidia_smi(moment: str) -> list[GpuState]:
    lines = nvidia_smi(NVIDIA_SMI_QUERY)
    at, host = round(time.time(), 3), node_name()
    mib = BYTES_PER_MIB / BYTES_PER_MB
    return [
        GpuState(
            moment, at, host, gpu, name, driver, _number(use), _number(used, mib),
            _number(total, mib), _number(power), _number(temperature),
            state if state.startswith("P") else None,
        )
        for gpu, (name, driver, use, used, total, power, temperature, state) in enumerate(lines)
    ]  # fmt: skip


def nvidia_smi(query: Sequence[str]) -> list[list[str]]:
    """The values of ``query``, by nvidia-smi's names, for each GPU; empty if it fails."""
    argv = ["nvidia-smi", f"--query-gpu={','.join(query)}", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(
            argv, capture_output=True, text=True, timeout=NVIDIA_SMI_TIMEOUT_S, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return []
    lines = csv.reader(done.stdout.splitlines(), skipinitialspace=True)
    return [line for line in lines if len(line) == len(query)]


def _number(text: str, scale: float = 1.0) -> float | None:
    """None for text that is not a number, such as ``[N/A]``."""
    try:
        return round(float(text) * scale, 1)
    except ValueError:
        return None


@dataclass(frozen=True)
class DeviceSample:
    """All devices of a process at one moment; None where the hardware reports no value."""

    use_percent: float | None
    """Share of time in which a kernel ran, mean over devices, %."""
    memory_mb: float | None
    """Memory in use, all devices together, MB."""
    power_w: float | None
    """Power drawn, all devices together, W."""


class Devices:
    """The GPUs, or instances (MIG) of GPUs, that a process computes on, by CUDA's UUIDs.

    Of an instance only its memory is known. Use, power and energy are measured for the whole GPU,
    which other processes may use: they are None.
    """

    def __init__(self, library: Any, uuids: Sequence[str]) -> None:
        """Raises NVMLError or LookupError if a device cannot be identified."""
        self._nvml = library
        self._handles = [_device(library, uuid) for uuid in uuids]
        self._whole = not any(map(library.nvmlDeviceIsMigDeviceHandle, self._handles))

    def sample(self) -> DeviceSample:
        """Use, memory and power now."""
        nvml = self._nvml
        use = self._of_whole(lambda handle: float(nvml.nvmlDeviceGetUtilizationRates(handle).gpu))
        memory = self._of_all(lambda handle: nvml.nvmlDeviceGetMemoryInfo(handle).used)
        power = self._of_whole(nvml.nvmlDeviceGetPowerUsage)
        return DeviceSample(
            use_percent=None if use is None else sum(use) / len(use),
            memory_mb=None if memory is None else sum(memory) / BYTES_PER_MB,
            power_w=None if power is None else sum(power) * MILLI,
        )

    def energy_j(self) -> float | None:
        """Joules used since the driver was loaded; None on GPUs before Volta."""
        energy = self._of_whole(self._nvml.nvmlDeviceGetTotalEnergyConsumption)
        return None if energy is None else sum(energy) * MILLI

    @property
    def driver(self) -> str | None:
        """The driver's version."""
        version: str | None = _query(self._nvml, self._nvml.nvmlSystemGetDriverVersion)
        return version

    def _of_whole(self, query: Callable[[Any], float]) -> list[float] | None:
        """As ``_of_all``, for values that are measured for whole GPUs."""
        return self._of_all(query) if self._whole else None

    def _of_all(self, query: Callable[[Any], float]) -> list[float] | None:
        """The values of all devices; None if one of them has none."""
        try:
            return [query(handle) for handle in self._handles] or None
        except self._nvml.NVMLError:
            return None


def open_devices(uuids: Sequence[str]) -> Devices | None:
    """The devices with these UUIDs of CUDA; None if NVML or one of them is missing."""
    nvml = _nvml() if uuids else None
    if nvml is None:
        return None
    try:
        return Devices(nvml, uuids)
    except (nvml.NVMLError, LookupError):
        return None


def _nvml() -> Any:
    """The initialised library pynvml; None if it is not installed or finds no driver."""
    try:
        import pynvml
    except ImportError:
        return None
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return None
    return pynvml


def _query(nvml: Any, query: Any, *arguments: Any) -> Any:
    """None where NVML reports no value."""
    with contextlib.suppress(nvml.NVMLError):
        return query(*arguments)
    return None


def _device(nvml: Any, uuid: str) -> Any:
    """The handle of a GPU, or of the instance of it that this process computes on.

    An instance has its own UUID, but CUDA may report that of its GPU. Raises NVMLError or
    LookupError if neither is found, or if several instances are possible.
    """
    bare = uuid.removeprefix(GPU).removeprefix(MIG)
    with contextlib.suppress(nvml.NVMLError):
        return nvml.nvmlDeviceGetHandleByUUID(MIG + bare)
    gpu = nvml.nvmlDeviceGetHandleByUUID(GPU + bare)
    if not _is_divided(nvml, gpu):
        return gpu
    # a process sees only the first instance that the variable names
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "").partition(",")[0]
    if visible.startswith(MIG):
        with contextlib.suppress(nvml.NVMLError):
            return nvml.nvmlDeviceGetHandleByUUID(visible)
    instances = _instances(nvml, gpu)
    if visible.startswith(MIG):  # the start of a UUID is enough
        instances = [i for i in instances if nvml.nvmlDeviceGetUUID(i).startswith(visible)]
    if len(instances) != 1:
        raise LookupError(f"{uuid}: {len(instances)} instances match")
    return instances[0]


def _is_divided(nvml: Any, gpu: Any) -> bool:
    """Whether a GPU is divided into instances (MIG)."""
    try:
        return bool(nvml.nvmlDeviceGetMigMode(gpu)[0] == nvml.NVML_DEVICE_MIG_ENABLE)
    except nvml.NVMLError:  # this GPU has no MIG
        return False


def _instances(nvml: Any, gpu: Any) -> list[Any]:
    """The instances of ``gpu`` that this process may see."""
    instances = []
    for index in range(nvml.nvmlDeviceGetMaxMigDeviceCount(gpu)):
        with contextlib.suppress(nvml.NVMLError):  # there may be none at this index
            instances.append(nvml.nvmlDeviceGetMigDeviceHandleByIndex(gpu, index))
    return instances
