"""What Linux reports about this machine and its processes in /proc."""

import contextlib
import functools
import os
import signal
import subprocess
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
    """In user and kernel mode."""
    children_s: float
    """Of its children that have ended and been waited for, and of their children."""


def process_times(pid: int) -> ProcessTimes | None:
    """CPU seconds that a process has used so far; None if it does not exist."""
    stat = _stat(pid)
    if stat is None:
        return None
    user, system, children_user, children_system = (int(ticks) for ticks in stat[11:15])
    return ProcessTimes(
        (user + system) / TICKS_PER_S, (children_user + children_system) / TICKS_PER_S
    )


def running_s(pid: int) -> float | None:
    """Seconds since a process was created, interpreter start included; None if it is gone."""
    stat = _stat(pid)
    if stat is None:
        return None
    return max(0.0, time.clock_gettime(time.CLOCK_BOOTTIME) - int(stat[19]) / TICKS_PER_S)


def runnable_s() -> float | None:
    """Seconds in which the calling thread ran or waited for a CPU: those it was not blocked in.

    None where the kernel does not count the waiting.
    """
    try:
        _, waited_ns, slices = (PROC / "thread-self" / "schedstat").read_text().split()
    except (OSError, ValueError):
        return None
    return time.thread_time() + int(waited_ns) / 1e9 if int(slices) else None


def started_ticks(pid: int) -> int | None:
    """When a process was created, clock ticks since the boot; None if it is gone or a zombie."""
    stat = _stat(pid)
    return None if stat is None or stat[0] in ("Z", "X") else int(stat[19])


def session(pid: int) -> int | None:
    """The session of a process; None if it is gone."""
    stat = _stat(pid)
    return None if stat is None else int(stat[3])


def boot_id() -> str:
    """What identifies the last boot of this machine; empty where Linux does not say."""
    try:
        return (PROC / "sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def with_variable(name: str, value: str) -> list[int]:
    """This user's processes whose environment, at their start, had ``name`` set to ``value``."""
    wanted, found = f"{name}={value}".encode(), []
    for folder in PROC.iterdir():
        if folder.name.isdigit() and int(folder.name) != os.getpid():
            with contextlib.suppress(OSError):  # another user's, or it has just ended
                if wanted in (folder / "environ").read_bytes().split(b"\0"):
                    found.append(int(folder.name))
    return found


@functools.cache
def end_with_parent(name: str) -> tuple[str, ...]:
    """What to put before a command so that it gets the signal ``name`` when its parent dies.

    The parent is the thread that starts the command. Empty where util-linux cannot do so.
    """
    words = ("setpriv", "--pdeathsig", name)
    try:
        subprocess.run([*words, "true"], capture_output=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return ()
    return words


def is_running(pid: int) -> bool:
    """Whether a process exists and has not ended; a zombie has ended."""
    stat = _stat(pid)
    return stat is not None and stat[0] not in ("Z", "X")


_ACTIVITY = {
    "T": "stopped",
    "t": "stopped by a debugger",
    "D": "in a read or write that cannot be interrupted",
    "Z": "ended",
    "X": "ended",
    "R": "computing",
    "S": "waiting",
}


def activity(pid: int) -> str:
    """What a process does, by the state that the kernel reports: ``stopped``; ``gone``."""
    stat = _stat(pid)
    return "gone" if stat is None else _ACTIVITY.get(stat[0], f"in state {stat[0]}")


def files_of(pid: int) -> set[str]:
    """Paths of the files that a process has open, as far as it may be looked at.

    Without a look at the files themselves: a file system may not answer.
    """
    found = set()
    with contextlib.suppress(OSError):
        for link in (PROC / str(pid) / "fd").iterdir():
            with contextlib.suppress(OSError):
                found.add(str(link.readlink()))
    return {path for path in found if path[0] == "/" and not path.startswith(("/dev/", "/proc/"))}


def family(pid: int) -> list[int]:
    """``pid`` and its descendants, found without reading every process of the machine."""
    found = [pid]
    for member in found:
        try:
            for task in (PROC / str(member) / "task").iterdir():
                found.extend(map(int, (task / "children").read_text().split()))
        except OSError:
            continue  # it has just ended
    return found


def kill_family(pid: int) -> None:
    """Kill a process and its descendants, also those in sessions of their own."""
    for member in family(pid):
        with contextlib.suppress(ProcessLookupError):
            os.kill(member, signal.SIGKILL)


def busy_s() -> float:
    """CPU seconds that all processes of the machine have used since it booted."""
    line = (PROC / "stat").read_text().partition("\n")[0]
    # guest time is contained in user and nice: it must not be counted twice
    user, nice, system, _idle, _iowait, *rest = (int(ticks) for ticks in line.split()[1:9])
    return (user + nice + system + sum(rest)) / TICKS_PER_S


def memory_used_mb() -> float:
    """Memory in use on the machine, MB (1e6 bytes): total minus available."""
    kb = _meminfo_kb()
    return (kb["MemTotal"] - kb["MemAvailable"]) * BYTES_PER_KB / 1e6


def memory_total_mb() -> float | None:
    """Memory of the machine, MB (1e6 bytes); None if the kernel does not report it."""
    try:
        return _meminfo_kb()["MemTotal"] * BYTES_PER_KB / 1e6
    except (OSError, KeyError, ValueError):
        return None


def _meminfo_kb() -> dict[str, int]:
    lines = (line.split() for line in (PROC / "meminfo").read_text().splitlines())
    return {name.rstrip(":"): int(value) for name, value, *_ in lines}


def resident_kb(pid: int | str) -> tuple[int, int]:
    """Resident memory of a process now and at its peak, KiB; zeros if it does not exist."""
    now = peak = 0
    with contextlib.suppress(OSError):
        for line in (PROC / str(pid) / "status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                now = int(line.split()[1])
            elif line.startswith("VmHWM:"):
                peak = int(line.split()[1])
    return now, peak


def memory_peak_mb() -> float | None:
    """Peak resident memory of this process, MB (1e6 bytes); None if the kernel does not report it.

    Not by getrusage, where the peak of a spawned process starts at the size of its parent.
    """
    _, peak = resident_kb("self")
    return peak * BYTES_PER_KB / 1e6 or None


def _stat(pid: int) -> list[str] | None:
    """The fields of its ``stat`` from the third on; the name before them may hold any text."""
    try:
        text = (PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    return text.rpartition(")")[2].split()
