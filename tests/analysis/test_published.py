"""The study's printed numbers, as rows of their own that are compared as runs are."""

from pathlib import Path

import pytest

from weather_hpc.analysis import published
from weather_hpc.analysis.published import published_comparison, read_published


def test_every_line_comes_with_the_package_and_is_read_once() -> None:
    assert {path.name for path in published.folder().glob("*.csv")} == {
        "preprocess.csv", "training_p100.csv", "dp_rtx3070.csv", "ddp_rtx3070.csv", "accuracy.csv",
    }  # fmt: skip
    checkout = Path(published.__file__).parents[2] / "results" / "paper"
    lines = sum(len(path.read_text().splitlines()) - 1 for path in checkout.glob("*.csv"))
    assert len(read_published()) == lines
    assert len({known.configuration for known in read_published()}) == lines


def test_no_table_is_compared_with_another_ones_hardware() -> None:
    for stage in published_comparison().stages:
        for one in stage.configurations:
            studies = {candidate.settings.study for candidate in one.candidates}
            assert studies <= {one.group.settings.study}


def test_a_printed_speedup_stands_though_its_baseline_was_not_printed() -> None:
    cells = published_comparison().training.table.rows
    printed = [
        (row["batch_size_global"], row["speedup"], row["efficiency"], row["baseline"])
        for row in cells
        if row["strategy"] == "dp" and row["study"] == "RTX 3070" and row["world_size"] == 2
    ]
    assert printed == [
        (64, 0.67, 0.335, None), (128, 0.74, 0.37, None), (256, 0.93, 0.465, None),
        (512, 0.94, 0.47, None),
    ]  # fmt: skip
    (p100,) = [row for row in cells if row["study"] == "P100" and row["world_size"] == 2]
    assert (p100["speedup"], p100["baseline"]) == (1.197, "single on cuda")


def test_the_study_has_one_accuracy() -> None:
    rows = published_comparison().rows
    assert [row.test_accuracy for row in rows if row.test_accuracy is not None] == [0.55]


@pytest.mark.parametrize(
    ("strategy", "gpus", "each", "together"), [("ddp", 4, 32, 128), ("dp", 4, 64, 256)]
)
def test_a_batch_is_each_ranks_under_ddp_and_all_devices_under_dp(
    strategy: str, gpus: int, each: int, together: int
) -> None:
    found = [
        row
        for row in published_comparison().rows
        if (row.strategy, row.workers, row.batch_size_global) == (strategy, gpus, together)
    ]
    assert [row.batch_size_per_device for row in found] == [each]
