"""Locks of run folders: one run at a time works in a folder, as long as any process of it lives.

Two files, each locked by the kernel until its holder dies. The script of a run holds one, with the
launchers that it starts; the process that writes the record holds the other, also where no script
started it. Each says who its holder is.
"""

import json
import os
import socket
import sys
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import IO

from weather_hpc.errors import FailedError
from weather_hpc.files import open_lock, take_lock
from weather_hpc.runs.paths import RunPaths
from weather_hpc.runs.proc import boot_id, session, started_ticks

TOKEN = "WEATHER_HPC_RUN_TOKEN"  # noqa: S105
"""The variable, unique for every start of a run, that all processes of the run inherit."""

LARGEST_PID = 2**22
"""The kernel's limit."""

LONGEST = 1000
"""Bytes of a locked file that are read."""

HAND, SWEEP = "hand", "sweep"
"""What started a run."""


class InUseError(FailedError):
    """Another process works in the run's folder."""


@dataclass(frozen=True)
class Holder:
    """The process that holds a lock, as the locked file describes it."""

    pid: int
    host: str
    boot_id: str = ""
    """Of the host: a process of an earlier boot has ended."""
    started: int = 0
    """When the process was created, clock ticks since the boot: a pid is used again."""
    session: int = 0
    token: str = ""
    """The value of :data:`TOKEN`; empty where no script started it."""
    by: str = HAND
    """What started it: HAND, SWEEP or a job."""

    @classmethod
    def here(cls) -> "Holder":
        """This process."""
        pid = os.getpid()
        return cls(
            pid, socket.gethostname(), boot_id(), started_ticks(pid) or 0, session(pid) or 0,
            os.environ.get(TOKEN, ""),
        )  # fmt: skip

    @property
    def is_here(self) -> bool:
        """Whether it is a process of this host since its last boot."""
        return (self.host, self.boot_id) == (socket.gethostname(), boot_id()) and self.boot_id != ""

    @property
    def lives(self) -> bool:
        """Whether the process is known to live on this host: pid, start time and boot agree."""
        return self.is_here and started_ticks(self.pid) == self.started

    def as_line(self) -> bytes:
        """What the locked file says of it."""
        return (json.dumps(asdict(self)) + "\n").encode()

    def __str__(self) -> str:
        return f"pid {self.pid} on {self.host}"


def read_holder(path: Path) -> Holder | None:
    """The last process that locked ``path``; None where the file does not say so."""
    try:
        with open_lock(path, create=False) as file:
            values = json.loads(file.read(LONGEST))
        known = {field.name: field.type for field in fields(Holder)}
        holder = Holder(**{name: values[name] for name in known if name in values})
    except (OSError, ValueError, TypeError, RecursionError):
        return None
    texts = (holder.host, holder.boot_id, holder.token, holder.by)
    numbers = (holder.pid, holder.started, holder.session)
    plain = all(type(t) is str and t.isprintable() for t in texts)
    if not plain or not all(type(n) is int for n in numbers):
        return None
    return holder if 1 < holder.pid <= LARGEST_PID else None


def is_held(path: Path) -> bool:
    """Whether a process holds the lock of ``path``; False on file systems without locks."""
    try:
        with open_lock(path, create=False) as file:
            return take_lock(file, shared=True) is False
    except OSError:
        return False


def used_by(run: RunPaths) -> list[Path]:
    """The lock files of ``run`` that processes hold."""
    return [path for path in (run.script_lock, run.lock) if is_held(path)]


def in_use(run: RunPaths, path: Path) -> InUseError:
    """The error that says who holds ``path``."""
    holder = read_holder(path)
    who = "another process" if holder is None else str(holder)
    return InUseError(f"{run.root}: in use by {who}; wait until it has ended, or end it there")


class FolderLock:
    """The lock of a run's folder, held by this process until :meth:`release` or its end."""

    def __init__(self, run: RunPaths) -> None:
        """Take the lock.

        Raises :class:`InUseError` where another process works in the folder, OSError where the
        file cannot be written. On a file system without locks it prints a warning.
        """
        self._file: IO[bytes] | None = None
        run.root.mkdir(parents=True, exist_ok=True)
        own = Holder.here()
        if is_held(run.script_lock):
            script = read_holder(run.script_lock)
            if script is None or not own.token or script.token != own.token:
                raise in_use(run, run.script_lock)
        self._file = file = open_lock(run.lock)
        taken = take_lock(file)
        if taken is False:
            raise in_use(run, run.lock)
        if taken is None:
            text = "this file system has no locks: start no second run in this folder"
            print(f"{run.root}: {text}", file=sys.stderr, flush=True)
        try:
            file.truncate(0)
            file.write(own.as_line())
        except OSError:  # a full disk: nothing is left, not even an empty file
            run.lock.unlink(missing_ok=True)
            self.release()
            raise

    def release(self) -> None:
        """Let other processes work in the folder."""
        if self._file is not None:
            self._file.close()

    __del__ = release
