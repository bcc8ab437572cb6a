"""The record: written whole, read back the same, and refused where it is not one."""

import json
from pathlib import Path

import pytest

from weather_hpc.errors import UserError
from weather_hpc.runs.clock import Clock, ForeignLoad
from weather_hpc.runs.record import RunRecord, Status, read_record
from weather_hpc.runs.writer import RunWriter, read_spec
from weather_hpc.study.spec import RunSpec, Stage
from weather_hpc.study.tasks import PreprocessTask


@pytest.fixture
def spec() -> RunSpec:
    task = PreprocessTask.model_validate({"backend": "sequential", "workers": 1})
    return RunSpec(study="s", stage=Stage.PREPROCESS, task=task, data="/images")


def test_what_is_written_is_read_back(spec: RunSpec, tmp_path: Path) -> None:
    record = RunRecord.of(spec, status=Status.OK, time_s=1.5)
    record.write(tmp_path / "record.json")
    assert read_record(tmp_path / "record.json") == record


def test_missing_values_are_null_and_not_0(spec: RunSpec, tmp_path: Path) -> None:
    RunRecord.of(spec).write(tmp_path / "r.json")
    value = json.loads((tmp_path / "r.json").read_text())
    assert value["time_s"] is None
    assert set(value["phases"].values()) == {None}
    assert value["usage"]["energy_j"] is None


def test_nan_is_never_written(spec: RunSpec, tmp_path: Path) -> None:
    record = RunRecord.of(spec)
    record.time_s = float("nan")
    with pytest.raises(ValueError, match="time_s"):
        record.write(tmp_path / "r.json")
    assert not (tmp_path / "r.json").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema_version": 99}, "schema_version 99 found, expected 1"),
        ({"time_s": "soon"}, "time_s: "),
        ({"phases": {"compute": "x"}}, r"phases\.compute: "),
        ({"surprise": 1}, "surprise: "),
        ({"status": "great"}, "status: "),
    ],
)
def test_a_record_that_does_not_fit(
    spec: RunSpec, tmp_path: Path, change: dict[str, object], message: str
) -> None:
    value = RunRecord.of(spec).model_dump(mode="json") | change
    path = tmp_path / "record.json"
    path.write_text(json.dumps(value))
    with pytest.raises(UserError, match=message) as caught:
        read_record(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("text", ["", "{", "[]", "3", "[" * 100_000])
def test_garbage_is_no_record(tmp_path: Path, text: str) -> None:
    path = tmp_path / "record.json"
    path.write_text(text)
    with pytest.raises(UserError):
        read_record(path)


def test_a_run_that_dies_leaves_an_incomplete_record(spec: RunSpec, tmp_path: Path) -> None:
    RunWriter(spec, tmp_path / "run")
    assert read_record(tmp_path / "run" / "record.json").status is Status.INCOMPLETE


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ValueError("bad\nthing"), Status.FAILED),
        (MemoryError(), Status.OUT_OF_MEMORY),
        (KeyboardInterrupt(), Status.CANCELLED),
    ],
)
def test_an_exception_is_recorded_and_goes_on(
    spec: RunSpec, tmp_path: Path, error: BaseException, status: Status
) -> None:
    with pytest.raises(type(error)), RunWriter(spec, tmp_path):
        raise error
    record = read_record(tmp_path / "record.json")
    assert record.status is status
    assert record.reason is not None
    assert "\n" not in record.reason


def test_events_are_json_lines(spec: RunSpec, tmp_path: Path) -> None:
    writer = RunWriter(spec, tmp_path)
    writer.event("epoch", epoch=0, loss=1.5)
    writer.event("epoch", epoch=1, loss=1.0)
    lines = [json.loads(line) for line in (tmp_path / "events.jsonl").read_text().splitlines()]
    assert [line["loss"] for line in lines] == [1.5, 1.0]


def test_provenance_names_versions_and_command(spec: RunSpec, tmp_path: Path) -> None:
    provenance = RunWriter(spec, None).record.provenance
    assert provenance.packages["numpy"]
    assert provenance.command
    assert provenance.started_at is not None


def test_provenance_holds_the_settings_of_what_computes_and_exchanges(
    spec: RunSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {
        "OMP_NUM_THREADS": "3",
        "NCCL_DEBUG": "WARN",
        "GLOO_SOCKET_IFNAME": "lo",
        "PYTORCH_CUDA_ALLOC_CONF": "expandable_segments:True",
        "PYTORCH_ALLOC_CONF": "backend:native",
        "TORCH_NCCL_BLOCKING_WAIT": "1",
    }
    for name in (*settings, "NCCLISH", "PYTORCH_VERSION"):
        monkeypatch.setenv(name, settings.get(name, "x"))
    found = RunWriter(spec, None).record.provenance.environment
    assert {name: found.get(name) for name in settings} == settings
    assert found.keys().isdisjoint({"NCCLISH", "PYTORCH_VERSION", "PATH"})


def test_the_launchers_spec_is_found(spec: RunSpec, tmp_path: Path) -> None:
    assert read_spec(None) is None
    assert read_spec(tmp_path) is None
    (tmp_path / "spec.json").write_text(json.dumps(spec.as_dict()))
    assert read_spec(tmp_path) == spec


def test_clock_adds_up_and_synchronises_both_ends() -> None:
    waits: list[int] = []
    clock = Clock(synchronise=lambda: waits.append(1))
    for _ in range(2):
        with clock.phase("compute"):
            pass
    assert set(clock.seconds) == {"compute"}
    assert clock.seconds["compute"] > 0
    assert len(waits) == 4


def test_our_own_work_is_not_foreign_load() -> None:
    load = ForeignLoad()
    own_before = load._own_busy()
    total = 0
    for number in range(3_000_000):
        total += number
    assert load._own_busy() > own_before
    assert load.percent() >= 0.0
