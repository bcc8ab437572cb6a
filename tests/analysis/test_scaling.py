"""The scaling tables, recomputed here from the records by the plainest means."""

import statistics
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from tests.records_maker import leave, leave_all, measured, preprocess_spec, train_spec
from weather_hpc.analysis.comparison import compare
from weather_hpc.collect.sources import find_runs, read_runs
from weather_hpc.runs.record import RunRecord, Status
from weather_hpc.runs.row import Row
from weather_hpc.study.spec import Stage

PREPROCESS_HEAD = [
    "backend",
    "workers",
    "runs",
    "time_s",
    "time_s_low",
    "time_s_high",
    "startup_s",
    "images_per_s",
    "speedup",
    "speedup_low",
    "speedup_high",
    "efficiency",
    "baseline",
]
TRAINING_HEAD = [
    "strategy",
    "device",
    "nodes",
    "world_size",
    "batch_size_per_device",
    "batch_size_global",
    "runs",
    "time_s",
    "time_s_low",
    "time_s_high",
    "startup_s",
    "images_per_s",
    "speedup",
    "speedup_low",
    "speedup_high",
    "efficiency",
    "test_accuracy",
    "node_hours",
    "baseline",
]


def rows_of(root: Path) -> list[Row]:
    return [run.row for run in read_runs(find_runs([root]))]


def rows_from(root: Path, records: Iterable[RunRecord]) -> list[Row]:
    leave_all(root, list(records))
    return rows_of(root)


def preprocess_runs(times: dict[tuple[str, int], list[float]], **spec: Any) -> list[RunRecord]:
    return [
        measured(preprocess_spec(backend, workers, repeat, **spec), time_s)
        for (backend, workers), repeats in times.items()
        for repeat, time_s in enumerate(repeats)
    ]


TIMES = {
    ("dask", 2): [6.0, 6.2, 5.9],
    ("multiprocessing", 10): [2.1, 2.0, 2.2],
    ("multiprocessing", 2): [5.0, 5.5, 5.2],
    ("sequential", 1): [10.0, 10.4, 10.1],
}


def test_preprocess_table_is_what_the_records_say(tmp_path: Path) -> None:
    table = compare(rows_from(tmp_path, preprocess_runs(TIMES))).preprocess.table
    assert table.columns[: len(PREPROCESS_HEAD)] == PREPROCESS_HEAD
    order = [(row["backend"], row["workers"]) for row in table.rows]
    assert order == [
        ("sequential", 1), ("multiprocessing", 2), ("multiprocessing", 10), ("dask", 2),
    ]  # fmt: skip
    base = statistics.median(TIMES["sequential", 1])
    for row in table.rows:
        times = TIMES[row["backend"], row["workers"]]
        assert row["runs"] == 3
        assert row["time_s"] == statistics.median(times)
        assert (row["time_s_low"], row["time_s_high"]) == (min(times), max(times))
        assert row["startup_s"] == 0.5
        assert row["images_per_s"] == pytest.approx(100 / statistics.median(times))
        assert row["speedup"] == pytest.approx(base / statistics.median(times))
        assert row["efficiency"] == pytest.approx(row["speedup"] / row["workers"])
        assert row["baseline"] == "sequential, 1 worker"
        if row["backend"] != "sequential":
            assert row["speedup_low"] <= row["speedup"] <= row["speedup_high"]
            assert row["speedup_low"] >= 10.0 / max(times)
            assert row["speedup_high"] <= 10.4 / min(times)


def test_one_run_has_no_interval_and_no_baseline_no_speedup(tmp_path: Path) -> None:
    (row,) = compare(
        rows_from(tmp_path, preprocess_runs({("dask", 2): [6.0]}))
    ).preprocess.table.rows
    assert row["time_s"] == 6.0
    empty = ["time_s_low", "time_s_high", "speedup", "speedup_low", "speedup_high"]
    assert [row[column] for column in [*empty, "efficiency", "baseline"]] == [None] * 7


@pytest.mark.parametrize(
    "other",
    [{"study": "other"}, {"data": "/other"}, {"task": {"image_size": 64}}, {"task": {"images": 9}}],
)
def test_other_work_is_no_baseline(tmp_path: Path, other: dict[str, Any]) -> None:
    records = preprocess_runs({("sequential", 1): [10.0]}, **other)
    records += preprocess_runs({("dask", 2): [6.0]})
    by_backend = {
        r["backend"]: r for r in compare(rows_from(tmp_path, records)).preprocess.table.rows
    }
    assert by_backend["dask"]["speedup"] is None
    assert by_backend["sequential"]["speedup"] == 1.0


