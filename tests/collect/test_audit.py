"""Every code of the audit: reported where it applies, and only there."""

from pathlib import Path
from typing import Any

import pytest

from tests.records_maker import leave, measured, preprocess_spec, train_spec
from weather_hpc.analysis.comparison import compare
from weather_hpc.collect.audit import audit
from weather_hpc.collect.duplicates import without_duplicates
from weather_hpc.collect.sources import find_runs, read_runs
from weather_hpc.runs.record import RunRecord
from weather_hpc.runs.row import Code, Finding, Severity


def findings(root: Path) -> list[Finding]:
    readings = without_duplicates(list(read_runs(find_runs([root]))))
    rows = [reading.row for reading in readings]
    return audit(readings, compare(rows))


def codes(root: Path) -> set[str]:
    return {str(finding.code) for finding in findings(root)}


def rank(number: int, **changes: Any) -> dict[str, Any]:
    return {"rank": number, "host": "n", "pid": number, "cpus": [number], "threads": 1, **changes}


def test_healthy_runs_have_no_finding(tmp_path: Path) -> None:
    for workers, time_s in ((1, 10.0), (2, 6.0)):
        leave(tmp_path, measured(preprocess_spec("multiprocessing", workers), time_s))
    leave(tmp_path, measured(preprocess_spec("sequential", 1), 10.0))
    leave(tmp_path, measured(train_spec("single", 1), 10.0))
    assert findings(tmp_path) == []


DDP2 = train_spec("ddp", 2)
RUN_CASES: list[tuple[str, Severity, RunRecord]] = [
    ("rank_count_mismatch", Severity.ERROR, measured(DDP2, 5.0, actual={"world_size": 1})),
    ("rank_count_mismatch", Severity.ERROR, measured(DDP2, 5.0, actual={"ranks": [rank(0)]})),
    ("missing_total", Severity.ERROR, measured(DDP2, None)),
    ("missing_total", Severity.WARNING, measured(DDP2, 5.0, phases={"total": None})),
    ("missing_total", Severity.ERROR, measured(DDP2, 5.0, phases={"total": 4.0})),
    ("missing_total", Severity.ERROR, measured(DDP2, 5.0, images_per_s=80.0)),
    (
        "hardware_mismatch", Severity.WARNING,
        measured(DDP2, 5.0, actual={"ranks": [rank(0, device_name="A100"),
                                              rank(1, device_name="H100")]}),
    ),
    ("foreign_load", Severity.WARNING, measured(DDP2, 5.0, usage={"foreign_cpu_percent": 10.5})),
    ("restarted", Severity.WARNING, measured(DDP2, 5.0, provenance={"restarts": 1})),
    ("incomplete_epochs", Severity.ERROR, measured(DDP2, 5.0, counts={"epochs": 1})),
    (
        "affinity_mismatch", Severity.WARNING,
        measured(DDP2, 5.0, actual={"ranks": [rank(0), rank(1, cpus=[0])]}),
    ),
    (
        "affinity_mismatch", Severity.WARNING,
        measured(DDP2, 5.0, actual={"ranks": [rank(0), rank(1, threads=2)]}),
    ),
]  # fmt: skip


@pytest.mark.parametrize(("code", "severity", "record"), RUN_CASES)
def test_a_finding_of_one_run(
    tmp_path: Path, code: str, severity: Severity, record: RunRecord
) -> None:
    leave(tmp_path, record)
    found = [f for f in findings(tmp_path) if f.code == code]
    assert [(f.source, f.severity) for f in found] == [(record.run_id, severity)]


@pytest.mark.parametrize(
    "record",
    [
        measured(DDP2, 5.0, actual={"ranks": [rank(0), rank(1)]}),
        measured(DDP2, 5.0, actual={"ranks": [rank(0, cpus=None), rank(1, threads=None)]}),
        measured(DDP2, 5.0, actual={"ranks": [rank(0, cpus=[0]), rank(1, cpus=[0], host="m")]}),
        measured(DDP2, 5.0, actual={"world_size": None, "ranks": []}),
        measured(DDP2, 5.0, usage={"foreign_cpu_percent": 10.0}),
        measured(DDP2, 5.0, images_per_s=None, phases={"total": 5.0}),
        measured(DDP2, 5.0, usage={"foreign_cpu_percent": None}),
        # one process drives both devices
        measured(
            train_spec("dp", 2, task={"device": "cuda"}), 5.0,
            actual={"ranks": [rank(0)], "device": "cuda"},
        ),
    ],
)  # fmt: skip
def test_no_finding_of_one_run(tmp_path: Path, record: RunRecord) -> None:
    leave(tmp_path, record)
    assert codes(tmp_path) == {"batch_semantics"}


