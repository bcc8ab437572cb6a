"""Points whose workers share CPUs: shown and named, and no evidence of how the work scales."""

import dataclasses
from typing import Any

from tests.analysis.rows_maker import packing, training
from weather_hpc.analysis.advice import advice_table, knee
from weather_hpc.analysis.comparison import Comparison, compare
from weather_hpc.analysis.law_table import laws_table
from weather_hpc.analysis.steps import comparisons_table

SHARED: dict[str, Any] = {"cpus": 8, "oversubscribed": "as asked for"}


def study(**sixteen: Any) -> Comparison:
    """Packing that scales to 8 workers, and 16 of them on the same 8 CPUs."""
    rows = packing("sequential", 1, [80, 81, 82])
    for workers, time_s in ((1, 80.0), (2, 42.0), (4, 23.0), (8, 13.5)):
        times = [time_s, time_s + 0.1, time_s + 0.2]
        rows += packing("multiprocessing", workers, times, cpus=workers)
    rows += packing("multiprocessing", 16, [14.0, 14.1, 14.2], **SHARED | sixteen)
    return compare(rows)


def cell(comparison: Comparison, workers: int, column: str) -> Any:
    rows = comparison.preprocess.configurations
    return next(c.cells[column] for c in rows if c.cells["workers"] == workers > 1)


def test_the_note_says_how_many_workers_shared_how_many_cpus() -> None:
    comparison = study()
    assert cell(comparison, 16, "note") == "16 workers on 8 CPUs, as asked for"
    assert cell(comparison, 8, "note") is None
    assert cell(comparison, 16, "efficiency") == cell(comparison, 16, "speedup") / 16
    *own, last = packing("multiprocessing", 16, [14.0, 14.1, 14.2])
    (row,) = compare([*own, dataclasses.replace(last, **SHARED)]).preprocess.table.rows
    assert row["note"] == "1 of 3 with 16 workers on 8 CPUs, as asked for"


def test_threads_of_ranks_are_named() -> None:
    shared = SHARED | {"cpus": 4, "device": "cpu", "threads_per_rank": 2}
    rows = training("ddp", 4, [5.0], **shared, nodes=1)
    note = compare(rows).training.table.rows[0]["note"]
    assert note.startswith("4 ranks of 2 threads on 4 CPUs, as asked for")


def test_laws_and_knees_leave_the_point_out_and_say_so() -> None:
    comparison = study()
    for law in laws_table(comparison).rows:
        assert (law["sizes"], law["workers_max"]) == (4, 8)
        assert "left out: 16 workers on 8 CPUs, as asked for" in law["note"]
    (series,) = comparison.series
    answer = knee(series)
    assert answer.workers == 8
    assert answer.reason is not None
    assert answer.reason.endswith("left out: 16 workers on 8 CPUs, as asked for")
    with_own = study(cpus=16, oversubscribed=None)
    assert {law["workers_max"] for law in laws_table(with_own).rows} == {16}
    assert knee(with_own.series[0]).reason != answer.reason


def test_a_series_of_shared_points_alone_has_no_law() -> None:
    rows = [r for n in (1, 2, 4) for r in packing("dask", n, [9.0 / n], cpus=1,
                                                  oversubscribed="not asked for")]  # fmt: skip
    comparison = compare(rows)
    assert {law["refused"] for law in laws_table(comparison).rows} == {
        "workers shared CPUs at every size"
    }
    assert knee(comparison.series[0]).reason == "workers shared CPUs at every size"


def test_the_step_to_it_is_shown_with_its_cpus() -> None:
    steps = {row["workers"]: row for row in comparisons_table(study()).rows}
    assert "16 workers on 8 CPUs, as asked for" in steps[16]["note"]
    assert "CPUs" not in (steps[8]["note"] or "")


def test_advice_for_it_names_its_cpus() -> None:
    rows = packing("sequential", 1, [80.0]) + packing("multiprocessing", 16, [9.0], **SHARED)
    (fastest,) = [r for r in advice_table(compare(rows)).rows if r["question"] == "fastest"]
    assert fastest["answer"] == "multiprocessing, 16 workers"
    assert "16 workers on 8 CPUs, as asked for" in fastest["doubt"]


def test_a_baseline_on_too_few_cpus_makes_nothing_super_linear() -> None:
    entry: dict[str, Any] = {"device": "cpu", "threads_per_rank": 4, "nodes": 1}
    slow = SHARED | {"cpus": 1}
    rows = training("single", 1, [40.0], **entry, **slow) + training("ddp", 2, [9.0], **entry)
    stage = compare(rows).training
    (ddp,) = [c.cells for c in stage.configurations if c.cells["strategy"] == "ddp"]
    assert ddp["speedup"] > 4
    assert not stage.table.superlinear(ddp)
    assert ddp["note"] == "its baseline: 1 rank of 4 threads on 1 CPU, as asked for"
    fair = training("single", 1, [40.0], **entry) + training("ddp", 2, [9.0], **entry)
    stage = compare(fair).training
    (ddp,) = [c.cells for c in stage.configurations if c.cells["strategy"] == "ddp"]
    assert stage.table.superlinear(ddp)
    assert "super-linear" in ddp["note"]


def test_labels_name_the_cpus_of_a_worker_where_they_are_set() -> None:
    rows = packing("multiprocessing", 16, [9.0]) + packing(
        "multiprocessing", 16, [14.0], cpus_per_worker=0.5, **SHARED
    )
    stage = compare(rows).preprocess
    assert {stage.label(c) for c in stage.configurations} == {
        "multiprocessing, 16 workers",
        "multiprocessing, 16 workers of 0.5 CPUs",
    }
