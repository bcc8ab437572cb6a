"""Is 4 against 2 faster: verdicts that follow from the runs, and not from fewer than it takes."""

from dataclasses import replace
from typing import Any

import pytest

from tests.analysis.rows_maker import ddp, packing, paper_ddp
from weather_hpc.analysis.comparison import compare
from weather_hpc.analysis.law_table import laws_table
from weather_hpc.analysis.sentences import sentences
from weather_hpc.analysis.steps import comparisons_table, repeats_needed
from weather_hpc.runs.row import Row

NEAR = [1.0, 1.01, 0.99, 1.02, 0.98]


def sentences_of(rows: list[Row]) -> list[str]:
    comparison = compare(rows)
    return sentences(comparison, laws_table(comparison), comparisons_table(comparison))


def steps(rows: list[Row]) -> list[dict[str, Any]]:
    return comparisons_table(compare(rows)).rows


def series(**times: float) -> list[Row]:
    """Five repeats of each size, ``w2=50.0`` around 50 s on two ranks."""
    return [
        row for name, t in times.items() for row in ddp(int(name[1:]), [t * near for near in NEAR])
    ]


def test_verdicts_of_five_repeats() -> None:
    first, second, third = steps(series(w1=100, w2=55, w4=55.3, w8=80))
    assert [(s["workers"], s["against"]) for s in (first, second, third)] == [
        (2, 1),
        (4, 2),
        (8, 4),
    ]
    assert first["verdict"] == "faster"
    assert first["ratio"] == pytest.approx(100 / 55)
    assert first["ratio_low"] < 100 / 55 < first["ratio_high"]
    assert first["p_value"] == pytest.approx(2 / 252)
    assert first["p_holm"] == pytest.approx(3 * 2 / 252)
    assert (second["verdict"], third["verdict"]) == ("no difference shown", "slower")
    assert third["ideal"] == 2


def test_three_repeats_cannot_show_a_difference_however_large() -> None:
    (step,) = steps([*ddp(1, [100.0, 101.0, 102.0]), *ddp(2, [1.0, 1.1, 1.2])])
    assert (step["p_value"], step["verdict"]) == (pytest.approx(0.1), "too few repeats")
    assert step["note"] == (
        "super-linear: more than ideal; a difference can be significant from 4 repeats of each on"
    )


def test_each_further_comparison_takes_more_repeats() -> None:
    rows = [row for n in (1, 2, 4) for row in ddp(n, [t / n for t in (96.0, 100.0, 101.0, 104.0)])]
    first, second = steps(rows)
    assert first["p_value"] == pytest.approx(2 / 70)  # below 0.05, but one of two
    assert first["verdict"] == second["verdict"] == "too few repeats"
    assert first["note"] == "a difference can be significant from 5 repeats of each on"


@pytest.mark.parametrize(("comparisons", "repeats"), [(1, 4), (2, 5), (6, 5), (7, 6)])
def test_how_many_repeats_it_takes(comparisons: int, repeats: int) -> None:
    assert repeats_needed(comparisons) == repeats


def test_one_run_each_has_a_ratio_and_no_p_value() -> None:
    rows = steps(paper_ddp())
    assert len(rows) == 4 * 3
    assert {row["verdict"] for row in rows} == {"too few repeats"}
    assert {row["p_value"] for row in rows} == {None}
    (last,) = [r for r in rows if r["series"].endswith("batch 32") and r["workers"] == 4]
    assert last["ratio"] == pytest.approx(136 / 249)


def test_weak_scaling_is_compared_by_rate() -> None:
    times = [60 * near for near in NEAR]
    rows = [row for n in (1, 2) for row in ddp(n, times, scaling="weak", images_asked=10 * n)]
    (step,) = steps(rows)
    assert (step["ratio"], step["verdict"]) == (pytest.approx(2), "faster")


def test_the_baseline_is_the_first_step_where_the_strategy_has_none() -> None:
    rows = [*packing("sequential", 1, [9.0] * 4), *packing("dask", 2, [5.0, 5.1, 5.2, 5.3])]
    (step,) = steps(rows)
    assert (step["against"], step["note"]) == (1, "against sequential, 1 worker")


