"""forecast.json keeps what runs were expected to cost, and is read whatever it holds."""

import json
from pathlib import Path
from typing import Any

import pytest

from weather_hpc.runs.forecast_file import Expected, add_forecast, read_forecast
from weather_hpc.runs.paths import StudyPaths


def test_later_submissions_replace_those_of_the_same_runs(tmp_path: Path) -> None:
    paths = StudyPaths(tmp_path)
    assert read_forecast(paths) == {}
    add_forecast(paths, {"a": Expected(None, 2.0), "b": Expected(None, 2.0)})
    add_forecast(paths, {"b": Expected(0.5, 2.0)})
    assert read_forecast(paths) == {"a": Expected(None, 2.0), "b": Expected(0.5, 2.0)}


@pytest.mark.parametrize(
    "entry",
    [
        None, [], {}, {"node_hours": 1.0}, {"node_hours": "x", "at_most": 1.0},
        {"node_hours": -1.0, "at_most": 1.0}, {"node_hours": None, "at_most": True},
        {"node_hours": None, "at_most": None},
    ],
)  # fmt: skip
def test_wrong_entries_are_left_out(tmp_path: Path, entry: Any) -> None:
    paths = StudyPaths(tmp_path)
    good = {"node_hours": 0.5, "at_most": 1.0, "later": "x"}
    paths.forecast.write_text(json.dumps({"version": 1, "runs": {"a": entry, "b": good}}))
    assert read_forecast(paths) == {"b": Expected(0.5, 1.0)}


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"version": 2, "runs": {}}', '{"version": 1, "runs": []}']
)
def test_a_damaged_file_says_nothing(tmp_path: Path, text: str) -> None:
    paths = StudyPaths(tmp_path)
    paths.forecast.write_text(text)
    assert read_forecast(paths) == {}
