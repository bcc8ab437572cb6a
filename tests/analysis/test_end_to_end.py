"""End to end: the best mix for an allocation, its sum, its doubts, and why there is none."""

from dataclasses import replace
from typing import Any

import pytest

from tests.analysis.rows_maker import packing, training
from weather_hpc.analysis.advice import ADVICE_COLUMNS, advice_table
from weather_hpc.analysis.advice_sentences import advice_sentences
from weather_hpc.analysis.allocation import Allocation
from weather_hpc.analysis.comparison import compare
from weather_hpc.analysis.table import Table
from weather_hpc.runs.row import Row


def packed(backend: str, workers: int, time_s: float, **values: Any) -> list[Row]:
    asked = {"nodes": 1, "cpus_per_node": workers, "gpus_per_node": 0, "startup_s": 0.5}
    return packing(backend, workers, around(time_s), **asked | values)


def trained(strategy: str, gpus: int, time_s: float, **values: Any) -> list[Row]:
    asked = {
        "nodes": 1, "cpus_per_node": 2 * gpus, "gpus_per_node": gpus, "startup_s": 4.0,
        "epochs": 20, "threads_per_rank": 1,
    }  # fmt: skip
    return training(strategy, gpus, around(time_s), **asked | values)


def on_cpus(cpus: int, time_s: float, **values: Any) -> list[Row]:
    asked = {"device": "cpu", "cpus_per_node": cpus, "gpus_per_node": 0, "threads_per_rank": cpus}
    return trained("single", 1, time_s, **asked | values)


def around(time_s: float) -> list[float]:
    return [time_s, 1.02 * time_s, 0.98 * time_s]


def advice(rows: list[Row], allocation: str | None = None) -> Table:
    asked = Allocation.parse(allocation) if allocation else None
    return advice_table(compare(rows), allocation=asked)


def mixes(rows: list[Row], allocation: str | None = None) -> list[dict[str, Any]]:
    table = advice(rows, allocation)
    assert table.columns == ADVICE_COLUMNS
    return [row for row in table.rows if row["question"] == "end_to_end"]


ROWS = [
    *packed("sequential", 1, 100.0),
    *packed("multiprocessing", 4, 30.0),
    *packed("multiprocessing", 8, 20.0),
    *packed("multiprocessing", 16, 24.0),
    *trained("single", 1, 80.0),
    *trained("ddp", 2, 50.0),
    *trained("ddp", 4, 60.0),
    *on_cpus(8, 270.0),
]


THREAD = "threads_per_rank 1"
ONE = f"single on cuda, 1 rank, batch 32, {THREAD}"
TWO = f"ddp on cuda, 2 ranks, batch 32, {THREAD}"
CPU = "single on cpu, 1 rank, batch 32, threads_per_rank 8"


def test_the_largest_allocation_comes_first_with_the_sum_of_both() -> None:
    first = mixes(ROWS)[0]
    assert (first["stage"], first["work"]) == ("both", "16 CPUs and 4 GPUs on 1 node")
    assert first["answer"] == f"multiprocessing, 8 workers, then {TWO}"
    assert first["time_s"] == pytest.approx(70.0)
    assert first["time_s_low"] == pytest.approx(70 * 0.98)
    assert first["time_s_high"] == pytest.approx(70 * 1.02)
    assert first["reason"] == (
        "20 s of preprocessing (29 %) + 50 s of training; "
        "74.5 s with start-ups of 0.5 s and 4 s; "
        "training takes the larger part from 9 epochs on (20 measured); "
        "it needs only 8 CPUs and 2 GPUs on 1 node; of 4 x 4 combinations that fit"
    )
    assert first["doubt"] is None
    assert (first["workers"], first["images_per_s"], first["efficiency"]) == (None, None, None)
    assert (first["node_hours"], first["test_accuracy"]) == (None, None)


def test_smaller_allocations_follow_where_another_mix_is_the_best() -> None:
    assert [(row["work"], row["answer"]) for row in mixes(ROWS)] == [
        ("16 CPUs and 4 GPUs on 1 node", f"multiprocessing, 8 workers, then {TWO}"),
        ("16 CPUs and 1 GPU on 1 node", f"multiprocessing, 8 workers, then {ONE}"),
        ("16 CPUs on 1 node", f"multiprocessing, 8 workers, then {CPU}"),
        ("4 CPUs and 4 GPUs on 1 node", f"multiprocessing, 4 workers, then {TWO}"),
        ("2 CPUs and 4 GPUs on 1 node", f"sequential, 1 worker, then {ONE}"),
    ]


