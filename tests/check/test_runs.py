"""Processes that checks start end in time, with their descendants."""

import os
import sys
import time
from pathlib import Path

import pytest

from weather_hpc.check.runs import run_process
from weather_hpc.errors import FailedError
from weather_hpc.runs.proc import is_running

STALLED = """
import pathlib, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"],
                         start_new_session=True)
pathlib.Path(sys.argv[1]).write_text(str(child.pid))
print("waits for a rank", file=sys.stderr, flush=True)
time.sleep(600)
"""


def test_a_stalled_process_is_killed_with_its_children(tmp_path: Path) -> None:
    """Also children with sessions of their own, like the ranks of torchrun."""
    pid = tmp_path / "pid"
    with pytest.raises(FailedError, match=r"did not end within 3 s; it printed: waits for a rank$"):
        run_process([sys.executable, "-c", STALLED, str(pid)], os.environ, 3)
    until = time.monotonic() + 10  # a process that is killed takes a moment to end
    while is_running(int(pid.read_text())) and time.monotonic() < until:
        time.sleep(0.01)
    assert not is_running(int(pid.read_text()))


def test_output_and_exit_code_of_a_process() -> None:
    code = "import sys; print('out'); print('err', file=sys.stderr); sys.exit(3)"
    done = run_process([sys.executable, "-c", code], os.environ, 60)
    assert (done.stdout, done.stderr, done.returncode) == ("out\n", "err\n", 3)
