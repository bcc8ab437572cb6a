"""What people read of runs that were not measured."""

from pathlib import Path

import pytest

from weather_hpc.runs.ending import NEVER_STARTED, in_words
from weather_hpc.runs.lock import FolderLock
from weather_hpc.runs.paths import RunPaths
from weather_hpc.runs.row import Row


@pytest.mark.parametrize(
    ("status", "reason", "word"),
    [
        ("incomplete", NEVER_STARTED, "not started"),
        ("incomplete", "started, no result", "interrupted"),
        ("cancelled", "the sweep was interrupted (SIGINT)", "interrupted"),
        ("cancelled", "the sweep was ended by SIGTERM", "interrupted"),
        ("cancelled", "cancelled by an administrator", "cancelled"),
        ("preempted", "PREEMPTED", "interrupted"),
        ("failed", "ended by SIGKILL", "failed"),
    ],
)
def test_how_a_run_ended_in_words(tmp_path: Path, status: str, reason: str, word: str) -> None:
    row = Row(run_id="a", source=str(tmp_path), status=status, reason=reason)
    assert in_words(row) == word


def test_a_run_that_is_being_made_is_running(tmp_path: Path) -> None:
    row = Row(run_id="a", source=str(tmp_path), status="incomplete", reason="started, no result")
    lock = FolderLock(RunPaths(tmp_path))
    assert in_words(row) == "running"
    lock.release()
    assert in_words(row) == "interrupted"


def test_a_text_log_that_stops_is_incomplete(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    log.write_text("epoch 1\n")
    row = Row(run_id="a", source=str(log), status="incomplete", reason="1 of 3 epochs")
    assert in_words(row) == "incomplete"