def test_the_allocation_asked_for_is_the_only_one() -> None:
    (row,) = mixes(ROWS, "cpus=4,gpus=1")
    assert row["work"] == "4 CPUs and 1 GPU on 1 node"
    assert row["answer"] == f"multiprocessing, 4 workers, then {ONE}"
    assert row["time_s"] == pytest.approx(110.0)
    assert "it needs only" not in row["reason"]
    (row,) = mixes(ROWS, "nodes=4,cpus=64,gpus=8")
    assert row["answer"] == f"multiprocessing, 8 workers, then {TWO}"
    assert "it needs only 8 CPUs and 2 GPUs on 1 node" in row["reason"]


def test_an_allocation_that_nothing_fits_in_has_a_reason() -> None:
    (row,) = mixes(ROWS, "cpus=1")
    assert (row["answer"], row["time_s"]) == (None, None)
    assert row["work"] == "1 CPU on 1 node"
    assert row["reason"] == (
        "no training that was measured fits; the smallest asked for 2 CPUs and 1 GPU on 1 node"
    )
    larger = [row for row in ROWS if row.cpus_per_node != 1]
    (row,) = mixes(larger, "cpus=1")
    assert row["reason"].startswith("no preprocessing that was measured fits; the smallest asked")
    told = advice_sentences(advice(ROWS, "cpus=1"))
    assert any("training on 1 CPU on 1 node: no answer, no training that" in t for t in told)


def test_other_mixes_that_are_not_told_apart_are_named() -> None:
    rows = [*ROWS, *packed("dask", 8, 21.0), *trained("dp", 2, 51.0)]
    assert mixes(rows)[0]["doubt"] == (
        "statistically indistinguishable with dask, 8 workers in its place; "
        "statistically indistinguishable with dp on cuda, 2 ranks, batch 32, threads_per_rank 1 "
        "in its place"
    )
    few = [row for row in ROWS if row.repeat != 2]
    first = mixes(few)[0]
    assert first["doubt"] == "no interval (fewer than 3 repeats)"
    assert (first["time_s_low"], first["time_s_high"]) == (None, None)


def test_start_ups_may_make_another_mix_the_fastest() -> None:
    rows = [replace(r, startup_s=20.0) if r.backend and r.workers == 8 else r for r in ROWS]
    first = mixes(rows)[0]
    assert first["answer"].startswith("multiprocessing, 8 workers")
    assert "94 s with start-ups of 20 s and 4 s" in first["reason"]
    assert first["doubt"] == (
        "with start-ups multiprocessing, 16 workers takes less: 24.5 s, not 40 s"
    )
    unknown = [replace(row, startup_s=None) for row in ROWS]
    first = mixes(unknown)[0]
    assert "start-ups are not known" in first["reason"]
    assert first["doubt"] is None


def test_a_loss_of_accuracy_is_no_answer() -> None:
    accuracies = {("ddp", 2): 0.50, ("ddp", 4): 0.60, ("single", 1): 0.61}
    rows = [replace(r, test_accuracy=accuracies.get((str(r.strategy), r.workers or 0)))
            for r in ROWS]  # fmt: skip
    first = mixes(rows)[0]
    assert first["answer"].endswith("then ddp on cuda, 4 ranks, batch 32, threads_per_rank 1")
    assert first["test_accuracy"] == 0.60
    assert (
        "in training 3 of 4 configurations are within 0.02 of the best test accuracy, 0.610"
        in first["reason"]
    )
    few_images = [replace(row, test_images=20) for row in rows]
    assert "on 20 test images" in mixes(few_images)[0]["doubt"]
    # where only what loses fits, it loses nothing against what fits
    (row,) = mixes([r for r in rows if r.strategy != "single"], "cpus=4,gpus=2")
    assert row["answer"].endswith("then ddp on cuda, 2 ranks, batch 32")
    assert row["test_accuracy"] == 0.50


