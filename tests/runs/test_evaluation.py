"""evaluation.json and examples.jpg as runs leave them, of earlier versions, and damaged."""

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from weather_hpc.errors import UserError
from weather_hpc.runs.evaluation import read_evaluation, read_strip

VALUE: dict[str, Any] = {"images": 3, "classes": ["dew", "rain"], "confusion": [[1, 1], [0, 1]]}


def test_an_evaluation_of_an_earlier_version_has_no_examples(tmp_path: Path) -> None:
    path = tmp_path / "evaluation.json"
    path.write_text(json.dumps(VALUE))
    found = read_evaluation(path)
    assert (found.correct(), found.examples, found.calibration) == (2, [], [])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"confusion": [[1, 1]]}, "not a table of 2 x 2"),
        ({"images": 4}, "has not 4 images"),
        ({"images": -3}, "images"),
        ({"confusion": [[1, 1], [0, float("nan")]]}, "confusion.1.1"),
        ({"examples": [{"row": 0, "true": 2, "predicted": 0, "probability": 0.5}]}, "none of the"),
        ({"expected_calibration_error": 7}, "expected_calibration_error"),
    ],
)
def test_a_wrong_evaluation_is_refused(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    path = tmp_path / "evaluation.json"
    path.write_text(json.dumps(VALUE | change))
    with pytest.raises(UserError, match=message):
        read_evaluation(path)


def test_a_wrong_strip_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "examples.jpg"
    Image.new("RGB", (30, 10)).save(path)
    assert [image.shape for image in read_strip(path, 3)] == [(10, 10, 3)] * 3
    with pytest.raises(UserError, match="30 x 10 pixels, expected 2 squares"):
        read_strip(path, 2)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(UserError, match="cannot be read as JPEG"):
        read_strip(path, 3)
