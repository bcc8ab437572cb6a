"""Stopped and gone on with: the same weights, bit for bit."""

import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.train.conftest import (
    RUN_TINY,
    Train,
    events,
    family,
    losses,
    record_in,
    torchrun_argv,
    torchrun_environment,
)
from weather_hpc import cli
from weather_hpc.runs.reader import read_run
from weather_hpc.runs.record import Status
from weather_hpc.train.__main__ import main

EPOCHS = 5


def state_in(run_dir: Path) -> dict[str, Any]:
    """Without the ranks' seconds, in which no two runs agree."""
    state: dict[str, Any] = torch.load(run_dir / "checkpoint.pt", weights_only=True)
    for rank in state["ranks"]:
        assert rank.pop("times").keys() == {"total", "epoch"}
    return state


def same(left: Any, right: Any) -> bool:
    """Equal to the last bit, tensors at any depth."""
    if isinstance(left, torch.Tensor):
        return torch.equal(left, right)
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(same(left[k], right[k]) for k in left)
    if isinstance(left, list):
        return len(left) == len(right) and all(map(same, left, right))
    return bool(left == right)


def assert_same_end(whole: Path, resumed: Path) -> None:
    for part in ("network", "average", "ranks", "loss", "accuracy", "epoch"):
        assert same(state_in(whole)[part], state_in(resumed)[part]), part
    assert record_in(whole)["quality"] == record_in(resumed)["quality"]
    assert losses(whole)[-1] == losses(resumed)[-1]


