"""Asked to stop: a checkpoint at a step boundary, and then on as if nothing had been."""

import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tests.train.conftest import (
    RUN_TINY,
    Train,
    events,
    losses,
    record_in,
    torchrun_argv,
    torchrun_environment,
)
from tests.train.test_resume import assert_same_end, state_in
from weather_hpc import cli
from weather_hpc.runs.paths import RunPaths
from weather_hpc.text import counted
from weather_hpc.train.again import how_to_go_on
from weather_hpc.train.ranks import TorchrunEnv
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
    child = subprocess.Popen(
        argv, env=torchrun_environment(), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    try:
        deadline = time.monotonic() + 60
        while not (tmp_path / "checkpoint.pt").exists():
            assert child.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.01)
        child.send_signal(signal.SIGTERM)
        said = child.communicate(timeout=60)[1].decode().splitlines()
        assert child.returncode == cli.EXIT_STOPPED
    finally:
        child.kill()
    assert said[-1].endswith(f"; continue with: {shlex.join(argv)} --resume")
    assert record_in(tmp_path)["status"] == "incomplete"
    paths = RunPaths(tmp_path)
    assert paths.stopped.exists()
    assert not paths.stop.exists(), "a sign of its own would stop the next run at once"
    reached = state_in(tmp_path)["epoch"]
    assert {event["epoch"] for event in events(tmp_path, "epoch")} >= {reached}


def test_ctrl_c_names_the_command_that_goes_on(
    train: Train, small_store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Once there is something to go on from; a fresh start over it is refused."""
    run_dir = tmp_path / "two words"
    options = ["--store", str(small_store), "--model", "tiny", "--epochs", "100000"]
    argv = [*options, "--run-dir", str(run_dir)]

    def interrupt() -> None:
        while not (run_dir / "checkpoint.pt").exists():
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    # an import of another test may have set a handler of its own
    before_handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        thread.start()
        train(*options, run_dir=run_dir, code=130)
    finally:
        thread.join()
        signal.signal(signal.SIGINT, before_handler)
    command = f"python -m weather_hpc.train {shlex.join(argv)} --resume"
    end = f"train: interrupted; its checkpoint is kept; continue with: {command}"
    assert capsys.readouterr().err.splitlines()[-1] == end

    before = {path: path.read_bytes() for path in run_dir.iterdir() if path.is_file()}
    assert train(*options, run_dir=run_dir, code=2)["status"] == "cancelled"
    done = counted(state_in(run_dir)["epoch"], "epoch")
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"train: {run_dir}: holds {done.split()[0]} of 100000 epochs")
    assert line.endswith("give --resume to go on, or --discard to start afresh")
    train(*options, "--batch-size", 4, run_dir=run_dir, code=2)
    (line,) = capsys.readouterr().err.splitlines()
    assert f"holds {done} of another run (batch_size 32 there, 4 here)" in line
    assert {path: path.read_bytes() for path in before} == before


def test_ctrl_c_under_torchrun_names_its_command(small_store: Path, tmp_path: Path) -> None:
    options = ["--store", small_store, "--model", "tiny", "--epochs", 100000, "--strategy", "ddp"]
    argv = torchrun_argv(*options, "--run-dir", tmp_path)
    child = subprocess.Popen(
        argv, env=torchrun_environment(), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        start_new_session=True,
    )  # fmt: skip
    try:
        deadline = time.monotonic() + 60
        while not (tmp_path / "checkpoint.pt").exists() and child.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        os.killpg(child.pid, signal.SIGINT)  # as a terminal does
        said = child.communicate(timeout=60)[1].decode()
    finally:
        child.kill()
    assert child.returncode == 130
    assert f"; continue with: {shlex.join(argv)} --resume\n" in said
    assert said.count("interrupted") == 1
    assert "Traceback" not in said


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        (["--run-dir", "run"], "the same command starts afresh"),
        ([], "nothing is kept without --run-dir"),
    ],
)
def test_where_there_is_nothing_to_go_on_from(
    typed: list[str], told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run_dir = Path(typed[1]) if typed else None
    assert told in how_to_go_on(typed, run_dir, TorchrunEnv())


@pytest.mark.parametrize(
    ("typed", "words", "told"),
    [
        (["--resume"], ["python", "x"], cli.SAME_AGAIN),
        (["--discard", "--lr", "1"], ["python", "x"], "python -m weather_hpc.train --lr 1"),
        (["--lr", "1"], ["/bin/python", "/bin/weather-hpc", "train", "--lr", "1"],
         "weather-hpc train --lr 1"),
    ],
)  # fmt: skip
def test_the_command_is_as_it_was_typed(
    typed: list[str], words: list[str], told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "checkpoint.pt").touch()
    monkeypatch.setattr(sys, "orig_argv", words)
    if told != cli.SAME_AGAIN:
        told = f"its checkpoint is kept; continue with: {told} --resume"
    assert how_to_go_on(typed, tmp_path, TorchrunEnv()) == told