def test_more_workers_than_cpus_are_a_note_where_asked_for(tmp_path: Path) -> None:
    shared = {"ranks": [rank(i, cpus=[0, 1]) for i in range(4)]}
    asked = {"cpus_per_node": 2, "cpus_per_worker": 0.5}
    leave(tmp_path, measured(preprocess_spec("multiprocessing", 4, resources=asked), 3.0,
                             actual=shared))  # fmt: skip
    (found,) = findings(tmp_path)
    assert (found.code, found.severity) == (Code.OVERSUBSCRIBED, Severity.INFO)
    assert found.message == "n: 4 workers on 2 CPUs, as asked for: they share CPUs"


def test_fewer_cpus_than_an_oversubscribed_run_asked_for_are_a_warning(tmp_path: Path) -> None:
    bound = {"ranks": [rank(i, cpus=[0]) for i in range(4)]}
    asked = {"cpus_per_node": 2, "oversubscribe": True}
    leave(tmp_path, measured(preprocess_spec("dask", 4, resources=asked), 3.0, actual=bound))
    (found,) = findings(tmp_path)
    assert (found.code, found.severity) == (Code.AFFINITY_MISMATCH, Severity.WARNING)
    assert found.message == (
        "4 ranks on n: 4 threads in total share CPUs [0], where the run asked for 2 CPUs"
    )


def test_epochs_are_also_counted_in_the_events(tmp_path: Path) -> None:
    leave(tmp_path, measured(train_spec("single", 1), 5.0), epochs=1)
    (found,) = findings(tmp_path)
    assert found.code is Code.INCOMPLETE_EPOCHS
    assert found.message == "2 epochs requested; events.jsonl holds 1"


def test_repeated_epochs_of_a_resumed_run_count_once(tmp_path: Path) -> None:
    run = leave(tmp_path, measured(train_spec("single", 1), 5.0), epochs=1)
    run.events.write_text(run.events.read_text() * 2 + "half a li")
    assert codes(tmp_path) == {"incomplete_epochs"}


def test_a_loss_that_is_not_a_number(tmp_path: Path) -> None:
    run = leave(tmp_path, measured(train_spec("single", 1), 5.0))
    run.events.write_text(run.events.read_text().replace("1.0", "NaN"))
    (found,) = findings(tmp_path)
    assert (found.code, found.severity) == (Code.NAN_LOSS, Severity.ERROR)
    assert "epoch 1: train_loss is nan" in found.message


def test_a_loss_that_is_not_a_number_in_the_record(tmp_path: Path) -> None:
    run = leave(tmp_path, measured(train_spec("single", 1), 5.0))
    text = run.record.read_text().replace('"train_loss": null', '"train_loss": NaN')
    run.record.write_text(text)
    (found,) = findings(tmp_path)
    assert found.code is Code.NAN_LOSS
    assert "train_loss" in found.message


def test_the_same_content_under_another_id(tmp_path: Path) -> None:
    record = measured(preprocess_spec("dask", 2), 3.0)
    other = preprocess_spec("dask", 2, repeat=1)
    leave(tmp_path, record)
    leave(tmp_path, record.model_copy(update={"spec": other, "run_id": other.run_id}))
    (found,) = findings(tmp_path)
    assert found.code is Code.DUPLICATE_CONTENT
    assert {found.source, record.run_id, other.run_id} == {record.run_id, other.run_id}


def test_the_same_content_under_another_batch_size_is_an_error_of_both(tmp_path: Path) -> None:
    record = measured(train_spec("single", 1), 3.0)
    other = train_spec("single", 1, task={"batch_size": 64})
    leave(tmp_path, record)
    leave(tmp_path, record.model_copy(update={"spec": other, "run_id": other.run_id}))
    found = findings(tmp_path)
    assert [finding.code for finding in found] == [Code.DUPLICATE_CONTENT] * 2
    assert {finding.source for finding in found} == {record.run_id, other.run_id}


def test_runs_with_equal_times_are_not_duplicates(tmp_path: Path) -> None:
    for repeat in range(2):
        leave(tmp_path, measured(preprocess_spec("dask", 2, repeat), 3.0))
    assert codes(tmp_path) == set()


def test_different_stores_from_the_same_images(tmp_path: Path) -> None:
    leave(tmp_path, measured(preprocess_spec("sequential", 1), 3.0))
    other = {"store_checksum": "cd" * 32}
    leave(tmp_path, measured(preprocess_spec("dask", 2), 3.0, quality=other))
    (found,) = findings(tmp_path)
    assert (found.code, found.severity) == (Code.REFERENCE_MISMATCH, Severity.ERROR)


