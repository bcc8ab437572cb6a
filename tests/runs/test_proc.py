"""Values read from /proc agree with psutil."""

import os
import subprocess
import sys
import time

import psutil
import pytest

from weather_hpc.runs.proc import (
    busy_s,
    family,
    is_running,
    memory_used_mb,
    process_times,
    running_s,
)

PARENT = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
print(child.pid, flush=True)
input()
child.communicate()
"""


def test_times_of_this_process() -> None:
    subprocess.run([sys.executable, "-c", "sum(range(10**6))"], check=True)
    times, expected = process_times(os.getpid()), psutil.Process().cpu_times()
    assert times is not None
    assert times.own_s == pytest.approx(expected.user + expected.system, abs=0.5)
    assert times.children_s == pytest.approx(
        expected.children_user + expected.children_system, abs=0.5
    )
    assert times.children_s > 0
    since = time.time() - psutil.Process().create_time()
    assert running_s(os.getpid()) == pytest.approx(since, abs=1.0)


def test_the_machine() -> None:
    expected = psutil.cpu_times()
    idle = expected.idle + expected.iowait + expected.guest + expected.guest_nice
    assert busy_s() == pytest.approx(sum(expected) - idle, rel=0.01, abs=2.0)
    memory = psutil.virtual_memory()
    assert memory_used_mb() == pytest.approx((memory.total - memory.available) / 1e6, rel=0.2)


def test_a_process_and_its_child() -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    assert family(parent.pid) == [parent.pid, child]
    assert is_running(parent.pid)
    assert is_running(child)
    assert parent.stdin is not None
    parent.stdin.close()  # both are done, and nobody has waited for the parent yet
    deadline = time.monotonic() + 60
    while is_running(parent.pid):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert process_times(parent.pid) is not None, "it is still listed"
    parent.wait()
    parent.stdout.close()
    assert family(parent.pid) == [parent.pid]
    assert (process_times(parent.pid), running_s(parent.pid)) == (None, None)
