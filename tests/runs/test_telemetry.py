"""Telemetry of this host, and of GPUs with a fake library."""

import csv
import itertools
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from weather_hpc.runs.gpus import Devices, DeviceSample, open_devices
from weather_hpc.runs.telemetry import Energy, Sample, Telemetry


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_samples_of_a_busy_host(tmp_path: Path) -> None:
    path = tmp_path / "telemetry.csv"
    begin = time.time()
    with Telemetry(path=path, every_s=0.05) as telemetry:
        until = time.perf_counter() + 0.4
        while time.perf_counter() < until:
            pass
        assert rows(path), "samples are written before the run ends"
    written = rows(path)
    assert list(written[0]) == list(Sample.__dataclass_fields__)
    assert len(written) == len(telemetry.samples) >= 2
    times = [float(row["at"]) for row in written]
    assert times == sorted(times)
    assert begin - 1 < times[0] < times[-1] < time.time() + 1
    assert (telemetry.mean("foreign_cpu_percent") or 0.0) >= 0.0
    assert (telemetry.mean("host_cpu_percent") or 0.0) > 0.0
    assert all(float(row["host_memory_mb"]) > 1.0 for row in written)
    assert {row["device_power_w"] for row in written} == {""}
    assert telemetry.energy_j() is None
    assert telemetry.mean("device_use_percent") is None


BUSY = """
import time
from weather_hpc.runs.telemetry import Telemetry
with Telemetry(every_s=0.2) as telemetry:
    until = time.perf_counter() + 1
    while time.perf_counter() < until:
        pass
print(telemetry.mean("foreign_cpu_percent"), telemetry.mean("host_cpu_percent"))
"""


def test_a_run_s_own_load_is_not_foreign() -> None:
    """In a process without children, because other tests start and end some."""
    done = subprocess.run([sys.executable, "-c", BUSY], capture_output=True, text=True, check=True)
    foreign, whole = map(float, done.stdout.split())
    assert 0.0 <= foreign < whole


def test_a_resumed_run_adds_to_its_samples(tmp_path: Path) -> None:
    path = tmp_path / "telemetry.csv"
    counts = []
    for _ in range(2):
        with Telemetry(path=path) as telemetry:
            pass
        counts.append(len(telemetry.samples))
    assert len(rows(path)) == sum(counts)


class NVMLError(Exception):
    """The library's error."""


def named(handles: dict[str, Any]) -> Callable[[str], Any]:
    """The library's function from a UUID to a device."""

    def find(uuid: str) -> Any:
        if uuid not in handles:
            raise NVMLError("not found")
        return handles[uuid]

    return find


def library(**answers: Any) -> Any:
    """NVML with two devices; an answer that is an exception is raised."""

    def answer(name: str) -> Any:
        def ask(handle: Any) -> Any:
            value = answers[name]
            if isinstance(value, Exception):
                raise value
            return value[handle]

        return ask

    return SimpleNamespace(
        NVMLError=NVMLError,
        nvmlDeviceGetHandleByUUID=named({"GPU-a": 0, "GPU-b": 1}),
        nvmlDeviceIsMigDeviceHandle=lambda handle: False,
        nvmlDeviceGetMigMode=answer("mig"),
        nvmlSystemGetDriverVersion=lambda: "580.1",
        nvmlDeviceGetUtilizationRates=answer("use"),
        nvmlDeviceGetMemoryInfo=answer("memory"),
        nvmlDeviceGetPowerUsage=answer("power"),
        nvmlDeviceGetTotalEnergyConsumption=answer("energy"),
    )


def two_devices(**changes: Any) -> Devices:
    answers = {
        "use": [SimpleNamespace(gpu=40), SimpleNamespace(gpu=60)],
        "memory": [SimpleNamespace(used=1_000_000), SimpleNamespace(used=2_000_000)],
        "power": [100_000, 150_000],
        "energy": [1_000, 3_000],
        "mig": NVMLError("not supported"),
    }
    return Devices(library(**answers | changes), ["a", "GPU-b"])


def test_values_of_devices_are_summed_and_converted() -> None:
    devices = two_devices()
    assert devices.sample() == DeviceSample(use_percent=50.0, memory_mb=3.0, power_w=250.0)
    assert devices.energy_j() == 4.0
    assert devices.driver == "580.1"


def test_values_that_a_device_does_not_report_are_none() -> None:
    devices = two_devices(power=NVMLError("not supported"), energy=NVMLError("not supported"))
    assert devices.sample() == DeviceSample(use_percent=50.0, memory_mb=3.0, power_w=None)
    assert devices.energy_j() is None


CARD, FIRST, SECOND = "card", "MIG-1111-a", "MIG-1122-b"


