"""What check starts: ended with all its own when its time is up, and told when it breaks."""

import sys
import time
from pathlib import Path

import pytest

from tests.check.test_check import check
from weather_hpc.check import ranks_here
from weather_hpc.check.child import run
from weather_hpc.errors import FailedError
from weather_hpc.records.checks import BINDING
from weather_hpc.records.proc import is_running

STARTS_ANOTHER = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"],
                         start_new_session=True)
open(sys.argv[1], "w").write(str(child.pid))
time.sleep(60)
"""


def test_nothing_computes_on_when_the_time_is_up(tmp_path: Path) -> None:
    """As torchrun's ranks, which have sessions of their own: they would hold their GPUs."""
    told = tmp_path / "pid"
    with pytest.raises(FailedError, match="not over after 2 s"):
        run([sys.executable, "-c", STARTS_ANOTHER, str(told)], {}, 2.0)
    pid = int(told.read_text())
    until = time.monotonic() + 10
    while is_running(pid) and time.monotonic() < until:
        time.sleep(0.02)
    assert not is_running(pid)


def test_a_child_that_ends_is_told_whole() -> None:
    code = "import sys; print('out'); print('err', file=sys.stderr); sys.exit(3)"
    done = run([sys.executable, "-c", code], {}, 60.0)
    assert (done.returncode, done.stdout, done.stderr) == (3, "out\n", "err\n")


def test_ranks_that_break_fail_both_checks_and_are_started_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = []

    def broken() -> dict[str, str]:
        started.append(1)
        return {"PYTHONPATH": str(tmp_path)}

    (tmp_path / "torch").mkdir()
    (tmp_path / "torch" / "__init__.py").write_text("raise ImportError('no such luck')")
    monkeypatch.setattr(ranks_here, "alone", broken)
    binding, network = check(tmp_path / "out", "--only", BINDING, "--only", "all-reduce", code=1)
    for result in (binding, network):
        assert result.ok is False
        assert result.detail.startswith("the ranks were over with exit code 1: ")
        assert "no such luck" in result.detail
    assert len(started) == 1
