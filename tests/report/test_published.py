"""Our times are compared with the study's of the same configuration, and no other."""

from typing import Any

import pytest

from weather_hpc.analysis.table import (
    PREPROCESS_COLUMNS,
    SHARING,
    TRAINING_COLUMNS,
    ScalingTable,
)
from weather_hpc.report.published import not_comparable, published_speedups, published_table
from weather_hpc.report.published_plot import ratio_sentence, speedups_drawing


def preprocess(*rows: dict[str, Any]) -> ScalingTable:
    blank = dict.fromkeys([*PREPROCESS_COLUMNS, *SHARING]) | {"scaling": "strong", "time_s": 1.0}
    lines = [blank | row for row in rows]
    return ScalingTable(
        "preprocess", "Preprocessing", "", PREPROCESS_COLUMNS, lines, "workers", ["backend"]
    )


def training(*rows: dict[str, Any]) -> ScalingTable:
    blank = dict.fromkeys([*TRAINING_COLUMNS, *SHARING])
    blank |= {"scaling": "strong", "time_s": 1.0, "device": "cpu", "epochs": 2, "images": 500}
    lines = [blank | row for row in rows]
    keys = ["strategy", "device", "batch_size_per_device"]
    return ScalingTable("training", "Training", "", TRAINING_COLUMNS, lines, "world_size", keys)


@pytest.mark.parametrize(
    ("row", "time_s", "speedup"),
    [
        ({"strategy": "ddp", "world_size": 2, "batch_size_per_device": 128}, 63, 91 / 63),
        ({"strategy": "ddp", "world_size": 4, "batch_size_per_device": 32}, 249, 92 / 249),
        ({"strategy": "single", "world_size": 1, "device": "cpu"}, 270, None),
    ],
)
def test_training_is_compared_by_ranks_and_batch(
    row: dict[str, Any], time_s: float, speedup: float | None
) -> None:
    (line,) = published_table([training(row)]).rows
    assert line["published_time_s"] == time_s
    assert line["published_speedup"] == (speedup and pytest.approx(speedup))
    assert line["time_s"] == 1.0


def test_data_parallel_is_matched_by_the_batch_of_all_devices() -> None:
    row = {"strategy": "dp", "world_size": 4, "device": "cuda", "batch_size_global": 256}
    lines = published_table([training(row | {"batch_size_per_device": 64})]).rows
    assert [(line["published_on"], line["published_time_s"]) for line in lines] == [
        ("P100", 111.0),
        ("RTX 3070", 104.0),
    ]
    assert [line["published_speedup"] for line in lines] == [0.712, 0.72]


def test_preprocessing_is_compared_by_backend_and_workers() -> None:
    table = preprocess({"backend": "multiprocessing", "workers": 8, "speedup": 6.0})
    (line,) = published_table([table]).rows
    assert line["published_speedup"] == pytest.approx(54.66 / 9.214)
    assert line["speedup"] == 6.0


@pytest.mark.parametrize(
    "row",
    [
        {"backend": "multiprocessing", "workers": 3},
        {"backend": "multiprocessing", "workers": 8, "scaling": "weak"},
        {"backend": "multiprocessing", "workers": 8, "time_s": None},
    ],
)
def test_what_the_study_did_not_measure_is_compared_with_nothing(row: dict[str, Any]) -> None:
    table = preprocess(row)
    assert published_table([table]).rows == []
    both = published_speedups([table])
    assert all(one.ours is None for one in both)
    assert speedups_drawing(both).draw is None
    assert ratio_sentence(both) == []


def test_the_plot_names_both_and_what_only_the_study_measured() -> None:
    table = preprocess(
        {"backend": "dask", "workers": 1, "speedup": 0.9},
        {"backend": "dask", "workers": 2, "speedup": 1.7},
    )
    both = published_speedups([table])
    assert [(one.method, one.ours) for one in both] == [
        ("dask", 0.9), ("dask", 1.7), ("dask", None), ("dask", None),
    ]  # fmt: skip
    text = speedups_drawing(both).text
    assert "dask, 1 worker: 0.9 here, 2.77 published; dask, 2 workers: 1.7 here, 3.45" in text
    assert "dask, 8 workers: not measured here, 3.31 published" in text
    (told,) = ratio_sentence(both)
    assert told == (
        "Our speedup is 0.32 to 0.49 times the study's (median 0.41) in the 2 configurations that "
        "both measured; farthest apart is dask, 1 worker: 0.90 here, 2.77 there."
    )


def test_the_text_on_comparability_has_our_numbers() -> None:
    row = {"strategy": "ddp", "world_size": 2, "batch_size_per_device": 128}
    assert "ours have 500 images and 2 epochs" in not_comparable([training(row)])