def test_what_is_asked_apart_from_workers_is_never_compared() -> None:
    rows = [
        *ddp(1, NEAR), *ddp(2, NEAR, batch_size_per_device=64), *ddp(2, NEAR, study="t"),
        *ddp(2, NEAR, batch_mode="global", batch_size_per_device=32, batch_size_global=64),
        *ddp(4, NEAR, batch_mode="global", batch_size_per_device=8, batch_size_global=32),
        *ddp(2, NEAR, device="cpu"), *ddp(2, NEAR, epochs=9), *ddp(2, NEAR, model="other"),
    ]  # fmt: skip
    # one device's batch of 32 is all devices' 32 too: the only pair that is comparable
    (step,) = steps(rows)
    assert "batch 32 of all devices" in step["series"]
    assert (step["workers"], step["against"]) == (4, 1)


def test_sentences_tell_the_verdicts_the_peak_and_the_outliers() -> None:
    rows = series(w1=100, w2=55, w4=50, w8=90)
    rows += ddp(1, [10.0, 10.1, 9.9, 30.0, 10.2], epochs=3)
    told = sentences_of(rows)
    assert told[0] == "Adding workers, 3 steps in training: 2 faster, 1 slower."
    assert told[1].startswith("More was slower: ddp on cuda, batch 32 per device, epochs")
    assert "8 against 4, 0.56 times as fast (p = 0.024)" in told[1]
    (peak,) = [line for line in told if line.startswith("By the USL")]
    assert "is fastest with about 3 ranks (bootstrap interval from 3.12 to 3.24)" in peak
    assert told[-1].startswith("1 run far from the median of the repeats, not removed: ")
    assert told[-1].endswith("(30 s, median 10.1 s).")
    assert sentences_of([]) == []


def test_every_reason_of_a_failure_is_told_with_a_run() -> None:
    rows = ddp(1, [10.0, 10.1, 9.9, 30.0])
    ends = [
        ("skipped", "asks for 4 GPUs; this machine has 0"),
        ("skipped", "asks for 8 GPUs; this machine has 0"),
        ("skipped", "torch is not installed"),
        ("failed", "KeyError: 'loss' (see /r/runs/a/stderr.log)"),
        ("failed", "KeyError: 'epoch' (see /r/runs/b/stderr.log)"),
        ("failed", "rank 1 on alpha: no luck at '/s/1 a' (see /r/runs/c/stderr.log)"),
        ("failed", "rank 0 on beta: no luck at '/s/2 b' (see /r/runs/it's 1/stderr.log)"),
        ("out_of_memory", "rank 0 on alpha: no luck at '/s'"),
        ("ok", "time_s: is missing"),
    ]
    lost = [
        replace(rows[0], run_id=f"r{n}", table=None, status=status, reason=reason)
        for n, (status, reason) in enumerate(ends)
    ]
    assert sentences_of([*rows, *lost])[-8:] == [
        "9 of 13 runs are in no table, for 7 reasons (each run: rejects.csv):",
        (
            "failed (2 runs, for example r5): "
            "rank 1 on alpha: no luck at '/s/1 a' (see /r/runs/c/stderr.log)"
        ),
        "failed (r3): KeyError: 'loss' (see /r/runs/a/stderr.log)",
        "failed (r4): KeyError: 'epoch' (see /r/runs/b/stderr.log)",
        "out of memory (r7): rank 0 on alpha: no luck at '/s'",
        "measured, but left out (r8): time_s: is missing",
        "skipped (2 runs, for example r0): asks for 4 GPUs; this machine has 0",
        "skipped (r2): torch is not installed",
    ]
    assert sentences_of([*rows, lost[3]])[-1] == (
        "1 of 5 runs is in no table: failed (r3): KeyError: 'loss' (see /r/runs/a/stderr.log)"
    )
    many = [
        replace(rows[0], run_id="r", table=None, status="failed", reason="a" * n)
        for n in range(1, 24)
    ]
    assert sentences_of([*rows, *many])[-1] == "3 runs for 3 further reasons: see rejects.csv"
