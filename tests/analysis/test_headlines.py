"""The largest effects come first; what holds everywhere is one sentence."""

import random
from dataclasses import replace

import pytest

from tests.analysis.rows_maker import ddp, packing, paper_ddp, paper_preprocessing, training
from weather_hpc.analysis.advice import advice_table
from weather_hpc.analysis.comparison import compare
from weather_hpc.analysis.devices import devices_table
from weather_hpc.analysis.headlines import MOST, headlines
from weather_hpc.runs.row import Code, Finding, Row, Severity


def told(rows: list[Row], *findings: Finding, deadline_s: float | None = None) -> list[str]:
    comparison = compare(rows)
    tables = [advice_table(comparison, deadline_s=deadline_s), devices_table(comparison)]
    return headlines(comparison, tables, findings)


def around(middle: float, repeats: int = 6) -> list[float]:
    return [middle * (1 + 0.002 * i) for i in range(repeats)]


def test_the_papers_slowdown_at_every_batch_size_comes_first() -> None:
    first, mixed, batch = told(paper_ddp())
    assert first == (
        "4 GPUs take 2.6 times as long as 1 at every batch size "
        "(ddp on cuda; 2.5 to 2.7; one run each)."
    )
    assert mixed.startswith(
        "2 GPUs are 1.44 times as fast as 1 with batch 128, but take 1.05 times as long with "
        "batch 32"
    )
    assert batch.startswith("Batch 128 is 1.56 times as fast as batch 32 with 3 GPUs")


def test_a_slowdown_comes_before_larger_effects() -> None:
    rows = training("single", 1, around(300), device="cpu", batch_size_global=32)
    rows += training("single", 1, around(10), batch_size_global=32)
    rows += ddp(2, around(10.6))
    first, second, *_ = told(rows)
    assert first == (
        "2 GPUs take 1.06 times as long as 1 (ddp on cuda, batch 32; 95 % interval 1.05 to 1.07)."
    )
    assert second == "One GPU is 30 times as fast as the CPU (single; 95 % interval 29.8 to 30.2)."


def test_effects_that_are_not_shown_are_not_claimed() -> None:
    noisy = [8.0, 12.0, 9.0, 11.0, 10.0, 10.5]
    (only,) = told(ddp(1, noisy) + ddp(2, [time_s * 0.98 for time_s in noisy]))
    assert only.startswith("2 GPUs are not shown to be faster than 1: 1.02 times as fast")


def test_an_answer_that_was_asked_for_is_told() -> None:
    rows = ddp(1, around(10)) + ddp(2, around(6))
    assert any(text.startswith("Training, deadline of 7 s:") for text in told(rows, deadline_s=7.0))


def test_nothing_is_told_that_an_error_contradicts() -> None:
    slow = [replace(row, audit_errors="nan_loss") for row in ddp(2, around(20))]
    (only,) = told(ddp(1, around(10)) + slow)
    assert only == "2 configurations of training measured: no effect is shown."
    rows = packing("sequential", 1, around(8)) + packing("dask", 2, around(4))
    wrong = Finding(
        "tables/preprocess.csv", Severity.ERROR, Code.REFERENCE_MISMATCH, "different stores"
    )
    assert told(rows) == [
        "2 workers are 2.0 times as fast as 1 (dask; 95 % interval 1.99 to 2.01)."
    ]
    assert told(rows, wrong) == ["2 configurations of preprocessing measured: no effect is shown."]


def test_other_stages_are_named_and_sentences_are_few_and_short() -> None:
    found = told(paper_ddp() + paper_preprocessing())
    assert len(found) == MOST
    assert max(map(len, found)) <= 160
    assert any(text.startswith("Preprocessing: 8 workers are 5.9 times") for text in found)


@pytest.mark.parametrize("rows", [ddp(1, [30.0]), packing("dask", 2, [3.0])], ids=["train", "pack"])
def test_one_run_shows_no_effect(rows: list[Row]) -> None:
    (only,) = told(rows)
    assert only.endswith("measured: no effect is shown.")


def test_an_effect_in_one_of_several_works_names_the_work() -> None:
    rows, others = (
        ddp(1, around(10), image_size_px=side) + ddp(2, around(middle), image_size_px=side)
        for side, middle in ((64, 8.0), (128, 5.0))
    )
    assert told(rows + others)[0].startswith("Image size 128: 2 GPUs are 2.0 times as fast as 1 ")
    assert told(rows)[0].startswith("2 GPUs are ")


def test_the_extremes_of_several_batch_sizes_are_told_where_intervals_are_apart() -> None:
    def study(slowest: float) -> list[str]:
        times = {16: 10.0, 32: 10.0, 64: slowest}
        rows = [
            row
            for batch, middle in times.items()
            for row in ddp(1, [middle + 0.1 * i for i in range(8)], batch_size_per_device=batch)
        ]
        return [text for text in told(rows) if text.startswith("Batch ")]

    assert study(10.5) == []
    assert study(12.0)[0].startswith("Batch 16 is 1.19 times as fast as batch 64")


def test_the_largest_of_many_differences_by_chance_is_not_told() -> None:
    noise = random.Random(6)
    rows = [
        row
        for ranks in (1, 2, 4)
        for batch in (16, 32, 64, 128, 256)
        for row in ddp(
            ranks,
            [10 / ranks * noise.gauss(1, 0.05) for _ in range(12)],
            batch_size_per_device=batch,
        )
    ]
    assert not [text for text in told(rows) if text.startswith("Batch ")]
