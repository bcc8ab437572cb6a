"""The table of laws: known laws are found within their intervals, the rest is refused aloud."""

import dataclasses
from typing import Any

import pytest

from tests.analysis.rows_maker import (
    ddp,
    packing,
    paper_ddp,
    paper_preprocessing,
    scaled,
    usl_time,
)
from weather_hpc.analysis.comparison import compare
from weather_hpc.analysis.law_table import LAW_COLUMNS, laws_table
from weather_hpc.analysis.sentences import sentences
from weather_hpc.analysis.steps import comparisons_table
from weather_hpc.runs.row import Row

FIGURES = LAW_COLUMNS[LAW_COLUMNS.index("serial_fraction") : LAW_COLUMNS.index("baseline")]


def sentences_of(rows: list[Row]) -> list[str]:
    comparison = compare(rows)
    return sentences(comparison, laws_table(comparison), comparisons_table(comparison))


def laws(rows: list[Row]) -> dict[str, dict[str, Any]]:
    """The rows of the one series in ``rows``, by law."""
    table = laws_table(compare(rows))
    assert len({row["series"] for row in table.rows}) == 1
    return {row["law"]: row for row in table.rows}


def holds(row: dict[str, Any], name: str, value: float) -> bool:
    return bool(row[f"{name}_low"] <= value <= row[f"{name}_high"])


@pytest.mark.parametrize("seed", range(5))
def test_the_usl_behind_noisy_runs_is_found(seed: int) -> None:
    row = laws(scaled(usl_time(0.05, 0.01), (1, 2, 4, 8), 7, 0.01, seed))["USL"]
    assert row["refused"] is None
    assert (row["sizes"], row["workers_max"]) == (4, 8)
    assert row["baseline"] == "ddp on cuda, 1 rank, batch 32"
    assert holds(row, "serial_fraction", 0.05)
    assert holds(row, "coherency", 0.01)
    assert holds(row, "peak_workers", (0.95 / 0.01) ** 0.5)
    assert row["note"] == "the peak is beyond the 8 ranks measured: extrapolated"


def test_amdahls_law_is_found_and_the_usl_then_has_no_peak() -> None:
    found = laws(scaled(usl_time(0.1, 0.0), (1, 2, 4, 8, 16), 5, 0.01))
    assert holds(found["Amdahl"], "serial_fraction", 0.1)
    assert found["Amdahl"]["speedup_limit"] == pytest.approx(10, rel=0.1)
    assert found["Amdahl"]["coherency"] is None
    assert found["USL"]["coherency_low"] == 0
    assert found["USL"]["peak_workers_high"] is None


def test_rounding_is_no_peak_and_a_slowdown_has_none() -> None:
    """Times exactly by Amdahl's law leave a coherency of some 1e-17, a peak at 1e8 workers."""
    rows = [row for n, t in {1: 100.0, 2: 60.0, 4: 40.0, 8: 30.0}.items() for row in ddp(n, [t])]
    usl = laws(rows)["USL"]
    assert (usl["coherency"], usl["peak_workers"]) == (0, None)
    rows = [row for n, t in {1: 100.0, 2: 140.0, 4: 215.0, 8: 306.0}.items() for row in ddp(n, [t])]
    assert laws(rows)["USL"]["peak_workers"] == 1
    told = sentences_of(rows)
    assert "By the USL, ddp on cuda, batch 32 per device is never faster than on one rank." in told


def test_weak_scaling_has_gustafsons_law() -> None:
    rows = [
        row
        for n in (1, 2, 4, 8)
        for row in ddp(
            n, [50.0, 50.2, 49.8], scaling="weak", images_asked=100 * n,
            images_per_s=10 * (n - 0.2 * (n - 1)),
        )
    ]  # fmt: skip
    (row,) = laws_table(compare(rows)).rows
    assert (row["law"], row["serial_fraction"]) == ("Gustafson", pytest.approx(0.2))
    assert row["residual"] == pytest.approx(0, abs=1e-9)


def test_the_strategy_on_one_rank_goes_before_single_and_single_serves_where_it_is_missing() -> (
    None
):
    """A slow start into DDP is no serial part of its scaling."""
    single = ddp(1, [50.0], strategy="single")
    many = [row for n in (2, 4, 8) for row in ddp(n, [100 / n])]
    own = laws([*single, *ddp(1, [100.0]), *many])["Amdahl"]
    assert (own["serial_fraction"], own["baseline"]) == (0, "ddp on cuda, 1 rank, batch 32")
    other = laws([*single, *many])["Amdahl"]
    assert other["baseline"] == "single on cuda, batch 32"
    assert other["refused"] is not None


