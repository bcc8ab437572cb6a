"""Locks, cancelling and cleaning a results folder."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from threading import Timer

import pytest

from weather_hpc import cli
from weather_hpc.errors import FailedError, UserError
from weather_hpc.files import take_lock
from weather_hpc.launch.folders import holder, lock
from weather_hpc.runs.paths import StudyPaths
from weather_hpc.sweep import results_folder
from weather_hpc.sweep.__main__ import main

HOLD = """
import sys, time
from pathlib import Path
from weather_hpc.launch.folders import lock
from weather_hpc.runs.paths import StudyPaths
with lock(StudyPaths(Path(sys.argv[1]))):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def other_sweep(tmp_path: Path) -> "subprocess.Popen[str]":
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_a_second_sweep_is_refused_and_the_first_is_named(
    tmp_path: Path, other_sweep: "subprocess.Popen[str]"
) -> None:
    with other_sweep:
        with pytest.raises(FailedError, match=f"pid {other_sweep.pid}"), lock(StudyPaths(tmp_path)):
            pass
        other_sweep.send_signal(signal.SIGKILL)
    # the kernel has released the lock
    assert holder(StudyPaths(tmp_path)) is None
    with lock(StudyPaths(tmp_path)):
        process = holder(StudyPaths(tmp_path))
        assert process is not None
        assert process.pid == os.getpid()


def test_a_sweep_that_waits_for_another_one_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = StudyPaths(tmp_path)
    other = paths.lock.open("w")
    other.write('{"pid": 7, "host": "node9"}')
    other.flush()
    assert take_lock(other)
    Timer(0.2, other.close).start()
    with lock(paths, wait_s=60.0):
        first, second = capsys.readouterr().err.splitlines()
    assert first == (
        f"{paths.lock}: another sweep (pid 7 on node9) holds it while it submits jobs; "
        "waits for up to 60 s"
    )
    assert second == f"{paths.lock}: it is free; goes on"


def test_cancel_interrupts_the_sweep(tmp_path: Path, other_sweep: "subprocess.Popen[str]") -> None:
    with other_sweep:
        assert f"interrupted pid {other_sweep.pid}" in results_folder.cancel(StudyPaths(tmp_path))
        deadline = time.monotonic() + 30
        while other_sweep.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
    assert other_sweep.returncode != 0
    assert "no sweep is running" in results_folder.cancel(StudyPaths(tmp_path))


def test_clean_keeps_records(tmp_path: Path) -> None:
    paths = StudyPaths(tmp_path)
    run = paths.run("train-x")
    for path in (run.record, run.events, run.checkpoint, run.store / "x", paths.rows,
                 paths.store("256px-1") / "images"):  # fmt: skip
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("content")
    with pytest.raises(UserError, match="--yes"):
        results_folder.clean(paths, ask=True)
    assert run.checkpoint.exists()
    assert "3 stores and checkpoints" in results_folder.clean(paths, ask=False)
    assert run.record.exists()
    assert run.events.exists()
    assert paths.rows.exists()
    assert not run.checkpoint.exists()
    assert not run.store.exists()
    assert not paths.stores.exists()


@pytest.mark.parametrize("action", ["status", "cancel", "clean"])
def test_where_no_study_has_been_run_nothing_is_done_or_made(
    action: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for folder in (tmp_path / "none", tmp_path):
        assert cli.guarded("sweep", main, [action, "--yes", "--results", str(folder)]) == 2
        told = f"sweep: {folder}: no study has been run here; give its folder with --results\n"
        assert capsys.readouterr().err == told
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("action", "has"),
    [
        ("status", ["--follow", "--live"]),
        ("cancel", []),
        ("clean", ["--yes"]),
        ("check", ["--dry-run", "--partition"]),
        ("run", ["--wait", "--staged", "--dry-run", "--live", "--partition"]),
    ],
)
def test_the_help_of_an_action_lists_its_own_options(
    action: str, has: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main([action, "--help"])
    shown = capsys.readouterr().out
    some = {"--follow", "--live", "--yes", "--wait", "--staged", "--dry-run", "--partition"}
    assert {option for option in some if f" {option} " in f"{shown} "} == set(has)
    assert "--results DIR" in shown
    assert f"sweep {action} [options]" in shown


def test_a_folder_without_its_option_is_told_where_it_belongs(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["status", "results/mine"])
    assert ended.value.code == cli.EXIT_USAGE
    assert capsys.readouterr().err == (
        "sweep: unrecognized arguments: results/mine; a results folder is named by --results "
        "(see --help)\n"
    )
