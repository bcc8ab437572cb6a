"""Folders that a launcher changes: the lock of a results folder; run folders before and after."""

import shutil
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from weather_hpc.errors import FailedError
from weather_hpc.files import (
    make_folder,
    named,
    open_lock,
    own_folder,
    take_lock,
    write_json,
    write_text,
)
from weather_hpc.launch.family import make_free
from weather_hpc.runs.lock import Holder, InUseError, is_held, read_holder
from weather_hpc.runs.node_hours import spent
from weather_hpc.runs.paths import RunPaths, StudyPaths
from weather_hpc.runs.reader import read_run
from weather_hpc.runs.record import RunRecord, Status
from weather_hpc.study.spec import RunSpec

SUBMITTING_S = 120.0
"""How long a sweep waits for another one to submit its jobs, s: that takes seconds."""


def free_runs(paths: StudyPaths, specs: Iterable[RunSpec]) -> list[RunSpec]:
    """Those of ``specs`` that no process is making, once what a killed sweep has left is ended.

    For each other run stderr says who makes it.
    """
    free = []
    for spec in specs:
        try:
            make_free(paths.run(spec.run_id))
        except InUseError as error:
            print(error, file=sys.stderr, flush=True)
        else:
            free.append(spec)
    return free


def make_ready(run: RunPaths, spec: RunSpec, token: str | None = None) -> None:
    """Write the spec; remove the files of an earlier try, but keep its node-hours.

    Its checkpoint stays, with the events so far: a training run resumes from it. ``token``: of the
    submission whose job will make the run. Raises InUseError where a process is making it.
    """
    make_free(run)
    write_json(run.spec, spec.as_dict())  # first: on a full disk nothing is removed
    if node_hours := spent(read_run(run.root)):
        write_json(run.earlier_tries, {"node_hours": node_hours})
    for path in (run.record, run.exit, run.stdout, run.stderr, run.stop, run.stopped, run.slurm):
        _remove(path)
    if not run.checkpoint.exists():
        run.events.unlink(missing_ok=True)
    if token is not None:
        write_text(run.submission, f"{token}\n")


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
    with open_lock(paths.lock) as file:
        start, told = time.monotonic(), False
        while not _take(file, paths):
            waited = time.monotonic() - start
            process = None if told and waited < wait_s else holder(paths)
            name = f" ({process})" if process else ""
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
            file.write(Holder.here().as_line())
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


def holder(paths: StudyPaths) -> Holder | None:
    """The process that holds the lock; None where none does."""
    return read_holder(paths.lock) if is_held(paths.lock) else None
