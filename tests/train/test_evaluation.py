"""The evaluation report against counting by hand, and as a run leaves it."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.train.conftest import Train
from weather_hpc.dataset.store import Store
from weather_hpc.runs.evaluation import read_evaluation, read_strip
from weather_hpc.train.evaluation import evaluation_report
from weather_hpc.train.examples import SIDE_PX

LABELS = np.array([0, 0, 0, 1, 1])
PROBABILITIES = np.array(
    [[0.9, 0.1, 0.0], [0.8, 0.2, 0.0], [0.3, 0.7, 0.0], [0.45, 0.55, 0.0], [0.6, 0.4, 0.0]]
)


@pytest.fixture
def report() -> dict[str, Any]:
    return evaluation_report(LABELS, PROBABILITIES, ["dew", "rain", "snow"])


def test_the_confusion_matrix_is_true_by_predicted(report: dict[str, Any]) -> None:
    assert report["confusion"] == [[2, 1, 0], [1, 1, 0], [0, 0, 0]]
    assert (report["images"], report["accuracy"]) == (5, 0.6)


def test_figures_per_class(report: dict[str, Any]) -> None:
    dew, rain, snow = report["per_class"]
    assert (dew["images"], dew["precision"], dew["recall"]) == (3, 0.666667, 0.666667)
    assert (rain["precision"], rain["recall"], rain["f1"]) == (0.5, 0.5, 0.5)
    assert snow == {"class": "snow", "images": 0, "precision": None, "recall": None, "f1": None}
    assert report["macro_f1"] == pytest.approx((2 / 3 + 1 / 2) / 2, abs=1e-6)


def test_calibration_is_the_distance_of_confidence_from_accuracy(report: dict[str, Any]) -> None:
    # one image per slice: |0.9-1| + |0.8-1| + |0.7-0| + |0.55-1| + |0.6-0|, over five
    assert report["expected_calibration_error"] == pytest.approx(2.05 / 5)
    assert sum(part["images"] for part in report["calibration"]) == 5
    for part in report["calibration"]:
        assert part["from"] <= part["confidence"] <= part["to"]


def test_full_confidence_has_a_slice() -> None:
    sure = evaluation_report(np.array([1]), np.array([[0.0, 1.0]]), ["dew", "rain"])
    assert sure["expected_calibration_error"] == 0.0


@pytest.mark.parametrize("ranks", [1, 2])
def test_a_run_reports_every_held_out_image_once(
    train: Train, torchrun: Train, small_store: Path, tmp_path: Path, ranks: int
) -> None:
    words: list[object] = ["--store", small_store, "--model", "tiny", "--epochs", 1]
    run = train if ranks == 1 else torchrun
    record = run(*words, "--strategy", "single" if ranks == 1 else "ddp", run_dir=tmp_path)
    report = json.loads((tmp_path / "evaluation.json").read_bytes())
    store = Store.open(small_store)
    assert report["images"] == record["counts"]["test_images"] == len(store.rows("test"))
    assert report["accuracy"] == pytest.approx(record["quality"]["test_accuracy"], abs=1e-6)
    held_out = np.bincount(store.labels[store.rows("test")], minlength=len(store.classes))
    assert [entry["images"] for entry in report["per_class"]] == held_out.tolist()
    examples = read_evaluation(tmp_path / "evaluation.json").examples
    assert {example.row for example in examples} <= set(store.rows("test").tolist())
    assert [int(store.labels[example.row]) for example in examples] == [e.true for e in examples]
    thumbnails = read_strip(tmp_path / "examples.jpg", len(examples))
    first = Image.fromarray(np.asarray(store.images[examples[0].row])).resize((SIDE_PX, SIDE_PX))
    difference = np.asarray(first, dtype=float) - thumbnails[0]
    assert np.abs(difference).mean() < 4  # JPEG
