"""One sweep at a time may change a results folder."""

import fcntl
import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from weather_hpc.errors import FailedError
from weather_hpc.paths import StudyPaths


@contextmanager
def lock(paths: StudyPaths) -> Iterator[None]:
    """Hold the folder's lock. Raises :class:`FailedError` where another sweep holds it.

    The kernel lets go of it when its holder dies, however that happens.
    """
    paths.root.mkdir(parents=True, exist_ok=True)
    with paths.lock.open("a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            who = holder(paths)
            name = f" (pid {who['pid']} on {who['host']})" if who else ""
            raise FailedError(
                f"{paths.root}: another sweep is running here{name}; "
                "see it with `sweep status`, end it with `sweep cancel`"
            ) from None
        file.truncate(0)
        file.write(json.dumps({"pid": os.getpid(), "host": socket.gethostname()}))
        file.flush()
        try:
            yield
        finally:
            file.truncate(0)


def holder(paths: StudyPaths) -> dict[str, Any] | None:
    """Who holds the lock: ``pid`` and ``host``; None where nobody does."""
    try:
        with paths.lock.open("r+", encoding="utf-8") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except OSError:
                found = json.loads(file.read() or "null")
                return found if isinstance(found, dict) else None
            return None
    except (FileNotFoundError, ValueError):
        return None
