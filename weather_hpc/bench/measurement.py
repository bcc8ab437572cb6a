"""One measurement: run an implementation in a process and observe that process from outside."""

import errno
import json
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from weather_hpc.bench.timed_function import REPORT
from weather_hpc.errors import FailedError
from weather_hpc.files import temporary_folder
from weather_hpc.runs.clock import ForeignLoad
from weather_hpc.runs.environment import thread_variables
from weather_hpc.runs.proc import end_with_parent, family, kill_family, resident_kb

SAMPLE_S = 0.5
"""Seconds between two samples of a process's memory, which cost CPU time where it uses all CPUs;
the first samples follow sooner."""


@dataclass(frozen=True)
class Outcome:
    """What one measured process left: its folder, what it printed and what it reported."""

    folder: Path
    """Its working folder, empty at the start; removed after the check."""
    stdout: Path
    facts: dict[str, Any]
    """What it reported with its seconds; see weather_hpc.bench.timed_function."""


def accept_any(outcome: Outcome) -> None:
    """The check of an implementation whose exit code is enough."""


@dataclass(frozen=True)
class Implementation:
    """One way to do the work. Each measurement is a fresh process in an empty folder."""

    name: str
    what: str
    """What it is, in one line."""
    command: tuple[str, ...]
    """Program and arguments, run without a shell; of a function: :func:`function_command`."""
    threads: int = 1
    """Compute threads per process, set by the variables that numerical libraries read."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Further variables; those of the caller are inherited."""
    missing: str | None = None
    """Why it cannot run here, such as a package that is not installed; None: it can."""
    warmup: bool = False
    """Whether it runs once, checked but not counted, before the first round."""
    timeout_s: float = 3600.0
    check: Callable[[Outcome], None] = accept_any
    """Raises FailedError, in one line, if the outcome is wrong."""


@dataclass(frozen=True)
class Measurement:
    """Time and memory of one process."""

    seconds: float
    """As the process reports it, else from its start to its end."""
    wall_s: float
    """From the start of the process to its end."""
    cpu_s: float
    """User and system CPU seconds of the process and its children."""
    peak_memory_mb: float | None
    """Peak resident memory of the process and its children together, MB (1e6 bytes)."""
    foreign_cpu_percent: float
    """CPU use by other processes meanwhile, % of one core."""
    facts: dict[str, Any]
    """What it reported with its seconds."""


def measure(implementation: Implementation) -> Measurement:
    """Run ``implementation`` once and check its outcome.

    Raises FailedError, in one line, if its exit code is not 0, it exceeds its time limit, or its
    check finds the outcome wrong.
    """
    with temporary_folder("bench") as scratch:
        folder, stdout, stderr, report = (
            scratch / part for part in ("folder", "stdout", "stderr", "report.json")
        )
        folder.mkdir()
        environment = {
            **os.environ,
            **thread_variables(implementation.threads),
            **implementation.environment,
            REPORT: str(report),
        }
        foreign = ForeignLoad()
        start = time.perf_counter()
        with stdout.open("wb") as out, stderr.open("wb") as err:
            if shutil.which(implementation.command[0]) is None:
                raise FailedError(f"{implementation.command[0]}: {os.strerror(errno.ENOENT)}")
            process = subprocess.Popen(
                [*end_with_parent("KILL"), *implementation.command],
                cwd=folder, env=environment, start_new_session=True,
                stdin=subprocess.DEVNULL, stdout=out, stderr=err,
            )  # fmt: skip
        monitor = _Monitor(process.pid, implementation.timeout_s)
        try:
            _, status, usage = os.wait4(process.pid, 0)
        except BaseException:
            kill_family(process.pid)
            process.wait()
            raise
        finally:
            monitor.stop()
        wall_s = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        if monitor.timed_out:
            raise FailedError(f"took longer than its limit of {implementation.timeout_s:g} s")
        if process.returncode != 0:
            raise FailedError(f"ended with exit code {process.returncode}: {_last_line(stderr)}")
        reported = json.loads(report.read_bytes()) if report.exists() else {}
        facts = reported.get("facts", {})
        implementation.check(Outcome(folder, stdout, facts))
        return Measurement(
            seconds=reported.get("seconds", wall_s),
            wall_s=wall_s,
            cpu_s=usage.ru_utime + usage.ru_stime,
            peak_memory_mb=monitor.peak_memory_mb,
            foreign_cpu_percent=foreign.percent(),
            facts=facts,
        )


class _Monitor(threading.Thread):
    """Samples the memory of a running process, and kills it when its time is up.

    Not by getrusage, where a child's peak starts at the size of its parent. The peak is the
    largest sum over the process and its descendants at one sample, or the largest peak that the
    kernel has recorded for one of them, which sampling misses only at the very end.
    """

    def __init__(self, pid: int, timeout_s: float) -> None:
        super().__init__(daemon=True)
        self.pid = pid
        self.deadline = time.monotonic() + timeout_s
        self.timed_out = False
        self._peak_kb = 0
        self._stopped = threading.Event()
        self.start()

    @property
    def peak_memory_mb(self) -> float | None:
        """MB (1e6 bytes); None if the process ended before the first sample."""
        return self._peak_kb * 1024 / 1e6 or None

    def run(self) -> None:
        """Sample until :meth:`stop`."""
        pause = SAMPLE_S / 128
        while not self._stopped.wait(pause):
            pause = min(SAMPLE_S, 2 * pause)
            memories = [resident_kb(pid) for pid in family(self.pid)]
            total = sum(now for now, _ in memories)
            largest = max((peak for _, peak in memories), default=0)
            self._peak_kb = max(self._peak_kb, total, largest)
            if time.monotonic() > self.deadline:
                self.timed_out = True
                kill_family(self.pid)
                return

    def stop(self) -> None:
        """Stop sampling."""
        self._stopped.set()
        self.join()


def _last_line(path: Path) -> str:
    lines = path.read_text(errors="replace").split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "it printed no error")
