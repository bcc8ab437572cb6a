"""Asked to stop: a checkpoint at a step boundary, and then on as if nothing had been."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.train.conftest import (
    RUN_TINY,
    Train,
    events,
    losses,
    record_in,
    torchrun_environment,
)
from tests.train.test_resume import assert_same_end, state_in
from weather_hpc import cli
from weather_hpc.runs.paths import RunPaths
from weather_hpc.train.stop import STEPS_BETWEEN_CHECKS

PAPER = ["--images", 20, "--epochs", 2]
"""With batch norm and dropout, whose states count as well; ten steps an epoch."""


def ask_to_stop(run_dir: Path) -> RunPaths:
    """What a job script does when it is warned of its time limit."""
    run_dir.mkdir(exist_ok=True)
    paths = RunPaths(run_dir)
    paths.stop.write_text("time-limit\n")
    return paths


def test_stopped_in_the_middle_of_an_epoch(train: Train, paper_store: Path, tmp_path: Path) -> None:
    options = ["--store", paper_store, "--batch-size", 2, *PAPER]
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    train(*options, run_dir=whole)
    paths = ask_to_stop(stopped)
    record = train(*options, run_dir=stopped, code=cli.EXIT_STOPPED)
    assert (record["status"], record["time_s"]) == ("incomplete", None)
    assert record["reason"] == f"stopped in epoch 1 after step {STEPS_BETWEEN_CHECKS}"
    assert (state_in(stopped)["epoch"], state_in(stopped)["step"]) == (0, STEPS_BETWEEN_CHECKS)
    assert paths.stopped.exists()
    # asked again, this time between two epochs
    record = train(*options, "--resume", run_dir=stopped, code=cli.EXIT_STOPPED)
    assert record["reason"] == "stopped after epoch 1"
    paths.stop.unlink()
    record = train(*options, "--resume", run_dir=stopped)
    assert_same_end(whole, stopped)
    assert losses(stopped) == losses(whole)
    assert record["provenance"]["restarts"] == 2
    assert record["time_s"] == pytest.approx(
        sum(event["time_s"] for event in events(stopped, "epoch"))
    )


@pytest.mark.parametrize(("strategy", "batch"), [("ddp", 1), ("model", 2)])
def test_two_ranks_stop_at_the_same_step(
    torchrun: Train, small_store: Path, tmp_path: Path, strategy: str, batch: int
) -> None:
    """torchrun lets no exit code of a rank through: the file tells it."""
    options = ["--store", small_store, "--model", "tiny", "--strategy", strategy]
    options += ["--batch-size", batch, *PAPER]
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    torchrun(*options, run_dir=whole)
    paths = ask_to_stop(stopped)
    record = torchrun(*options, run_dir=stopped)
    assert record["status"] == "incomplete"
    assert state_in(stopped)["step"] == STEPS_BETWEEN_CHECKS
    assert paths.stopped.exists()
    paths.stop.unlink()
    torchrun(*options, "--resume", run_dir=stopped)
    assert_same_end(whole, stopped)
    assert losses(stopped) == losses(whole)


def test_sigterm_is_a_request_to_stop(small_store: Path, tmp_path: Path) -> None:
    argv = [sys.executable, str(RUN_TINY), "--store", str(small_store), "--model", "tiny"]
    argv += ["--epochs", "100000", "--run-dir", str(tmp_path)]
    child = subprocess.Popen(argv, env=torchrun_environment(), stdout=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 60
        while not (tmp_path / "checkpoint.pt").exists():
            assert child.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.01)
        child.send_signal(signal.SIGTERM)
        assert child.wait(timeout=60) == cli.EXIT_STOPPED
    finally:
        child.kill()
    assert record_in(tmp_path)["status"] == "incomplete"
    paths = RunPaths(tmp_path)
    assert paths.stopped.exists()
    assert not paths.stop.exists(), "a sign of its own would stop the next run at once"
    reached = state_in(tmp_path)["epoch"]
    assert {event["epoch"] for event in events(tmp_path, "epoch")} >= {reached}
