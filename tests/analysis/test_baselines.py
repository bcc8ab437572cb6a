"""What each row is compared with where there is no ``single`` and where logs say little."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.analysis.rows_maker import ddp, packing, paper_ddp, paper_preprocessing
from weather_hpc.analysis.comparison import compare
from weather_hpc.analysis.law_table import laws_table

TIMES = st.lists(st.floats(0.1, 1e3), min_size=1, max_size=7)


def last(table: Any) -> dict[str, Any]:
    return dict(table.rows[-1])


def test_the_papers_ddp_is_compared_with_ddp_on_one_gpu() -> None:
    table = compare(paper_ddp()).training.table
    found = {(r["world_size"], r["batch_size_per_device"]): r for r in table.rows}
    row = found[4, 32]
    assert row["speedup"] == pytest.approx(92 / 249)  # 0.37
    assert row["efficiency"] == pytest.approx(92 / 249 / 4)
    assert row["serial_fraction"] == pytest.approx(3.2754, abs=1e-4)
    assert row["baseline"] == "ddp on cuda, 1 rank, batch 32"
    assert "slower than its baseline: serial fraction above 1" in row["note"]
    assert "batch 32 as stated; per device or global is not known" in row["note"]
    assert row["speedup_low"] is row["efficiency_low"] is row["serial_fraction_low"] is None
    assert table.label(row) == "ddp on cuda, 4 ranks, batch 32"
    assert (found[1, 32]["speedup"], found[1, 32]["note"]) == (1.0, None)


def test_the_papers_preprocessing_has_its_speedups() -> None:
    rows = compare(paper_preprocessing()).preprocess.table.rows
    found = {(r["backend"], r["workers"]): r for r in rows}
    assert found["multiprocessing", 8]["speedup"] == pytest.approx(5.932, abs=1e-3)
    assert found["multiprocessing", 2]["note"] == "super-linear: serial fraction below 0"
    assert found["multiprocessing", 1]["serial_fraction"] is None


def test_without_sequential_a_backend_is_compared_with_itself_on_one_worker() -> None:
    rows = [*packing("dask", 1, [8.0]), *packing("dask", 4, [4.0])]
    assert last(compare(rows).preprocess.table)["baseline"] == "dask, 1 worker"
    rows += packing("sequential", 1, [9.0])
    row = last(compare(rows).preprocess.table)
    assert (row["baseline"], row["speedup"]) == ("sequential, 1 worker", 9 / 4)


def test_modes_are_not_mixed() -> None:
    """Single with batch 32: a baseline for 32 per device, not for 32 x 4 of all."""
    rows = [
        *ddp(1, [100.0], strategy="single"),
        *ddp(4, [30.0]),
        *ddp(4, [25.0], batch_mode="global", batch_size_global=128, learning_rate=1.0),
        *ddp(4, [40.0], batch_mode="global", batch_size_per_device=8, batch_size_global=32),
    ]
    found = {
        (r["batch_mode"], r["batch_size_per_device"]): r for r in compare(rows).training.table.rows
    }
    assert found["per-device", 32]["speedup"] == pytest.approx(100 / 30)
    assert found["global", 8]["speedup"] == pytest.approx(100 / 40)
    assert found["global", 32]["speedup"] is None
    assert found["global", 32]["note"] == "no baseline on one device with batch 128 of all devices"


def test_a_row_that_does_not_tell_its_ranks_has_no_speedup() -> None:
    rows = [*ddp(1, [9.0]), *ddp(None, [5.0])]
    table = compare(rows).training.table
    (row,) = [r for r in table.rows if r["world_size"] is None]
    assert (row["time_s"], row["speedup"], row["efficiency"]) == (5.0, None, None)
    assert table.label(row) == "ddp on cuda, ? ranks, batch 32"


def test_what_a_log_does_not_tell_is_compared_as_unknown() -> None:
    unknown = {"strategy": None, "device": None, "batch_mode": None}
    unknown |= {"batch_size_per_device": None, "batch_size_global": None}
    table = compare([*ddp(1, [9.0], **unknown), *ddp(2, [6.0], **unknown)]).training.table
    row = last(table)
    assert (row["speedup"], row["baseline"], row["note"]) == (1.5, "training, 1 rank", None)
    assert table.label(row) == "training, 2 ranks"


def test_among_several_baselines_the_most_alike_is_taken_and_of_equals_none() -> None:
    several = [
        row
        for rate, t in ((0.1, 9.0), (0.2, 8.0))
        for row in ddp(1, [t], strategy="single", learning_rate=rate)
    ]
    like = compare([*several, *ddp(2, [4.0], learning_rate=0.2)]).training.table
    assert last(like)["speedup"] == 2
    unlike = last(compare([*several, *ddp(2, [4.0], learning_rate=0.3)]).training.table)
    assert (unlike["speedup"], unlike["baseline"]) == (None, None)
    assert unlike["note"] == "any of 2 configurations may be its baseline"
    refused = laws_table(compare([*several, *ddp(2, [4.0], learning_rate=0.3)])).rows[0]["refused"]
    assert refused == "any of 2 configurations may be its baseline"


def test_intervals_of_efficiency_and_serial_fraction_follow_the_speedups() -> None:
    rows = [*ddp(1, [99.0, 100.0, 101.0]), *ddp(4, [30.0, 31.0, 32.0])]
    row = last(compare(rows).training.table)
    low, high = row["speedup_low"], row["speedup_high"]
    assert low < row["speedup"] < high
    assert (row["efficiency_low"], row["efficiency_high"]) == (low / 4, high / 4)
    assert row["serial_fraction_low"] == pytest.approx((1 / high - 1 / 4) / (3 / 4))
    assert row["serial_fraction_high"] == pytest.approx((1 / low - 1 / 4) / (3 / 4))


@given(TIMES, TIMES, st.floats(0.01, 100))
def test_speedup_knows_no_unit_and_lies_in_its_interval(
    one: list[float], many: list[float], factor: float
) -> None:
    row = last(compare([*ddp(1, one), *ddp(4, many)]).training.table)
    slowed = [[factor * t for t in times] for times in (one, many)]
    other = last(compare([*ddp(1, slowed[0]), *ddp(4, slowed[1])]).training.table)
    for name in ("speedup", "speedup_low", "speedup_high", "efficiency", "serial_fraction"):
        assert other[name] == (None if row[name] is None else pytest.approx(row[name]))
    if min(len(one), len(many)) >= 3:
        assert row["speedup_low"] <= row["speedup"] * (1 + 1e-9)
        assert row["speedup_high"] >= row["speedup"] * (1 - 1e-9)
    else:
        assert row["speedup_low"] is row["efficiency_high"] is None