def kill_after_epoch(epoch: int, argv: list[str], run_dir: Path) -> None:
    """Start ``argv`` and end it with SIGKILL, children too, once it has saved ``epoch``."""
    child = subprocess.Popen(
        argv, env=torchrun_environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        while not (run_dir / "events.jsonl").exists() or not any(
            event["epoch"] == epoch for event in events(run_dir, "checkpoint")
        ):
            assert child.poll() is None, "the run ended before it could be killed"
            time.sleep(0.005)
    finally:
        for process in family(child.pid):
            process.kill()
    assert child.wait() == -signal.SIGKILL
    assert record_in(run_dir)["status"] == "incomplete"
    assert state_in(run_dir)["epoch"] < EPOCHS


def test_a_killed_run_ends_as_one_never_stopped(
    train: Train, paper_store: Path, tmp_path: Path
) -> None:
    """With batch norm, dropout, augmentation and averaged weights, whose states count as well.

    Killed twice.
    """
    options = ["--store", paper_store, "--batch-size", 16, "--epochs", EPOCHS, "--images", 24]
    options += ["--recipe", "strong"]
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    train(*options, run_dir=whole)
    argv = [sys.executable, str(RUN_TINY), *map(str, options), "--run-dir", str(killed), "--resume"]
    kill_after_epoch(1, argv, killed)
    kill_after_epoch(3, argv, killed)
    half_written = killed / ".checkpoint.pt.a1b2c3d4"
    half_written.touch()
    record = train(*options, "--resume", run_dir=killed)
    assert_same_end(whole, killed)
    assert not half_written.exists()
    assert record["provenance"]["restarts"] == 2
    assert record["counts"]["epochs"] == EPOCHS
    # time measured before the stop counts; the last one of an epoch's events is the one kept
    epochs = {event["epoch"]: event["time_s"] for event in events(killed, "epoch")}
    assert sorted(epochs) == list(range(1, EPOCHS + 1))
    assert record["time_s"] == pytest.approx(sum(epochs.values()))


def test_two_killed_ranks_end_as_if_never_stopped(
    torchrun: Train, paper_store: Path, tmp_path: Path
) -> None:
    options = ["--store", paper_store, "--strategy", "ddp", "--batch-size", 8]
    options += ["--epochs", EPOCHS, "--images", 24]
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    torchrun(*options, run_dir=whole)
    kill_after_epoch(2, torchrun_argv(*options, "--run-dir", killed), killed)
    assert torchrun(*options, "--resume", run_dir=killed)["provenance"]["restarts"] == 1
    assert_same_end(whole, killed)


def test_a_run_resumed_on_another_device_says_so_and_is_in_no_table(
    train: Train, small_store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its weights go on; its time would be of neither."""
    options = ["--store", small_store, "--model", "tiny", "--epochs", 2]
    whole, moved = tmp_path / "whole", tmp_path / "runs" / "moved"
    train(*options, run_dir=whole)
    moved.mkdir(parents=True)
    (moved / "stop").touch()
    train(*options, run_dir=moved, code=75)
    (moved / "stop").unlink()
    state = state_in(moved)
    assert state["devices"] == ["cpu"]
    torch.save(state | {"devices": ["NVIDIA H100"]}, moved / "checkpoint.pt")
    capsys.readouterr()
    record = train(*options, "--resume", run_dir=moved)
    assert record["provenance"]["devices"] == ["NVIDIA H100", "cpu"]
    assert [event["devices"] for event in events(moved, "resume")] == ["cpu"]
    told = "measured on NVIDIA H100, then on cpu: the time is not that of one device"
    assert told in capsys.readouterr().err
    assert same(state_in(whole)["network"], state_in(moved)["network"])
    run = read_run(moved)
    assert (run.status, run.reject) == (Status.OK, told)


@pytest.fixture
def finished(
    train: Train, small_store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> tuple[list[str], Path]:
    options = ["--store", str(small_store), "--model", "tiny", "--epochs", "2"]
    train(*options, run_dir=tmp_path / "run")
    capsys.readouterr()
    return options, tmp_path / "run"


def test_a_finished_run_is_not_done_again(
    train: Train, finished: tuple[list[str], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    options, run_dir = finished
    before = record_in(run_dir)
    assert train(*options, "--resume", run_dir=run_dir) == before
    assert "already done" in capsys.readouterr().out


def test_stopped_just_before_the_end(train: Train, finished: tuple[list[str], Path]) -> None:
    """All epochs are in the checkpoint, the record is not written: only evaluation is left."""
    options, run_dir = finished
    before = record_in(run_dir)
    (run_dir / "record.json").unlink()
    after = train(*options, "--resume", run_dir=run_dir)
    assert after["quality"] == before["quality"]
    assert after["time_s"] == pytest.approx(before["time_s"])
    assert after["provenance"]["restarts"] == 1


def test_with_discard_a_run_begins_anew(train: Train, finished: tuple[list[str], Path]) -> None:
    options, run_dir = finished
    curve = losses(run_dir)
    assert train(*options, "--discard", run_dir=run_dir)["provenance"]["restarts"] == 0
    assert losses(run_dir) == curve


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (["--lr", "0.5"], "learning_rate None there, 0.5 here"),
        (["--batch-size", "7"], "batch_size 32 there, 7 here"),
        (["--model", "resnet18"], "model tiny there, resnet18 here"),
    ],
)
def test_a_checkpoint_of_another_run_is_refused(
    finished: tuple[list[str], Path],
    change: list[str],
    told: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    options, run_dir = finished
    (run_dir / "record.json").unlink()
    argv = [*options, *change, "--resume", "--run-dir", str(run_dir)]
    assert cli.guarded("train", main, argv) == 2
    error = capsys.readouterr().err
    assert told in error
    assert error.count("\n") == 1


def test_a_checkpoint_of_other_images_is_refused(
    finished: tuple[list[str], Path],
    images: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from tests.train.conftest import packed

    options, run_dir = finished
    others = tmp_path / "others"
    shutil.copytree(images, others)
    next((others / "dew").iterdir()).unlink()
    options[1] = str(packed(others, tmp_path / "other_store", 32))
    (run_dir / "record.json").unlink()
    argv = [*options, "--resume", "--run-dir", str(run_dir)]
    assert cli.guarded("train", main, argv) == 2
    assert "store checksum" in capsys.readouterr().err


def test_the_record_of_another_run_is_not_taken_for_this_one(
    finished: tuple[list[str], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    options, run_dir = finished
    argv = [*options, "--seed", "9", "--resume", "--run-dir", str(run_dir)]
    assert cli.guarded("train", main, argv) == 2
    assert "choose another --run-dir" in capsys.readouterr().err


def test_a_checkpoint_that_lacks_a_part_is_told(
    finished: tuple[list[str], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    options, run_dir = finished
    (run_dir / "record.json").unlink()
    state = state_in(run_dir)
    del state["classes"]
    torch.save(state, run_dir / "checkpoint.pt")
    assert cli.guarded("train", main, [*options, "--resume", "--run-dir", str(run_dir)]) == 2
    assert "parts are missing or unknown" in capsys.readouterr().err


def broken_parts(state: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The checkpoint with values of other types, or with content that does not fit the run."""
    for name, odd in {
        "asked": [], "devices": [1], "classes": "x", "epoch": -1, "step": "2", "loss": [],
        "seconds": {"x": float("nan")}, "energy": {"joules": "x"}, "network": None,
        "average": 3, "calibration": [], "ranks": {},
    }.items():  # fmt: skip
        yield state | {name: odd}
    yield state | {"ranks": []}
    yield state | {"ranks": [{}]}
    yield state | {"energy": {"unknown": 1.0}}
    yield state | {"calibration": {"images": 3}}
    yield state | {"network": {name: torch.zeros(1) for name in state["network"]}}
    yield state | {"network": {}}
    yield state | {"ranks": [state["ranks"][0] | {"optimizer": {}}]}
    yield state | {"ranks": [state["ranks"][0] | {"random": {"cpu": "x", "cuda": []}}]}


def test_a_checkpoint_with_other_content_is_told(
    finished: tuple[list[str], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    options, run_dir = finished
    path = run_dir / "checkpoint.pt"
    for broken in broken_parts(state_in(run_dir)):
        (run_dir / "record.json").unlink(missing_ok=True)
        torch.save(broken, path)
        assert cli.guarded("train", main, [*options, "--resume", "--run-dir", str(run_dir)]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert str(path) in line


@pytest.mark.parametrize("name", ["ranks.csv", "events.jsonl"])
def test_a_run_resumes_beside_broken_tables(
    finished: tuple[list[str], Path], name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    options, run_dir = finished
    state = state_in(run_dir)
    argv = [*options, "--resume", "--run-dir", str(run_dir)]
    for content in (b"", b"\0" * 9, b"\xff\xfe,1\n2,3", b"epoch,rank\n1e999,x\n"):
        (run_dir / "record.json").unlink(missing_ok=True)
        torch.save(state, run_dir / "checkpoint.pt")
        (run_dir / name).write_bytes(content)
        assert cli.guarded("train", main, argv) == 0, capsys.readouterr().err


@pytest.mark.parametrize("damage", [b"", b"garbage", None])
def test_a_damaged_checkpoint_is_told(
    finished: tuple[list[str], Path], damage: bytes | None, capsys: pytest.CaptureFixture[str]
) -> None:
    options, run_dir = finished
    (run_dir / "record.json").unlink()
    path = run_dir / "checkpoint.pt"
    path.write_bytes(path.read_bytes()[:-200] if damage is None else damage)
    assert cli.guarded("train", main, [*options, "--resume", "--run-dir", str(run_dir)]) == 2
    assert f"{path}: cannot be read as a checkpoint" in capsys.readouterr().err


@contextmanager
def room_for(size: int) -> Iterator[None]:
    """Files of more bytes cannot be written, as on a file system or quota that is full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_checkpoint_that_cannot_be_written_leaves_the_earlier_one(
    train: Train, small_store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What the system says is told, with the path; the run goes on once there is room."""
    options = ["--store", small_store, "--model", "tiny", "--epochs", 2]
    path = tmp_path / "run" / "checkpoint.pt"
    for kept in ("there is no earlier one", "the earlier one is kept"):
        before = path.read_bytes() if path.exists() else None
        with room_for(20_000):
            record = train(*options, "--resume", run_dir=path.parent, code=1)
        told = f"{path}: the checkpoint cannot be written: File too large; {kept}"
        assert told in capsys.readouterr().err
        assert (record["status"], told in record["reason"]) == ("failed", True)
        assert (path.read_bytes() if path.exists() else None) == before
        assert not list(path.parent.glob(".checkpoint*"))
        if before is None:
            (path.parent / "stop").touch()
            train(*options, "--resume", run_dir=path.parent, code=75)
            (path.parent / "stop").unlink()
    assert train(*options, "--resume", run_dir=path.parent)["status"] == "ok"
