"""A run's folder before and after the run itself: made ready, or closed by the launcher."""

import json
import os
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any

from weather_hpc.errors import FailedError
from weather_hpc.files import take_lock, write_json
from weather_hpc.runs.node_hours import spent
from weather_hpc.runs.paths import RunPaths, StudyPaths
from weather_hpc.runs.reader import read_run
from weather_hpc.runs.record import RunRecord, Status
from weather_hpc.study.spec import RunSpec


def make_ready(run: RunPaths, spec: RunSpec) -> None:
    """Write the spec; remove what an earlier try left, but for what it cost.

    Its checkpoint stays, with the events so far: a training run resumes from that.
    """
    if node_hours := spent(read_run(run.root)):
        write_json(run.earlier_tries, {"node_hours": node_hours})
    for path in (run.record, run.exit, run.stdout, run.stderr, run.stop, run.stopped, run.slurm):
        path.unlink(missing_ok=True)
    if not run.checkpoint.exists():
        run.events.unlink(missing_ok=True)
    write_json(run.spec, spec.as_dict())


def record_end(paths: StudyPaths, spec: RunSpec, status: Status, reason: str) -> None:
    """Write the record of a run that did not come to do so itself."""
    RunRecord.of(spec, status=status, reason=reason).write(paths.run(spec.run_id).record)


SUBMITTING_S = 120.0
"""How long a sweep waits for another to submit: that takes seconds."""


@contextmanager
def lock(paths: StudyPaths, wait_s: float = 0.0) -> Iterator[None]:
    """Hold the folder's lock, for which up to ``wait_s`` seconds are waited.

    Raises :class:`FailedError` where another sweep holds it. The kernel lets go of it when its
    holder dies, however that happens. A file system without locks is said, and gone on with.
    """
    paths.root.mkdir(parents=True, exist_ok=True)
    with paths.lock.open("a+", encoding="utf-8") as file:
        deadline = time.monotonic() + wait_s
        while not _taken(file, paths):
            if time.monotonic() >= deadline:
                who = holder(paths)
                name = f" (pid {who['pid']} on {who['host']})" if who else ""
                raise FailedError(
                    f"{paths.root}: another sweep is running here{name}; "
                    "see it with `sweep status`, end it with `sweep cancel`"
                )
            time.sleep(0.2)
        file.truncate(0)
        file.write(json.dumps({"pid": os.getpid(), "host": socket.gethostname()}))
        file.flush()
        try:
            yield
        finally:
            file.truncate(0)


def _taken(file: IO[str], paths: StudyPaths) -> bool:
    taken = take_lock(file)
    if taken is None:
        print(
            f"{paths.root}: this file system has no locks: "
            "start no second sweep on this folder while one runs",
            file=sys.stderr,
        )
    return taken is not False


def holder(paths: StudyPaths) -> dict[str, Any] | None:
    """Who holds the lock: ``pid`` and ``host``; None where nobody does."""
    try:
        with paths.lock.open("r+", encoding="utf-8") as file:
            if take_lock(file, shared=True) is not False:
                return None
            found = json.loads(file.read() or "null")
            return found if isinstance(found, dict) else None
    except (OSError, ValueError):
        return None