@pytest.mark.parametrize(
    ("sizes", "law", "words"),
    [
        ((2, 4, 8), "Amdahl", "no baseline"),
        ((1,), "Amdahl", "too few sizes (1 ranks): Amdahl needs 3"),
        ((1, 2), "Amdahl", "too few sizes (1, 2 ranks): Amdahl needs 3"),
        ((1, 2, 4), "USL", "too few sizes (1, 2, 4 ranks): USL needs 4"),
    ],
)
def test_too_little_to_fit_is_refused(sizes: tuple[int, ...], law: str, words: str) -> None:
    row = laws(scaled(usl_time(0.05, 0.01), sizes, 3, 0.01))[law]
    assert row["refused"].startswith(words)
    assert {row[name] for name in FIGURES} == {None}


def test_what_no_law_describes_is_refused() -> None:
    erratic = laws([row for n, t in ((1, 90), (2, 30), (4, 80), (8, 12)) for row in ddp(n, [t])])
    assert erratic["USL"]["refused"].startswith("poor fit: off by")
    slower = laws([row for n in (1, 2, 4) for row in ddp(n, [10.0 * n])])
    assert slower["Amdahl"]["refused"] == "slower than on one rank, which Amdahl's law cannot be"


def test_noise_that_hides_which_parameter_it_is_is_refused() -> None:
    refusals = [
        laws(scaled(usl_time(0.01, 0.003), (1, 2, 3, 4), 5, 0.03, seed))["USL"]["refused"]
        for seed in range(5)
    ]
    assert (
        "contention and coherency are statistically indistinguishable: either may be 0" in refusals
    )


def test_ideal_scaling_has_neither_parameter() -> None:
    row = laws(scaled(usl_time(0, 0), (1, 2, 4, 8), 5, 0.01, seed=1))["USL"]
    assert row["refused"] is None
    assert holds(row, "serial_fraction", 0)
    assert holds(row, "coherency", 0)


def test_single_runs_have_figures_but_no_intervals() -> None:
    row = laws(scaled(usl_time(0.05, 0.01), (1, 2, 4, 8), 1, 0.0))["USL"]
    assert row["serial_fraction"] == pytest.approx(0.05)
    assert (row["serial_fraction_low"], row["peak_workers_high"]) == (None, None)
    assert "no intervals: fewer than 3 runs of some size" in row["note"]


def test_ambiguous_points_are_no_series() -> None:
    rows = [row for n in (1, 2, 4) for row in ddp(n, [100 / n])]
    twice = ddp(4, [30.0], images=7)  # a setting that decides nothing here
    assert "several configurations have 4 ranks" in laws([*rows, *twice])["Amdahl"]["refused"]


def test_nodes_part_series_only_where_they_must() -> None:
    growing = [row for n in (1, 2, 4) for row in ddp(n, [100 / n], nodes=max(1, n // 2))]
    assert laws(growing)["Amdahl"]["serial_fraction"] == 0
    both = [*growing, *ddp(4, [24.0], nodes=1)]
    parted = {row["series"]: row["sizes"] for row in laws_table(compare(both)).rows}
    assert parted == {
        "ddp on cuda, batch 32 per device, nodes 1": 3,
        "ddp on cuda, batch 32 per device, nodes 2": 2,
    }


def test_the_papers_ddp_fits_no_law_and_each_refusal_has_its_row() -> None:
    rows = laws_table(compare(paper_ddp())).rows
    assert len(rows) == 4 * 2
    assert all(row["refused"] for row in rows)


def test_the_papers_preprocessing_peaks_near_its_eight_cores() -> None:
    found = {
        (row["series"], row["law"]): row for row in laws_table(compare(paper_preprocessing())).rows
    }
    pool = found["multiprocessing", "USL"]
    assert 8 < pool["peak_workers"] < 16
    assert found["multiprocessing", "Amdahl"]["refused"].startswith("poor fit")
    assert found["dask", "Amdahl"]["baseline"] == "dask, 1 worker"
    assert found["dask", "Amdahl"]["serial_fraction"] > 0.7


def test_a_series_that_was_never_measured_has_its_row() -> None:
    (row,) = packing("dask", 2, [1.0])
    skipped = [dataclasses.replace(row, table=None, status="skipped", time_s=None)]
    assert [row["refused"] for row in laws_table(compare(skipped)).rows] == [
        "no run was measured"
    ] * 2
