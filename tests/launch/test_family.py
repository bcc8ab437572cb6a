"""What is left of a run whose sweep or shell is killed, and who may make it: each run, once."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from weather_hpc.errors import FailedError
from weather_hpc.launch import family
from weather_hpc.launch.local_executor import LocalExecutor
from weather_hpc.launch.script import run_script
from weather_hpc.runs import lock
from weather_hpc.runs.lock import FolderLock, Holder, InUseError, read_holder
from weather_hpc.runs.paths import RunPaths, StudyPaths
from weather_hpc.runs.proc import is_running, with_variable
from weather_hpc.runs.reader import read_run
from weather_hpc.runs.record import Status, read_record
from weather_hpc.runs.state import RunState
from weather_hpc.study.config import StudyConfig
from weather_hpc.study.plan import Plan, make_plan
from weather_hpc.study.site import SiteProfile

STUDY = {"name": "s", "repeats": 1, "preprocess": [{"backend": "sequential"}]}

# a command with a descendant in a session of its own, as torchrun starts its ranks
COMMAND = """#!/bin/sh
setsid sleep 600 &
echo "$(( $(cat "$0.starts" 2>/dev/null) + 1 ))" >"$0.starts"
{then}
"""

SWEEP = """
import signal
import sys
from pathlib import Path
from tests.launch.test_family import a_study, executor
from weather_hpc import cli
from weather_hpc.launch import family
family.GRACE_S = 0.2
folder = Path(sys.argv[1])
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # tests may run under nohup
def main(_):
    with cli.advice():  # as the verb does
        executor(folder).run(a_study(folder)[0].runs)
    return 0
cli.run("sweep", main, [])
"""


BY_HAND = """
import os, signal, sys
signal.signal(signal.SIGHUP, signal.SIG_DFL)
os.execvp("bash", ["bash", sys.argv[1]])
"""


def a_study(folder: Path) -> tuple[Plan, StudyPaths]:
    return make_plan(StudyConfig.model_validate(STUDY), "/images"), StudyPaths(folder / "results")


def executor(folder: Path) -> LocalExecutor:
    plan, paths = a_study(folder)
    return LocalExecutor(plan, paths, SiteProfile(python=str(folder / "python")))


def command(folder: Path, then: str) -> None:
    (folder / "python").write_text(COMMAND.format(then=then))
    (folder / "python").chmod(0o755)


def starts(folder: Path) -> int:
    file = folder / "python.starts"
    return int(file.read_text() or 0) if file.exists() else 0


def until(condition: object, patience_s: float = 30) -> None:
    deadline = time.monotonic() + patience_s
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RunPaths]:
    """A run whose command and its descendant sleep."""
    monkeypatch.setattr(family, "GRACE_S", 0.2)
    command(tmp_path, "sleep 600")
    plan, paths = a_study(tmp_path)
    run = paths.run(plan.runs[0].run_id)
    yield run
    if (holder := read_holder(run.script_lock)) is not None:
        family.end_marked(holder.token)


def alive(run: RunPaths) -> list[int]:
    """The processes of the run."""
    holder = read_holder(run.script_lock)
    return [] if holder is None else with_variable(lock.TOKEN, holder.token)


@contextlib.contextmanager
def started(*command: str, stderr: int | None = None) -> Iterator["subprocess.Popen[str]"]:
    """The process of ``command``, killed where the block fails, which would else wait for it."""
    with subprocess.Popen(command, stderr=stderr, text=True) as process:
        try:
            yield process
        except BaseException:
            process.kill()
            raise


@contextlib.contextmanager
def a_sweep(folder: Path) -> Iterator["subprocess.Popen[str]"]:
    with started(sys.executable, "-c", SWEEP, str(folder), stderr=subprocess.PIPE) as process:
        until(lambda: starts(folder) == 1 or process.poll() is not None)
        yield process


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_to_the_sweep_ends_the_run_and_is_recorded(
    run: RunPaths, tmp_path: Path, number: signal.Signals
) -> None:
    with a_sweep(tmp_path) as sweep:
        assert alive(run)
        sweep.send_signal(number)
        _, said = sweep.communicate(timeout=30)
    assert sweep.returncode == 128 + number
    assert said.splitlines()[-1].endswith("; run the same command again to resume")
    assert alive(run) == []
    record = read_record(run.record)
    assert record.status is Status.CANCELLED
    assert number.name in (record.reason or "")


def test_what_a_killed_sweep_leaves_is_ended_by_the_next(
    run: RunPaths, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with a_sweep(tmp_path) as sweep:
        sweep.kill()
    # the script is told to end, and ends its command; what has left its session is still there
    until(run.exit.exists)
    assert read_run(run.root).row.status == "failed"
    assert "SIGTERM" in (read_run(run.root).row.reason or "")
    left = alive(run)
    assert left
    command(tmp_path, "kill %1")
    executor(tmp_path).run(a_study(tmp_path)[0].runs)
    assert "ended what an earlier sweep has left running here" in capsys.readouterr().err
    assert not any(map(is_running, left))
    assert starts(tmp_path) == 2


@pytest.mark.parametrize("who", ["$PPID", "$$"], ids=["shell", "command"])
def test_a_killed_shell_or_command_ends_the_family_and_is_named(
    run: RunPaths, tmp_path: Path, who: str
) -> None:
    command(tmp_path, f"kill -9 {who}; sleep 600")
    executor(tmp_path).run(a_study(tmp_path)[0].runs)
    assert alive(run) == []
    row = read_run(run.root).row
    assert (row.status, "SIGKILL" in (row.reason or "")) == ("failed", True)


def test_a_run_in_progress_is_started_by_nobody_else(
    run: RunPaths, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan, paths = a_study(tmp_path)
    script = tmp_path / "run.sh"
    script.write_text(
        run_script(plan, plan.runs[0], paths, SiteProfile(python=f"{tmp_path}/python"))
    )
    with started(sys.executable, "-c", BY_HAND, str(script)) as by_hand:
        until(lambda: starts(tmp_path) == 1)
        here = f"in use by pid {by_hand.pid} on {os.uname().nodename}"
        second = subprocess.run(["bash", str(script)], capture_output=True, text=True, check=False)
        assert (second.returncode, second.stderr) == (
            1,
            f"{run.root}: {here}; nothing was started\n",
        )
        with pytest.raises(InUseError, match=here):
            FolderLock(run)
        states = executor(tmp_path).run(plan.runs)
        assert set(states.values()) == {RunState.RUNNING}
        assert here in capsys.readouterr().err
        assert not run.exit.exists()
        by_hand.send_signal(signal.SIGHUP)
    assert by_hand.returncode == 129
    assert starts(tmp_path) == 1


def test_a_folder_is_free_again_when_its_process_has_ended(tmp_path: Path) -> None:
    run = RunPaths(tmp_path / "run")
    first = FolderLock(run)
    with pytest.raises(InUseError, match=rf"pid {os.getpid()} on "):
        FolderLock(run)
    with pytest.raises(FailedError, match="wait until it has ended, or end it there"):
        family.make_free(run)
    first.release()
    family.make_free(run)
    FolderLock(run).release()


@pytest.mark.parametrize(
    ("pid", "host", "boot"),
    [(1, None, None), (None, "elsewhere", None), (None, None, "an earlier one")],
    ids=["another process", "another host", "another boot"],
)
def test_who_holds_a_lock_is_known_by_pid_start_and_boot(
    pid: int | None, host: str | None, boot: str | None
) -> None:
    own = Holder.here()
    assert own.lives
    other = Holder(pid or own.pid, host or own.host, boot or own.boot_id, own.started)
    assert not other.lives
