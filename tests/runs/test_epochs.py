"""Epochs of a run whose events are damaged, repeated or incomplete."""

import json
from pathlib import Path
from typing import Any

import pytest

from weather_hpc.runs.epochs import Epoch, read_epochs


def write(path: Path, *events: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(event) + "\n" for event in events))
    return path


def epoch(number: int, at: float, **values: Any) -> dict[str, Any]:
    return {"event": "epoch", "epoch": number, "at": at, "loss": 1.0, **values}


START = {"event": "start", "at": 100.0}


def test_an_epoch_after_a_restart_replaces_the_one_before(tmp_path: Path) -> None:
    path = write(
        tmp_path / "events.jsonl", START, epoch(1, 103.0, time_s=2.0), epoch(2, 106.0, time_s=2.5),
        {"event": "resume", "at": 200.0}, epoch(2, 204.0, time_s=3.0, test_accuracy=0.5),
    )  # fmt: skip
    with path.open("a") as file:
        file.write('{"event": "epoch", "epoch": 3, "at": 20')  # of a run that was killed
    first, second = read_epochs(path)
    assert (first.measured_s, first.wall_s, first.test_accuracy) == (2.0, 3.0, None)
    assert (second.measured_s, second.wall_s, second.test_accuracy) == (5.0, 104.0, 0.5)


def test_seconds_are_not_known_from_an_unknown_epoch_on(tmp_path: Path) -> None:
    path = write(tmp_path / "events.jsonl", epoch(1, 103.0, time_s=2.0), epoch(2, 106.0))
    assert [each.measured_s for each in read_epochs(path)] == [2.0, None]
    path = write(path, epoch(2, 106.0, time_s=1.0))
    assert [(each.measured_s, each.wall_s) for each in read_epochs(path)] == [(None, None)]


@pytest.mark.parametrize("value", [None, True, "0.5", -0.1, 1.5, float("nan"), [1]])
def test_what_is_no_accuracy_is_none(tmp_path: Path, value: object) -> None:
    path = write(tmp_path / "events.jsonl", epoch(1, 103.0, accuracy=value, time_s="soon"))
    assert read_epochs(path) == (Epoch(1, loss=1.0),)


def test_no_file_has_no_epochs(tmp_path: Path) -> None:
    assert read_epochs(tmp_path / "events.jsonl") == read_epochs(tmp_path) == ()