def test_node_hours_are_those_of_both_and_of_nodes_that_are_kept() -> None:
    two_nodes = {"nodes": 2, "cpus_per_node": 4, "gpus_per_node": 2}
    rows = [*packed("multiprocessing", 4, 30.0), *trained("ddp", 4, 40.0, **two_nodes)]
    rows = [replace(row, node_hours=0.5 * (row.nodes or 0)) for row in rows]
    (row,) = mixes(rows)
    assert row["work"] == "4 CPUs and 2 GPUs on each of 2 nodes"
    assert row["node_hours"] == pytest.approx(1.5)
    assert "kept for both stages, the 2 nodes cost 2 node-hours" in row["reason"]
    (row,) = mixes([replace(r, node_hours=None) if r.backend else r for r in rows])
    assert row["node_hours"] is None
    assert "kept" not in row["reason"]


@pytest.mark.parametrize("differs", [
    {"study": "other"}, {"data": "/elsewhere"}, {"image_size_px": 64}, {"images_asked": 10},
])  # fmt: skip
def test_both_stages_have_the_same_images(differs: dict[str, Any]) -> None:
    reasons = {
        r["reason"] for r in mixes([*packed("dask", 2, 9.0), *trained("ddp", 2, 9.0, **differs)])
    }
    assert reasons == {
        "no preprocessing of the same images was measured",
        "no training on the same images was measured",
    }


@pytest.mark.parametrize(("color", "answers"), [("managed", True), ("ignore", False)])
def test_training_reads_what_is_packed_with_the_default_colours(color: str, answers: bool) -> None:
    rows = mixes([*packed("dask", 2, 9.0, color=color), *trained("ddp", 2, 9.0)])
    assert any(row["answer"] for row in rows) is answers


def test_a_stage_that_was_not_measured_is_said_once() -> None:
    rows = [row for epochs in (1, 2, 3) for row in trained("ddp", 2, 9.0, epochs=epochs)]
    (row,) = mixes(rows)
    assert (row["answer"], row["work"]) == (None, None)
    assert row["reason"] == "no preprocessing of the same images was measured"
    assert not any("Preprocessing and training" in text for text in advice_sentences(advice(rows)))
    (row,) = mixes(packed("dask", 2, 9.0), "cpus=2")
    assert (row["work"], row["reason"]) == (
        "2 CPUs on 1 node", "no training on the same images was measured",
    )  # fmt: skip
    assert mixes([]) == []


def test_each_training_task_has_its_mixes() -> None:
    rows = [*packed("dask", 2, 9.0), *trained("ddp", 2, 9.0), *trained("ddp", 2, 5.0, epochs=3)]
    assert [(row["work"], row["time_s"]) for row in mixes(rows)] == [
        ("4 CPUs and 2 GPUs on 1 node; epochs 20", pytest.approx(18.0)),
        ("4 CPUs and 2 GPUs on 1 node; epochs 3", pytest.approx(14.0)),
    ]
    told = [t for t in advice_sentences(advice(rows)) if t.startswith("Preprocessing and")]
    assert len(told) == 2


def test_weak_scaling_and_runs_that_asked_for_nothing_known_have_a_reason() -> None:
    weak = {"scaling": "weak", "images_asked": 20}
    (row,) = mixes([*packed("dask", 2, 9.0, **weak), *trained("ddp", 2, 9.0, **weak)])
    assert "a different amount of work" in row["reason"]
    logs = [replace(row, cpus_per_node=None, gpus_per_node=None) for row in ROWS]
    (row,) = mixes(logs)
    assert row["reason"] == (
        "for no preprocessing run is it known which CPUs and GPUs it asked for"
    )


def test_more_cpus_than_the_host_has_are_said() -> None:
    rows = [replace(row, cpu_count=4) for row in ROWS]
    assert mixes(rows)[0]["doubt"] == "multiprocessing, 8 workers asked for 8 CPUs of 4"
    assert mixes([replace(row, cpu_count=16) for row in ROWS])[0]["doubt"] is None


def test_runs_with_audit_errors_are_in_no_mix() -> None:
    rows = [replace(r, audit_errors="nan_loss") if r.strategy == "ddp" else r for r in ROWS]
    assert mixes(rows)[0]["answer"] == f"multiprocessing, 8 workers, then {ONE}"


def test_the_largest_allocation_has_a_sentence() -> None:
    (told,) = [t for t in advice_sentences(advice(ROWS)) if t.startswith("Preprocessing and")]
    assert told.startswith(
        f"Preprocessing and training on 16 CPUs and 4 GPUs on 1 node: multiprocessing, 8 workers, "
        f"then {TWO} (70 s). 20 s of preprocessing (29 %) + 50 s of training; 74.5 s with"
    )
    assert told.endswith("of 4 x 4 combinations that fit.")