def test_weak_scaling_compares_images_per_second(tmp_path: Path) -> None:
    records = [
        measured(preprocess_spec("sequential", 1, scaling="weak", task={"images": 50}), 10.0),
        measured(preprocess_spec("dask", 4, scaling="weak", task={"images": 200}), 12.5),
        measured(preprocess_spec("dask", 2, scaling="weak", task={"images": 80}), 9.0),
    ]
    rows = compare(rows_from(tmp_path, records)).preprocess.table.rows
    speedups = {(row["backend"], row["workers"]): row["speedup"] for row in rows}
    assert speedups["dask", 4] == pytest.approx((200 / 12.5) / (50 / 10.0))
    assert speedups["dask", 2] is None  # 40 images a worker, not 50
    assert {row["scaling"] for row in rows} == {"weak"}


def train_runs(root: Path) -> list[Row]:
    for repeat, factor in enumerate((1.0, 1.1, 0.95)):
        for batch, base in ((32, 20.0), (64, 16.0)):
            for strategy, ranks, time_s in (("single", 1, base), ("ddp", 2, base / 1.6)):
                spec = train_spec(strategy, ranks, repeat, task={"batch_size": batch})
                leave(root, measured(spec, time_s * factor, phases={"total": 3600.0}))
    return rows_of(root)


def test_training_table_is_what_the_records_say(tmp_path: Path) -> None:
    table = compare(train_runs(tmp_path)).training.table
    assert table.columns[: len(TRAINING_HEAD)] == TRAINING_HEAD
    assert len(table.rows) == 4
    for row in table.rows:
        expected = 1.0 if row["strategy"] == "single" else 1.6
        assert row["speedup"] == pytest.approx(expected)
        assert row["efficiency"] == pytest.approx(expected / row["world_size"])
        assert row["batch_size_global"] == row["batch_size_per_device"] * row["world_size"]
        assert row["baseline"] == f"single on cpu, batch {row['batch_size_per_device']}"
        assert row["node_hours"] == 1.0
        assert row["test_accuracy"] == 0.5


@pytest.mark.parametrize(
    "other",
    [{"batch_size": 48}, {"epochs": 3}, {"model": "other"}, {"threads_per_rank": 2}, {"images": 9}],
)
def test_training_baseline_did_the_same_work(tmp_path: Path, other: dict[str, Any]) -> None:
    records = [
        measured(train_spec("single", 1, task=other), 10.0),
        measured(train_spec("ddp", 2), 6.0),
    ]
    rows = compare(rows_from(tmp_path, records)).training.table.rows
    assert [row["speedup"] for row in rows] == [1.0, None]


@pytest.mark.parametrize(
    ("mode", "batch", "singles", "taken"),
    [
        ("per-device", 32, (32, 64), 32),
        ("global", 64, (32, 64), 64),
        ("per-device", 32, (64,), None),
        ("global", 64, (32,), None),
    ],
)
def test_the_baseline_has_the_batch_size_that_the_study_fixed(
    tmp_path: Path, mode: str, batch: int, singles: tuple[int, ...], taken: int | None
) -> None:
    """Two ranks with 32 images each, 64 together: which is fixed decides the baseline."""
    records = [
        measured(train_spec("single", 1, task={"batch_size": size}), float(size))
        for size in singles
    ]
    task = {"batch_size": batch, "batch_mode": mode}
    records.append(measured(train_spec("ddp", 2, task=task), 10.0))
    row = compare(rows_from(tmp_path, records)).training.table.rows[-1]
    assert (row["batch_size_per_device"], row["batch_size_global"]) == (32, 64)
    if taken is None:
        assert (row["baseline"], row["speedup"]) == (None, None)
        words = "32 per device" if mode == "per-device" else "64 of all devices"
        assert row["note"] == f"no baseline on one device with batch {words}"
    else:
        assert row["baseline"] == f"single on cpu, batch {taken}"
        assert row["speedup"] == taken / 10.0


def test_a_gpu_is_not_compared_with_a_cpu(tmp_path: Path) -> None:
    on_gpu = measured(train_spec("ddp", 2, task={"device": "auto"}), 2.0, actual={"device": "cuda"})
    rows = compare(
        rows_from(tmp_path, [measured(train_spec("single", 1), 9.0), on_gpu])
    ).training.table.rows
    assert {row["device"]: row["speedup"] for row in rows} == {"cpu": 1.0, "cuda": None}


def test_repeats_on_different_devices_are_not_one_configuration(tmp_path: Path) -> None:
    records = [
        measured(
            train_spec("single", 1, repeat, task={"device": "auto"}), 9.0, actual={"device": device}
        )
        for repeat, device in enumerate(("cpu", "cuda", "cpu"))
    ]
    rows = compare(rows_from(tmp_path, records)).training.table.rows
    assert {row["device"]: row["runs"] for row in rows} == {"cpu": 2, "cuda": 1}


