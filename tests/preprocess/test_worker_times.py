"""How long the jobs of Dask workers took: read from squeue, then from accounting."""

import os
from pathlib import Path

import pytest

from weather_hpc.preprocess.backends import worker_times

SQUEUE = """\
7|CANCELLED|2026-01-01T00:00:10|2026-01-01T00:01:40|node1
8|FAILED|2026-01-01T00:00:10|2026-01-01T00:00:25|node2
9|CANCELLED|N/A|2026-01-01T00:01:40|
"""


def commands(folder: Path, monkeypatch: pytest.MonkeyPatch, squeue: str, sacct: str) -> None:
    """Stand-ins of squeue and sacct that print these texts."""
    for name, text in (("squeue", squeue), ("sacct", sacct)):
        (folder / f"{name}.txt").write_text(text)
        (folder / name).write_text(f"#!/bin/sh\ncat '{folder}/{name}.txt'\n")
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")


def test_replaced_and_waiting_jobs_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = "6|w|NODE_FAIL|0:0||||2026-01-01T00:00:05|42|1|node1|1|\n"
    other = old.replace("|w|", "|somebody|").replace("6", "5", 1)
    commands(tmp_path, monkeypatch, SQUEUE, old + other)
    # 5 and 6 left the controller's memory; 5 in accounting is another job with its id
    found = worker_times.ended_jobs("w", ["5", "6", "7", "8"])
    assert {job["job_id"]: job["elapsed_s"] for job in found} == {
        "5": None, "6": 42.0, "7": 90.0, "8": 15.0, "9": 0.0,
    }  # fmt: skip


def test_a_job_that_does_not_end_is_not_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_times, "ENDING_S", 0.0)
    line = "7|COMPLETING|2026-01-01T00:00:10|2026-01-01T01:00:10|node1\n"
    commands(tmp_path, monkeypatch, line, "")
    assert worker_times.ended_jobs("w", ["7"]) == [{"job_id": "7", "elapsed_s": None}]
