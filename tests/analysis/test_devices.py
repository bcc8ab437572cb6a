"""Across devices: which configurations are compared, by how much, and with what certainty."""

from dataclasses import replace
from typing import Any

import pytest

from tests.analysis.rows_maker import ddp, training
from weather_hpc.analysis.comparison import compare
from weather_hpc.analysis.device_sentences import device_sentences
from weather_hpc.analysis.devices import (
    DEVICE_COLUMNS,
    Kind,
    devices_table,
    measured_devices,
)
from weather_hpc.analysis.steps import Verdict
from weather_hpc.runs.row import Row

CPU = {"device": "cpu", "cpu_model": "Xeon"}
P100 = {"device": "cuda", "device_name": "Tesla P100", "threads_per_rank": 2, "cpu_model": "Xeon"}
SIX = (1.0, 1.01, 0.99, 1.02, 0.98, 1.005)


def times(around: float, factors: tuple[float, ...] = SIX) -> list[float]:
    return [around * factor for factor in factors]


def lines(rows: list[Row], kind: Kind | None = None) -> list[dict[str, Any]]:
    table = devices_table(compare(rows))
    assert table.columns == DEVICE_COLUMNS
    assert all(set(row) == set(DEVICE_COLUMNS) for row in table.rows)
    return [row for row in table.rows if kind in (None, row["kind"])]


def of_the_study() -> list[Row]:
    """The study's 270 s on a CPU with 8 threads and 79 s on a GPU, and 500 s with 2 threads."""
    return [
        *training("single", 1, times(270.0), threads_per_rank=8, **CPU),
        *training("single", 1, times(500.0), threads_per_rank=2, **CPU),
        *training("single", 1, times(79.0), **P100),
    ]


def test_a_gpu_against_each_thread_count_of_the_cpu() -> None:
    by_threads = {row["against_threads"]: row for row in lines(of_the_study(), Kind.SAME)}
    assert set(by_threads) == {2, 8}
    row = by_threads[8]
    assert (row["strategy"], row["world_size"], row["batch_size_per_device"]) == ("single", 1, 32)
    assert (row["device"], row["device_name"]) == ("cuda", "Tesla P100")
    assert (row["against_device"], row["against_name"]) == ("cpu", "Xeon")
    assert row["ratio"] == pytest.approx(270 / 79)
    assert row["ratio_low"] < row["ratio"] < row["ratio_high"]
    assert (row["runs"], row["against_runs"]) == (6, 6)
    assert row["time_s"] == pytest.approx(79 * 1.0025)
    assert row["verdict"] == Verdict.FASTER
    assert "the fastest of 2 thread counts on cpu" in row["note"]
    assert "thread counts" not in (by_threads[2]["note"] or "")


def test_the_best_of_each_device_says_in_what_they_differ() -> None:
    rows = [*of_the_study(), *ddp(4, times(30.0), threads_per_rank=2, precision="bf16")]
    (best,) = lines(rows, Kind.BEST)
    assert best["ratio"] == pytest.approx(9.0)
    assert best["configuration"].startswith("ddp on cuda, 4 ranks, batch 32")
    assert best["against"].startswith("single on cpu, 1 rank, batch 32")
    for part in (
        "of 2 on cuda and 2 on cpu", "strategy ddp against single", "world_size 4 against 1",
        "precision bf16 against None", "threads_per_rank 2 against 8",
    ):  # fmt: skip
        assert part in best["note"]
    assert "batch_size_per_device" not in best["note"]


def test_model_parallel_and_ddp_on_gpus_against_the_same_on_cpus() -> None:
    rows = [
        *training("model", 2, times(40.0), **P100),
        *training("model", 2, times(100.0), threads_per_rank=4, **CPU),
        *ddp(2, times(50.0), **P100),
        *ddp(2, times(60.0), threads_per_rank=4, **CPU),
        *ddp(4, times(35.0), **P100),
    ]
    found = {(r["strategy"], r["world_size"]): r["ratio"] for r in lines(rows, Kind.SAME)}
    assert found == {("model", 2): pytest.approx(2.5), ("ddp", 2): pytest.approx(1.2)}


@pytest.mark.parametrize(
    "differs",
    [
        {"precision": "bf16"}, {"execution": "compiled"}, {"model": "resnet18"}, {"epochs": 3},
        {"batch_size_per_device": 64}, {"study": "other"}, {"workers": 2},
    ],
)  # fmt: skip
def test_other_work_is_not_the_same_configuration(differs: dict[str, Any]) -> None:
    asked: dict[str, Any] = {"workers": 1, **CPU, **differs}
    rows = [*ddp(1, times(10.0), **P100), *ddp(asked.pop("workers"), times(20.0), **asked)]
    assert lines(rows, Kind.SAME) == []


def test_a_global_batch_of_as_many_images_is_the_same() -> None:
    as_global = {"batch_mode": "global", "batch_size_per_device": 32, "batch_size_global": 64}
    rows = [*ddp(2, times(10.0), **P100), *ddp(2, times(20.0), **CPU, **as_global)]
    (row,) = lines(rows, Kind.SAME)
    assert "batch_mode per-device against global" in row["note"]


