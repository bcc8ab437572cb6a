"""Processes, known by pid and start time, so that a reused pid is never taken for ours."""

import contextlib
import os
import signal
import time
from collections.abc import Mapping
from pathlib import Path


def process_stat(pid: int) -> tuple[str, int, int] | None:
    """Return a process's state letter, parent and start time; None if there is none."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()
    return fields[0], int(fields[1]), int(fields[19])


def is_running(pid: int, started: int) -> bool:
    """Tell whether the process that started then under this pid still runs."""
    stat = process_stat(pid)
    return stat is not None and stat[0] not in "ZX" and stat[2] == started


def every_process() -> dict[int, tuple[str, int, int]]:
    """Map each pid to its state letter, parent and start time."""
    pids = (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit())
    return {pid: stat for pid in pids if (stat := process_stat(pid)) is not None}


def with_children(pids: set[int], processes: Mapping[int, tuple[str, int, int]]) -> set[int]:
    """Return processes, their children, and theirs."""
    found = pids & processes.keys()
    while more := {pid for pid, stat in processes.items() if stat[1] in found} - found:
        found |= more
    return found


def is_step_daemon(pid: int) -> bool:
    """Tell whether a process is one of those that slurmd starts for a job."""
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip() == "slurmstepd"
    except OSError:
        return False


def environment_of(pid: int) -> dict[str, str]:
    """Return the environment that a process was started with, empty where hidden."""
    try:
        text = Path(f"/proc/{pid}/environ").read_bytes().decode(errors="replace")
    except OSError:
        return {}
    return dict(entry.partition("=")[::2] for entry in text.split("\0") if "=" in entry)


def kill(processes: Mapping[int, int], number: signal.Signals, patience_s: float) -> bool:
    """Signal processes given as pid and start time; tell whether all ended in time."""
    for pid, started in processes.items():
        if is_running(pid, started):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
    deadline = time.monotonic() + patience_s
    while any(is_running(pid, started) for pid, started in processes.items()):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True