def test_different_stores_from_different_numbers_of_images(tmp_path: Path) -> None:
    leave(tmp_path, measured(preprocess_spec("sequential", 1), 3.0))
    other = {"store_checksum": "cd" * 32}
    half = preprocess_spec("sequential", 1, task={"images": 50})
    leave(tmp_path, measured(half, 1.5, quality=other))
    assert codes(tmp_path) == set()


@pytest.mark.parametrize(("parallel", "superlinear"), [(4.9, False), (4.7, True)])
def test_superlinear_without_intervals(tmp_path: Path, parallel: float, superlinear: bool) -> None:
    leave(tmp_path, measured(preprocess_spec("sequential", 1), 10.0))
    leave(tmp_path, measured(preprocess_spec("multiprocessing", 2), parallel))
    assert ("superlinear" in codes(tmp_path)) is superlinear


@pytest.mark.parametrize(("parallel", "severity"), [(2.6, "warning"), (2.4, "error")])
def test_an_impossible_speedup(tmp_path: Path, parallel: float, severity: str) -> None:
    leave(tmp_path, measured(preprocess_spec("sequential", 1), 10.0))
    leave(tmp_path, measured(preprocess_spec("multiprocessing", 2), parallel))
    (found,) = findings(tmp_path)
    assert (found.code, found.severity) == ("superlinear", severity)


@pytest.mark.parametrize(("slowest", "superlinear"), [(6.0, False), (4.9, True)])
def test_superlinear_with_intervals(tmp_path: Path, slowest: float, superlinear: bool) -> None:
    for repeat, time_s in enumerate((4.5, 4.6, slowest)):
        leave(tmp_path, measured(preprocess_spec("sequential", 1, repeat), 10.0))
        leave(tmp_path, measured(preprocess_spec("multiprocessing", 2, repeat), time_s))
    assert ("superlinear" in codes(tmp_path)) is superlinear


@pytest.mark.parametrize(
    ("baseline_repeats", "name"), [(5, "range of the repeats"), (6, "95 % interval")]
)
def test_a_superlinear_speedup_names_its_interval_by_the_fewest_repeats(
    tmp_path: Path, baseline_repeats: int, name: str
) -> None:
    for repeat in range(baseline_repeats):
        leave(tmp_path, measured(preprocess_spec("sequential", 1, repeat), 10.0))
    for repeat in range(6):
        leave(tmp_path, measured(preprocess_spec("multiprocessing", 2, repeat), 4.0 + repeat / 100))
    (found,) = findings(tmp_path)
    assert f"({name} from 2.4" in found.message


@pytest.mark.parametrize(
    ("study", "mismatch"), [("demo", True), ("elsewhere", False)]
)  # fmt: skip
def test_mixed_hardware(tmp_path: Path, study: str, mismatch: bool) -> None:
    leave(tmp_path, measured(preprocess_spec("sequential", 1), 10.0))
    other = preprocess_spec("multiprocessing", 2, study=study)
    leave(tmp_path, measured(other, 6.0, provenance={"cpu_model": "B CPU"}))
    found = [f for f in findings(tmp_path) if f.code is Code.HARDWARE_MISMATCH]
    assert len(found) == mismatch
    if found:
        assert "1 on A CPU (16 CPUs), 1 on B CPU (16 CPUs)" in found[0].message


def test_batch_semantics(tmp_path: Path) -> None:
    leave(tmp_path, measured(train_spec("single", 1), 5.0))
    assert codes(tmp_path) == set()
    leave(tmp_path, measured(train_spec("ddp", 2), 5.0))
    (grows,) = findings(tmp_path)
    assert grows.severity is Severity.INFO
    assert "up to 64" in grows.message
    leave(tmp_path, measured(train_spec("ddp", 4, task={"batch_mode": "global"}), 5.0))
    assert {f.code for f in findings(tmp_path)} == {Code.BATCH_SEMANTICS}
    assert len(findings(tmp_path)) == 2


def test_errors_come_first_and_every_finding_is_one_line(tmp_path: Path) -> None:
    leave(tmp_path, measured(train_spec("ddp", 2), 5.0, actual={"world_size": 1}))
    leave(tmp_path, measured(train_spec("ddp", 4), 5.0, usage={"foreign_cpu_percent": 90.0}))
    found = findings(tmp_path)
    assert [f.severity for f in found] == ["error", "warning", "info"]
    assert not any("\n" in f.message for f in found)