def test_a_gpu_run_that_ran_on_the_cpu_is_a_cpu_run() -> None:
    fell_back = {**CPU, "device_asked": "cuda", "threads_per_rank": 2}
    rows = [*ddp(1, times(10.0), **fell_back), *ddp(1, times(11.0), threads_per_rank=2, **CPU)]
    assert lines(rows) == []
    (row,) = lines([*ddp(1, times(10.0), **fell_back), *ddp(1, times(5.0), **P100)], Kind.SAME)
    assert (row["device"], row["against_device"]) == ("cuda", "cpu")
    assert "cpu: requested cuda, ran on cpu" in row["note"]


def test_one_device_or_nothing_measured_gives_no_line() -> None:
    assert lines([]) == []
    assert lines([*ddp(1, times(10.0)), *ddp(2, times(5.0))]) == []
    on_two = [*ddp(1, times(10.0)), *ddp(1, times(5.0), **CPU, study="other")]
    assert lines(on_two) == []
    assert measured_devices(compare(on_two)) == ["cpu", "cuda"]


def test_nodes_are_alike_where_possible() -> None:
    rows = [
        *ddp(2, times(10.0), **P100, nodes=1),
        *ddp(2, times(14.0), **P100, nodes=2),
        *ddp(2, times(20.0), **CPU, nodes=1),
    ]
    (row,) = lines(rows, Kind.SAME)
    assert row["ratio"] == pytest.approx(2.0)
    (row,) = lines(rows[6:], Kind.SAME)
    assert "nodes 2 against 1" in row["note"]


def test_weak_scaling_compares_images_per_second() -> None:
    weak = {"scaling": "weak", "images_asked": 200}
    rows = [
        *ddp(2, times(10.0), **P100, **weak),
        *ddp(2, times(20.0), **CPU, **weak),
    ]
    slower = [row for row in lines(rows, Kind.SAME) if row["ratio"] is not None]
    assert slower[0]["ratio"] == pytest.approx(2.0)
    assert slower[0]["images_per_s"] == pytest.approx(2 * slower[0]["against_images_per_s"])


def test_a_slower_gpu_and_too_few_repeats_are_said() -> None:
    slow = [*ddp(1, times(20.0), **P100), *ddp(1, times(10.0), **CPU)]
    (row,) = lines(slow, Kind.SAME)
    assert (row["verdict"], row["ratio"]) == (Verdict.SLOWER, pytest.approx(0.5))
    few = [*ddp(1, [10.0, 10.1], **P100), *ddp(1, [20.0, 20.1], **CPU)]
    (row,) = lines(few, Kind.SAME)
    assert row["verdict"] == Verdict.TOO_FEW
    assert (row["ratio_low"], row["ratio_high"]) == (None, None)
    assert "from 4 repeats of each on" in row["note"]


def test_sentences_name_devices_threads_ratio_and_interval() -> None:
    three = (1.0, 1.05, 0.95)
    rows = [
        *training("single", 1, times(270.0, three), threads_per_rank=8, **CPU),
        *training("single", 1, times(79.0, three), **P100),
    ]
    same, best = device_sentences(devices_table(compare(rows)))
    low, high = 270 * 0.95 / (79 * 1.05), 270 * 1.05 / (79 * 0.95)
    assert same == (
        "single on cuda (Tesla P100), batch 32, is 3.42 times as fast as on cpu (Xeon), 8 threads "
        f"(range of the repeats {low:.2f} to {high:.2f}), with too few repeats to test it. "
        "The reproduced study has 3.42."
    )
    assert best.startswith("The best on cuda (Tesla P100), single on cuda, 1 rank, batch 32")
    one, _ = device_sentences(devices_table(compare(of_the_study())))
    assert "(95 % interval " in one
    assert "8 threads" in one
    assert "Its 2 comparisons range from 3.42 to 6.33." in one


def test_the_reproduced_study_printed_one_ratio() -> None:
    rows = [*of_the_study(), *ddp(2, times(30.0), **P100), *ddp(2, times(60.0), **CPU)]
    found = {(r["kind"], r["strategy"]): r["published_ratio"] for r in lines(rows)}
    assert found == {
        (Kind.SAME, "single"): pytest.approx(270 / 79),
        (Kind.SAME, "ddp"): None,
        (Kind.BEST, "ddp"): None,
    }
    weak = [replace(row, scaling="weak") for row in rows]
    assert {row["published_ratio"] for row in lines(weak)} == {None}


def test_rows_with_audit_errors_are_marked_and_in_no_sentence() -> None:
    rows = [
        *ddp(1, times(10.0), **P100, audit_errors="nan_loss"),
        *ddp(1, times(20.0), **CPU),
    ]
    (row,) = lines(rows)
    assert row["audit_errors"] == "nan_loss"
    assert device_sentences(devices_table(compare(rows))) == []


def test_models_that_differ_between_repeats_are_all_named() -> None:
    first, second = ddp(1, [10.0, 11.0], **P100)
    rows = [first, replace(second, device_name="A100"), *ddp(1, [20.0], **CPU)]
    (row,) = lines(rows, Kind.SAME)
    assert row["device_name"] == "A100 or Tesla P100"
    assert row["runs"] == 2
