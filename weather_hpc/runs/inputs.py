"""Reading the files of a run folder; each of them may be damaged."""

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeGuard

from pydantic_core import from_json

from weather_hpc.errors import UserError
from weather_hpc.reading import check_size, read_json, read_object

LARGEST_EVENTS = 2**28
"""Bytes. An epoch takes some hundred."""

LONGEST_LINE = 2**20
"""Bytes of an event; what is longer is read in pieces, none of which is one."""


def read_events(path: Path) -> tuple[int | None, str | None]:
    """Number of different epochs that ended, and the first NaN or infinite loss; read by line."""
    epochs: set[int] = set()
    wrong: str | None = None
    try:
        for event in _events(path):
            if event.get("event") != "epoch":
                continue
            epoch = event.get("epoch")
            if type(epoch) is int:
                epochs.add(epoch)
            lost = _nan_losses(event)
            if lost and wrong is None:
                wrong = f"{path.name}: epoch {epoch}: {lost[0]} is {event[lost[0]]}"
    except (OSError, UserError):
        return None, None
    return len(epochs), wrong


def events(path: Path) -> Iterator[dict[str, Any]]:
    """The events in ``path``, one by one; none where it cannot be read, and no more after it."""
    try:
        yield from _events(path)
    except (OSError, UserError):
        return


def _events(path: Path) -> Iterator[dict[str, Any]]:
    """The events in ``path``. Raises OSError or UserError where it cannot be read."""
    check_size(path, LARGEST_EVENTS)
    with path.open("rb") as file:
        while line := file.readline(LONGEST_LINE):
            try:
                event = _event(line)
            except (ValueError, RecursionError):
                continue  # a run that was killed leaves half a line
            if isinstance(event, dict):
                yield event


def _event(line: bytes) -> Any:
    """The JSON in ``line``. Raises ValueError or RecursionError where there is none."""
    try:
        return from_json(line)  # several times faster than json on short text
    except ValueError:
        return json.loads(line)  # also accepts halves of surrogate pairs


def nan_in_record(path: Path) -> str | None:
    """The first NaN or infinite loss in a record that read_record rejects because of it."""
    try:
        quality = read_json(path)["quality"]
        lost = _nan_losses(quality)
    except (UserError, KeyError, TypeError, AttributeError):
        return None
    return f"{path.name}: {lost[0]} is {quality[lost[0]]}" if lost else None


def _nan_losses(values: dict[str, Any]) -> list[str]:
    return [
        name
        for name, value in values.items()
        if "loss" in name and isinstance(value, float) and not math.isfinite(value)
    ]


def exit_code(path: Path) -> int | None:
    """The code in an exit.json; None where there is no valid one."""
    try:
        code = read_object(path).get("code")
    except UserError:
        return None
    return code if type(code) is int and 0 <= code < 256 else None


def exit_time(path: Path) -> str | None:
    """When the run ended by its exit.json, ISO 8601; None where it does not say."""
    try:
        ended = read_object(path).get("ended_at")
    except UserError:
        return None
    return ended if isinstance(ended, str) else None


def job_seconds(path: Path) -> float | None:
    """How long the Slurm job took whose script wrote an exit.json, s.

    None where the script did not say so, or the job was requeued: it knows its last try only.
    """
    try:
        values = read_object(path)
    except UserError:
        return None
    seconds, restarts = values.get("job_s"), values.get("restarts")
    return float(seconds) if restarts == 0 and is_seconds(seconds) else None


def worker_jobs_seconds(path: Path) -> float | None:
    """Seconds that all jobs of a run's Dask workers took together, by its events.

    Replaced workers count. None where an end was not recorded, as of a driver that was killed, or
    there are no events; 0 where no job was submitted.
    """
    seconds, open_submissions = 0.0, 0
    try:
        for event in _events(path):
            if event.get("event") == "workers_submitted":
                open_submissions += 1
            elif event.get("event") == "worker_jobs_ended":
                each = [job["elapsed_s"] for job in event["jobs"]]
                if not all(map(is_seconds, each)):
                    return None
                seconds += sum(each)
                open_submissions -= 1
            elif event.get("event") == "workers_queued" and not open_submissions:
                return None  # of an earlier version, which did not record the jobs
    except (UserError, OSError, KeyError, TypeError):
        return None
    return None if open_submissions else seconds


def is_seconds(value: object) -> TypeGuard[float]:
    """Whether ``value`` is a number that a duration can be."""
    return type(value) in (int, float) and 0 <= value <= LARGEST  # type: ignore[operator]


LARGEST = 1e15
"""No count, second or rate of a real run is larger."""
