"""One measurement: a contestant's process, watched from outside."""

import json
import os
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from weather_hpc.bench.timed_function import REPORT
from weather_hpc.errors import FailedError
from weather_hpc.runs.clock import ForeignLoad
from weather_hpc.runs.environment import thread_variables
from weather_hpc.runs.proc import family, kill_family

WATCH_S = 0.5
"""Seconds between two looks at a process's memory, which take some of its CPUs' time where it uses
them all; the first ones follow sooner."""


@dataclass(frozen=True)
class Outcome:
    """What one measured process left: its folder, what it printed and what it reported."""

    folder: Path
    """Its working folder, empty when it began; removed once the outcome is checked."""
    stdout: Path
    facts: dict[str, Any]
    """What it reported beside its seconds; see weather_hpc.bench.timed_function."""


def anything_goes(outcome: Outcome) -> None:
    """The check of a contestant whose exit code says enough."""


@dataclass(frozen=True)
class Contestant:
    """One way to do the work. Each measurement is a fresh process in an empty folder."""

    name: str
    what: str
    """What it is, in one line."""
    command: tuple[str, ...]
    """Never a shell's: program and arguments. For a function see :func:`python_function`."""
    threads: int = 1
    """Compute threads per process, set by the variables that NumPy and its like read."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Further variables; the caller's own are inherited."""
    missing: str | None = None
    """Why it cannot run here, such as a package that is not installed; None: it can."""
    warmup: bool = False
    """Whether it runs once, checked but not counted, before the first round."""
    timeout_s: float = 3600.0
    check: Callable[[Outcome], None] = anything_goes
    """Raises FailedError, in one line, where the outcome is wrong."""


@dataclass(frozen=True)
class Measurement:
    """What one process took."""

    seconds: float
    """The contestant's time: as it reports it, else from its start to its end."""
    wall_s: float
    """From the start of the process to its end."""
    cpu_s: float
    """User and system CPU seconds of the process and its children."""
    peak_memory_mb: float | None
    """Peak resident memory of the process and its children together, MB (1e6 bytes)."""
    foreign_cpu_percent: float
    """CPU use by others meanwhile, % of one core."""
    facts: dict[str, Any]
    """What it reported beside its seconds."""


def measure(contestant: Contestant) -> Measurement:
    """Run ``contestant`` once and check its outcome.

    Raises FailedError, in one line, where it ends with another exit code than 0, takes longer
    than its limit, or is found wrong by its check.
    """
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder, stdout, stderr, report = (
            Path(name, part) for part in ("folder", "stdout", "stderr", "report.json")
        )
        folder.mkdir()
        environment = {
            **os.environ,
            **thread_variables(contestant.threads),
            **contestant.environment,
            REPORT: str(report),
        }
        foreign = ForeignLoad()
        start = time.perf_counter()
        with stdout.open("wb") as out, stderr.open("wb") as err:
            try:
                process = subprocess.Popen(
                    contestant.command, cwd=folder, env=environment, start_new_session=True,
                    stdin=subprocess.DEVNULL, stdout=out, stderr=err,
                )  # fmt: skip
            except OSError as error:
                raise FailedError(f"{contestant.command[0]}: {error.strerror}") from None
        watch = _Watch(process, contestant.timeout_s)
        try:
            _, status, usage = os.wait4(process.pid, 0)
        except BaseException:
            kill_family(process.pid)
            process.wait()
            raise
        finally:
            watch.end()
        wall_s = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        if watch.timed_out:
            raise FailedError(f"took longer than its limit of {contestant.timeout_s:g} s")
        if process.returncode != 0:
            raise FailedError(f"ended with exit code {process.returncode}: {_last_line(stderr)}")
        told = json.loads(report.read_bytes()) if report.exists() else {}
        facts = told.get("facts", {})
        contestant.check(Outcome(folder, stdout, facts))
        return Measurement(
            seconds=told.get("seconds", wall_s),
            wall_s=wall_s,
            cpu_s=usage.ru_utime + usage.ru_stime,
            peak_memory_mb=watch.peak_memory_mb,
            foreign_cpu_percent=foreign.percent(),
            facts=facts,
        )


class _Watch(threading.Thread):
    """Looks at a process's memory while it runs, and ends it when its time is up.

    Not from getrusage, which begins a child's peak at its parent's size. The peak is the largest
    sum over the process and its descendants of one look, or the largest that the kernel tells of
    a single one, which no look can miss but in the last instant.
    """

    def __init__(self, process: "subprocess.Popen[bytes]", timeout_s: float) -> None:
        super().__init__(daemon=True)
        self.pid = process.pid
        self.deadline = time.monotonic() + timeout_s
        self.timed_out = False
        self._peak_kb = 0
        self._ended = threading.Event()
        self.start()

    @property
    def peak_memory_mb(self) -> float | None:
        """MB (1e6 bytes); None where the process was gone before the first look."""
        return self._peak_kb * 1024 / 1e6 or None

    def run(self) -> None:
        """Look until told to end."""
        pause = WATCH_S / 128
        while not self._ended.wait(pause):
            pause = min(WATCH_S, 2 * pause)
            memories = [_memory_kb(pid) for pid in family(self.pid)]
            together = sum(now for now, _ in memories)
            alone = max((peak for _, peak in memories), default=0)
            self._peak_kb = max(self._peak_kb, together, alone)
            if time.monotonic() > self.deadline:
                self.timed_out = True
                kill_family(self.pid)
                return

    def end(self) -> None:
        """Stop to look."""
        self._ended.set()
        self.join()


def _memory_kb(pid: int) -> tuple[int, int]:
    """Resident memory now and at its peak, KiB; zeros where the process has ended."""
    now = peak = 0
    try:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                now = int(line.split()[1])
            elif line.startswith("VmHWM:"):
                peak = int(line.split()[1])
    except OSError:
        pass
    return now, peak


def _last_line(path: Path) -> str:
    lines = path.read_text(errors="replace").split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "it printed no error")
