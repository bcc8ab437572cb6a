"""Folders that a launcher changes: the lock of a results folder; run folders before and after."""

import errno
import json
import os
import shutil
import socket
import stat
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from weather_hpc.errors import FailedError
from weather_hpc.files import make_folder, named, own_folder, take_lock, write_json, write_text
from weather_hpc.runs.node_hours import spent
from weather_hpc.runs.paths import RunPaths, StudyPaths
from weather_hpc.runs.reader import read_run
from weather_hpc.runs.record import RunRecord, Status
from weather_hpc.study.spec import RunSpec
from weather_hpc.text import clean

SUBMITTING_S = 120.0
"""How long a sweep waits for another one to submit its jobs, s: that takes seconds."""


LARGEST_PID = 2**22
"""The kernel's limit."""

LONGEST_HOLDER = 1000
"""Characters of the lock file, which names a process."""


def make_ready(run: RunPaths, spec: RunSpec) -> None:
    """Write the spec; remove the files of an earlier try, but keep its node-hours.

    Its checkpoint stays, with the events so far: a training run resumes from it.
    """
    write_json(run.spec, spec.as_dict())  # first: on a full disk nothing is removed
    if node_hours := spent(read_run(run.root)):
        write_json(run.earlier_tries, {"node_hours": node_hours})
    for path in (run.record, run.exit, run.stdout, run.stderr, run.stop, run.stopped, run.slurm):
        _remove(path)
    if not run.checkpoint.exists():
        run.events.unlink(missing_ok=True)


def write_script(path: Path, text: str) -> None:
    """Write a script that is to be run, into a folder where nobody else can put another.

    Raises PermissionError where the folder is another user's.
    """
    own_folder(path.parent, private=False)
    write_text(path, text)


def record_end(paths: StudyPaths, spec: RunSpec, status: Status, reason: str) -> None:
    """Write the record of a run that could not write it itself."""
    record = paths.run(spec.run_id).record
    if record.is_dir():
        _remove(record)
    RunRecord.of(spec, status=status, reason=reason).write(record)


def _remove(path: Path) -> None:
    """Remove a run's file, whatever it has become."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


@contextmanager
def lock(paths: StudyPaths, wait_s: float = 0.0) -> Iterator[None]:
    """Hold the lock of the results folder, waiting up to ``wait_s`` seconds for it.

    Raises :class:`FailedError` where another sweep holds it. The kernel releases it when its
    holder dies. On a file system without locks it prints a warning and continues.
    """
    make_folder(paths.root)
    with _opened(paths.lock, os.O_RDWR | os.O_CREAT) as file:
        start, told = time.monotonic(), False
        while not _take(file, paths):
            waited = time.monotonic() - start
            process = None if told and waited < wait_s else holder(paths)
            name = f" (pid {process['pid']} on {process['host']})" if process else ""
            if waited >= wait_s:
                raise FailedError(
                    f"{paths.root}: another sweep is running here{name}; "
                    "see `sweep status`, or end it with `sweep cancel`"
                )
            if not told:
                told = True
                print(
                    f"{paths.lock}: another sweep{name} holds it while it submits jobs; "
                    f"waits for up to {wait_s:g} s",
                    file=sys.stderr,
                    flush=True,
                )
            time.sleep(0.2)
        if told:
            print(f"{paths.lock}: it is free; goes on", file=sys.stderr, flush=True)
        with named(paths.lock):
            file.truncate(0)
            file.seek(0)
            file.write(json.dumps({"pid": os.getpid(), "host": socket.gethostname()}).encode())
        try:
            yield
        finally:
            with suppress(OSError):  # the block's own error is what counts
                file.truncate(0)


def _take(file: IO[bytes], paths: StudyPaths) -> bool:
    taken = take_lock(file)
    if taken is None:
        print(
            f"{paths.root}: this file system has no locks: "
            "start no second sweep on this folder while one runs",
            file=sys.stderr,
        )
    return taken is not False


def holder(paths: StudyPaths) -> dict[str, Any] | None:
    """The ``pid`` and ``host`` of the process that holds the lock; None where none does."""
    try:
        with _opened(paths.lock, os.O_RDONLY) as file:
            if take_lock(file, shared=True) is not False:
                return None
            process = dict(json.loads(file.read(LONGEST_HOLDER)))
    except (OSError, ValueError, TypeError, RecursionError):
        return None
    pid, host = process.get("pid"), process.get("host")
    if type(pid) is not int or not 1 < pid <= LARGEST_PID or not isinstance(host, str):
        return None
    return {"pid": pid, "host": clean(host)}


def _opened(path: Path, flags: int) -> IO[bytes]:
    """The lock file: never what it links to, and no pipe, which would be waited for.

    Raises OSError, also where it is no regular file.
    """
    handle = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o666)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise OSError(errno.EINVAL, "is not a file", str(path))
    return os.fdopen(handle, "rb" if flags == os.O_RDONLY else "r+b", buffering=0)