def test_what_could_not_be_run_is_shown_empty(tmp_path: Path) -> None:
    reason = "asks for 1 CUDA GPU; this machine has 0"
    spec = train_spec("single", 1, task={"device": "cuda"})
    skipped = RunRecord.of(spec, status=Status.SKIPPED, reason=reason)
    (row,) = compare(rows_from(tmp_path, [skipped])).training.table.rows
    assert (row["device"], row["runs"], row["note"]) == ("cuda", 0, f"skipped: {reason}")
    figures = [*TRAINING_HEAD[7:], "images"]
    assert {column: row[column] for column in figures} == dict.fromkeys(figures)


def test_a_note_tells_of_missing_and_restarted_repeats(tmp_path: Path) -> None:
    records = preprocess_runs({("sequential", 1): [3.0, 3.1]})
    failed = preprocess_spec("sequential", 1, repeat=2)
    records.append(RunRecord.of(failed, status=Status.FAILED, reason="lost a worker"))
    records.append(measured(preprocess_spec("dask", 1), 2.0, provenance={"restarts": 1}))
    rows = compare(rows_from(tmp_path, records)).preprocess.table.rows
    assert [row["runs"] for row in rows] == [2, 1]
    assert [row["note"] for row in rows] == [
        "1 of 3 failed: lost a worker",
        "1 of 1 restarted; super-linear: faster than its workers explain",
    ]


def test_figures_that_were_not_recorded_stay_empty(tmp_path: Path) -> None:
    record = measured(train_spec("single", 1), 5.0, images_per_s=None, phases={"total": None})
    (row,) = compare(rows_from(tmp_path, [record])).training.table.rows
    assert row["time_s"] == 5.0
    assert (row["images_per_s"], row["node_hours"]) == (None, None)


def test_every_run_is_in_a_table_or_rejected(tmp_path: Path) -> None:
    rows = train_runs(tmp_path)
    rows += rows_from(tmp_path / "more", preprocess_runs(TIMES))
    in_tables = sum(
        r["runs"]
        for t in (compare(rows).preprocess.table, compare(rows).training.table)
        for r in t.rows
    )
    assert in_tables == len([row for row in rows if row.table]) == len(rows)


def array_run(operation: str, engine: str, workers: int, time_s: float) -> Row:
    return Row(
        run_id=f"{operation}-{engine}-{workers}", source="here", status="ok", table="array",
        stage="array", configuration=f"{operation}-{engine}-{workers}", scaling="strong",
        operation=operation, engine=engine, workers=workers, array_input="memory",
        chunk_images=32, time_s=time_s,
    )  # fmt: skip


def test_array_operations_are_compared_with_numpy_on_one_worker() -> None:
    rows = [
        array_run("histogram", "dask-array", 2, 4.0),
        array_run("mean-std", "numpy", 1, 8.0),
        array_run("mean-std", "numpy", 2, 5.0),
        array_run("mean-std", "dask-array", 2, 4.0),
    ]
    comparison = compare(rows)
    table = comparison.by_stage[Stage.ARRAY].table
    found = [(table.label(row), row["speedup"], row["baseline"]) for row in table.rows]
    assert found == [
        ("histogram, dask-array, 2 workers", None, None),
        ("mean-std, numpy, 1 worker", 1.0, "numpy, 1 worker"),
        ("mean-std, numpy, 2 workers", 1.6, "numpy, 1 worker"),
        ("mean-std, dask-array, 2 workers", 2.0, "numpy, 1 worker"),
    ]
    numpy = next(s for s in comparison.series if s.label == "mean-std, numpy")
    assert numpy.workers == [1, 2]


def test_another_engine_may_be_faster_than_its_workers_explain() -> None:
    """It is another program: neither a wrong measurement nor parallel work."""
    stage = compare(
        [
            array_run("mean-std", "numpy", 1, 8.0),
            array_run("mean-std", "numpy", 2, 2.0),
            array_run("mean-std", "opencv", 1, 1.0),
            array_run("mean-std", "opencv", 2, 0.5),
        ]
    ).by_stage[Stage.ARRAY]
    found = {
        (row["engine"], row["workers"]): (
            row["speedup"], row["serial_fraction"] is None, stage.table.superlinear(row)
        )
        for row in stage.table.rows
    }  # fmt: skip
    assert found == {
        ("numpy", 1): (1.0, True, False),
        ("numpy", 2): (4.0, False, True),
        ("opencv", 1): (8.0, True, False),
        ("opencv", 2): (16.0, True, False),
    }
