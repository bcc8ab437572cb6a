"""What all GPUs of a node do at one moment, idle ones too: as nvidia-smi shows them."""

import contextlib
import csv
import subprocess
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from weather_hpc.files import append_csv
from weather_hpc.runs.nvml import BYTES_PER_MB, MILLI
from weather_hpc.runs.provenance import node_name

BYTES_PER_MIB = 2**20
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
