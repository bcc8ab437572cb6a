"""The state of all GPUs of a node, with a fake library and a fake nvidia-smi."""

import csv
import os
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from weather_hpc.runs.gpus import COLUMNS, append_gpus, read_gpus


class NVMLError(Exception):
    """The library's error."""


def library(monkeypatch: pytest.MonkeyPatch, **answers: Any) -> None:
    """NVML with a busy and an idle GPU; an answer None is an error."""
    of_both: dict[str, Any] = {
        "Name": ["NVIDIA H100", "NVIDIA H100"],
        "UtilizationRates": [SimpleNamespace(gpu=97), SimpleNamespace(gpu=0)],
        "MemoryInfo": [
            SimpleNamespace(used=5_000_000, total=80_000_000),
            SimpleNamespace(used=1_000_000, total=80_000_000),
        ],
        "PowerUsage": [651_234, 70_000],
        "PerformanceState": [0, 8],
    } | answers

    def answer(name: str) -> Any:
        def ask(handle: int, *_: Any) -> Any:
            if of_both[name] is None:
                raise NVMLError("not supported")
            return of_both[name][handle]

        return ask

    fake = SimpleNamespace(
        NVMLError=NVMLError,
        NVML_TEMPERATURE_GPU=0,
        NVML_PSTATE_UNKNOWN=32,
        nvmlInit=lambda: None,
        nvmlSystemGetDriverVersion=lambda: "580.65.06",
        nvmlDeviceGetCount=lambda: 2,
        nvmlDeviceGetHandleByIndex=lambda index: index,
        nvmlDeviceGetTemperature=lambda handle, sensor: [64, 30][handle],
        **{f"nvmlDeviceGet{name}": answer(name) for name in of_both},
    )
    monkeypatch.setitem(sys.modules, "pynvml", fake)


def test_idle_gpus_are_read_too(monkeypatch: pytest.MonkeyPatch) -> None:
    library(monkeypatch)
    monkeypatch.setenv("SLURMD_NODENAME", "node7")
    busy, idle = read_gpus("middle")
    assert (busy.moment, busy.host, busy.gpu, busy.name) == ("middle", "node7", 0, "NVIDIA H100")
    assert busy.driver == "580.65.06"
    assert (busy.use_percent, busy.memory_mb, busy.memory_total_mb) == (97, 5.0, 80.0)
    assert (busy.power_w, busy.temperature_c, busy.p_state) == (651.2, 64, "P0")
    assert (idle.gpu, idle.use_percent, idle.p_state) == (1, 0, "P8")


def test_values_that_a_gpu_does_not_report_are_empty(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    library(monkeypatch, UtilizationRates=None, MemoryInfo=None, PerformanceState=[32, 32])
    append_gpus(tmp_path / "file", read_gpus("start"))
    with (tmp_path / "file").open(newline="") as file:
        line = next(csv.DictReader(file))
    empty = {"use_percent", "memory_mb", "memory_total_mb", "p_state"}
    assert {name for name, text in line.items() if text == ""} == empty


PROGRAM = """#!/bin/sh
[ "$1" = --query-gpu=name,driver_version,utilization.gpu,memory.used,memory.total,\
power.draw,temperature.gpu,pstate ] && [ "$2" = --format=csv,noheader,nounits ] || exit 2
echo 'Tesla P100-PCIE-16GB, 470.57.02, 40, 1000, 16280, 31.52, 38, P0'
echo 'Tesla P100-PCIE-16GB, 470.57.02, [N/A], [N/A], 16280, [Not Supported], 35, [N/A]'
"""


def test_without_the_library_nvidia_smi_is_read(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    (tmp_path / "nvidia-smi").write_text(PROGRAM)
    (tmp_path / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    busy, idle = read_gpus("start")
    assert (busy.name, busy.driver) == ("Tesla P100-PCIE-16GB", "470.57.02")
    assert (busy.use_percent, busy.power_w, busy.p_state) == (40.0, 31.5, "P0")
    assert (busy.memory_mb, busy.memory_total_mb) == (1048.6, 17070.8)  # it reports MiB
    assert (idle.gpu, idle.use_percent, idle.memory_mb) == (1, None, None)
    assert (idle.power_w, idle.temperature_c, idle.p_state) == (None, 35.0, None)


@pytest.mark.parametrize("program", [None, "#!/bin/sh\nexit 9\n", "#!/bin/sh\necho No devices\n"])
def test_without_either_there_are_no_gpus_and_no_file(
    program: str | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    monkeypatch.setenv("PATH", str(tmp_path))
    if program is not None:
        (tmp_path / "nvidia-smi").write_text(program)
        (tmp_path / "nvidia-smi").chmod(0o755)
    states = read_gpus("start")
    assert states == []
    append_gpus(tmp_path / "file", states)
    assert not (tmp_path / "file").exists()


def test_moments_are_in_one_file_with_one_header(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    library(monkeypatch)
    for moment in ("start", "middle"):
        append_gpus(tmp_path / "file", read_gpus(moment))
    with (tmp_path / "file").open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert list(lines[0]) == COLUMNS
    assert [(line["moment"], line["gpu"]) for line in lines] == [
        ("start", "0"), ("start", "1"), ("middle", "0"), ("middle", "1"),
    ]  # fmt: skip
