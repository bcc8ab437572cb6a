"""What Linux tells of this machine and its processes in /proc."""

import contextlib
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
BYTES_PER_KB = 1024
TICKS_PER_S = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class ProcessTimes:
    """CPU seconds of one process."""

    own_s: float
    """Its own, in user and in kernel mode."""
    children_s: float
    """Those of its children that have ended and been waited for, and of theirs."""


def process_times(pid: int) -> ProcessTimes | None:
    """What a process has used so far; None where there is none such."""
    stat = _stat(pid)
    if stat is None:
        return None
    user, system, children_user, children_system = (int(ticks) for ticks in stat[11:15])
    return ProcessTimes(
        (user + system) / TICKS_PER_S, (children_user + children_system) / TICKS_PER_S
    )


def running_s(pid: int) -> float | None:
    """Seconds since a process was made, interpreter start included; None: there is none such."""
    stat = _stat(pid)
    if stat is None:
        return None
    return max(0.0, time.clock_gettime(time.CLOCK_BOOTTIME) - int(stat[19]) / TICKS_PER_S)


def is_running(pid: int) -> bool:
    """Whether a process is there and has not ended; one that nobody has waited for yet has."""
    stat = _stat(pid)
    return stat is not None and stat[0] not in ("Z", "X")


def family(pid: int) -> list[int]:
    """``pid`` and its descendants, without a look at every process there is."""
    found = [pid]
    for member in found:
        try:
            for task in (PROC / str(member) / "task").iterdir():
                found.extend(map(int, (task / "children").read_text().split()))
        except OSError:
            continue  # it has just ended
    return found


def kill_family(pid: int) -> None:
    """End a process and all that it has started, sessions of their own included."""
    for member in family(pid):
        with contextlib.suppress(ProcessLookupError):
            os.kill(member, signal.SIGKILL)


def busy_s() -> float:
    """CPU seconds that all processes of the machine have used since it booted."""
    line = (PROC / "stat").read_text().partition("\n")[0]
    # guest time is contained in user and nice: it must not be counted twice
    user, nice, system, _idle, _iowait, *others = (int(ticks) for ticks in line.split()[1:9])
    return (user + nice + system + sum(others)) / TICKS_PER_S


def memory_used_mb() -> float:
    """Memory in use on the machine, MB: all but what could be given out at once."""
    lines = (line.split() for line in (PROC / "meminfo").read_text().splitlines())
    kb = {name.rstrip(":"): int(value) for name, value, *_ in lines}
    return (kb["MemTotal"] - kb["MemAvailable"]) * BYTES_PER_KB / 1e6


def _stat(pid: int) -> list[str] | None:
    """The fields of its ``stat`` from the third on: before it stands a name with anything in it."""
    try:
        text = (PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    return text.rpartition(")")[2].split()


def memory_peak_mb() -> float | None:
    """This process's peak resident memory in MB; null where the kernel does not tell.

    Not from getrusage: what that says of a spawned process begins at its parent's size.
    """
    try:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024 / 1e6
    except OSError:
        pass
    return None