def divided_card(monkeypatch: pytest.MonkeyPatch, instances: Sequence[str | None]) -> None:
    """A GPU with MIG; the handle of an instance is its UUID, None an index without an instance."""

    def place(card: str, index: int) -> str:
        found = instances[index]
        if found is None:
            raise NVMLError("not found")
        return found

    def of_the_card(handle: str) -> Any:
        raise AssertionError(f"a value of the whole GPU was queried for {handle}")

    known = {str(instance): instance for instance in instances} | {"GPU-0": CARD}
    fake = SimpleNamespace(
        NVMLError=NVMLError,
        NVML_DEVICE_MIG_ENABLE=1,
        nvmlInit=lambda: None,
        nvmlDeviceGetHandleByUUID=named(known),
        nvmlDeviceGetMigMode=lambda card: [1, 1],
        nvmlDeviceIsMigDeviceHandle=lambda handle: handle != CARD,
        nvmlDeviceGetMaxMigDeviceCount=lambda card: len(instances),
        nvmlDeviceGetMigDeviceHandleByIndex=place,
        nvmlDeviceGetUUID=lambda handle: handle,
        nvmlDeviceGetMemoryInfo=lambda handle: SimpleNamespace(
            used={FIRST: 1_000_000, SECOND: 2_000_000}[handle]
        ),
        nvmlDeviceGetUtilizationRates=of_the_card,
        nvmlDeviceGetPowerUsage=of_the_card,
        nvmlDeviceGetTotalEnergyConsumption=of_the_card,
    )
    monkeypatch.setitem(sys.modules, "pynvml", fake)


@pytest.mark.parametrize(
    ("uuid", "visible", "instances", "memory_mb"),
    [
        ("1122-b", "", [FIRST, SECOND], 2.0),  # CUDA reports the UUID of the instance
        (
            "0",
            SECOND,
            [FIRST, SECOND],
            2.0,
        ),  # CUDA reports that of the GPU; the job has this one
        ("0", f"{SECOND},{FIRST}", [FIRST, SECOND], 2.0),  # CUDA uses the first of several
        ("0", "MIG-112", [FIRST, None, SECOND], 2.0),  # the start of a UUID
        ("0", "0", [None, FIRST], 1.0),  # the only one
        ("0", "0", [FIRST, SECOND], None),  # ambiguous
        ("0", "MIG-3", [FIRST, SECOND], None),
    ],
)
def test_an_instance_has_its_own_memory_and_no_values_of_its_gpu(
    monkeypatch: pytest.MonkeyPatch,
    uuid: str,
    visible: str,
    instances: list[str | None],
    memory_mb: float | None,
) -> None:
    divided_card(monkeypatch, instances)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    devices = open_devices([uuid])
    if memory_mb is None:
        assert devices is None
        return
    assert devices is not None
    assert devices.sample() == DeviceSample(use_percent=None, memory_mb=memory_mb, power_w=None)
    assert devices.energy_j() is None


class Metered:
    """Devices that draw 200 W; their counter, if any, increases by 7 J at each reading."""

    def __init__(self, counter: bool) -> None:
        self.counts = itertools.count(10.0, 7.0) if counter else None

    def sample(self) -> DeviceSample:
        return DeviceSample(use_percent=None, memory_mb=None, power_w=200.0)

    def energy_j(self) -> float | None:
        return next(self.counts) if self.counts else None


def test_energy_comes_from_the_counter() -> None:
    with Telemetry(Metered(counter=True)) as telemetry:
        readings = [telemetry.energy_j() for _ in range(2)]
    assert readings == [10.0, 17.0]


def test_without_a_counter_energy_is_power_over_time() -> None:
    with Telemetry(Metered(counter=False), every_s=0.02) as telemetry:
        begin, before = time.perf_counter(), telemetry.energy_j()
        time.sleep(0.1)
        after, end = telemetry.energy_j(), time.perf_counter()
    assert before is not None
    assert after is not None
    assert 200.0 * 0.1 <= after - before <= 200.0 * (end - begin)


def test_energy_is_summed_over_ranks_and_epochs_or_unknown() -> None:
    energy = Energy()
    for parts in ([3.0, 4.0], [5.0, 6.0]):
        energy.begin_epoch()
        energy.add(parts)
    assert (energy.epoch_j, energy.total_j) == (11.0, 18.0)
    resumed = Energy(**vars(energy))
    resumed.add([1.0, 1.0])
    assert (resumed.epoch_j, resumed.total_j) == (13.0, 20.0), "a stop does not end an epoch"
    resumed.add([1.0, None])
    assert (resumed.epoch_j, resumed.total_j) == (None, None)


def test_without_gpus_there_are_no_devices() -> None:
    assert open_devices([]) is None


def test_an_unknown_device_is_none() -> None:
    assert open_devices(["GPU-00000000-0000-0000-0000-000000000000"]) is None
