"""A family of processes: a script and all that it has started, in whatever sessions.

torchrun starts each rank in a session of its own, so no process group has all of them. But all
inherit a token in their environment, by which also the orphans of a killed script are found.
"""

import contextlib
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import psutil

from weather_hpc.launch.script import COMMAND_GRACE_S
from weather_hpc.runs import lock
from weather_hpc.runs.lock import read_holder, used_by
from weather_hpc.runs.paths import RunPaths
from weather_hpc.runs.proc import end_with_parent, with_variable

GRACE_S = COMMAND_GRACE_S + 2.0
"""Seconds between the TERM of a family and its KILL: its script waits less for its command."""

LOOK_EVERY_S = 0.1


class Family:
    """A script on this machine and its descendants; they are told to end when this process dies."""

    def __init__(self, argv: Sequence[str], stdout: int | None = None) -> None:
        self.token = f"{lock.SWEEP}-{secrets.token_hex(16)}"
        self.process = subprocess.Popen(
            [*end_with_parent("TERM"), *argv],
            stdout=stdout,
            start_new_session=True,
            env=os.environ | {lock.TOKEN: self.token},
        )

    def wait(self, timeout_s: float | None = None) -> int:
        """Wait until the script and all of its family have ended; the script's exit code.

        Raises subprocess.TimeoutExpired. Processes that outlive the script get GRACE_S to end.
        """
        code = self.process.wait(timeout=timeout_s)
        end_marked(self.token, tell=code < 0)
        return code

    def end(self) -> None:
        """End all of them: with TERM, then KILL. Ctrl-C does not cut it short."""
        with _uninterrupted():
            self.process.terminate()  # the script passes it on; torchrun must not get it twice
            end_marked(self.token, tell=False, reap=self.process.poll)
            self.process.wait()


def end_marked(
    token: str, *, tell: bool = True, reap: Callable[[], object] = lambda: None
) -> list[int]:
    """End every process that has inherited ``token``; those that there were.

    ``tell``: with TERM at once. All that live after GRACE_S are killed.
    """
    found = _marked(token)
    if tell:
        for process in found:
            _signal(process, signal.SIGTERM)
    left, deadline = found, time.monotonic() + GRACE_S
    while left and time.monotonic() < deadline:
        time.sleep(LOOK_EVERY_S)
        reap()
        left = [process for process in left if _runs(process)]
    # those that were started meanwhile too
    while left := _marked(token):
        for process in left:
            _signal(process, signal.SIGKILL)
        time.sleep(LOOK_EVERY_S)
        reap()
    return [process.pid for process in found]


def _marked(token: str) -> list[psutil.Process]:
    """They know when they were created: a pid that is used again gets no signal."""
    found = []
    for pid in with_variable(lock.TOKEN, token):
        with contextlib.suppress(psutil.NoSuchProcess):
            found.append(psutil.Process(pid))
    return [process for process in found if _runs(process)]


def _runs(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _signal(process: psutil.Process, number: int) -> None:
    with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
        process.send_signal(number)


@contextmanager
def _uninterrupted() -> Iterator[None]:
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = [signal.signal(number, signal.SIG_IGN) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


def make_free(run: RunPaths) -> None:
    """End what a sweep that was killed has left of ``run`` on this host.

    To be called under the lock of the results folder: no sweep is running there but this one.
    Raises :class:`~weather_hpc.runs.lock.InUseError` where a process works in the folder that is no
    such rest: started by hand, or on another host.
    """
    script = read_holder(run.script_lock)
    if script is not None and script.by == lock.SWEEP and script.is_here and script.token:
        left = end_marked(script.token)
        if left:
            pids = ", ".join(map(str, left))
            text = f"ended what an earlier sweep has left running here (pid {pids})"
            print(f"{run.root.name}: {text}", file=sys.stderr, flush=True)
    for path in used_by(run):
        raise lock.in_use(run, path)
