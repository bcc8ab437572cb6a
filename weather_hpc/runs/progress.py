"""How far a run is while it is being made, from its files alone: no lock is asked for."""

import itertools
import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from statistics import median
from typing import Any

from weather_hpc.errors import UserError
from weather_hpc.reading import check_size, read_object
from weather_hpc.runs.inputs import LARGEST_EVENTS
from weather_hpc.runs.lock import read_holder
from weather_hpc.runs.paths import RunPaths
from weather_hpc.study.spec import RunSpec, Stage

TAIL = 2**16
"""Bytes at the end of the events that are read: some hundred epochs."""

QUIET_S = 300.0
"""On another host processes are taken to live for so long after a change of their files, s."""

SECONDS_PER_MINUTE = 60.0

_LATEST = 5
"""Epochs whose median is the time that the next ones are expected to take."""

_PHASES = {
    "catalogue": "starts its workers",
    "workers_submitted": "waits for its workers' jobs",
    "workers_queued": "waits for its workers",
    "worker_came": "waits for its workers",
    "workers_up": "computes",
    "page_cache": "computes",
    "worker_jobs_ended": "writes its results",
    "results": "writes its results",
    "start": "prepares its input",
    "resume": "prepares its input",
    "input": "computes its first epoch",
}
"""What a run does after each of its events."""

_RESTARTS = ("start", "resume", "input")
"""Events after which the time of the next epoch begins."""


@dataclass(frozen=True)
class RunProgress:
    """How far a run is. None: not known."""

    phase: str
    """What it does, in words, where it has not finished an epoch."""
    started_at: float | None = None
    """Of this try, UNIX time, s."""
    epoch: int | None = None
    """The last epoch that has ended, from 1."""
    epochs: int | None = None
    """How many there will be."""
    loss: float | None = None
    accuracy: float | None = None
    """Of the last epoch, of training images, 0 to 1."""
    test_accuracy: float | None = None
    epoch_at: float | None = None
    """When it ended, UNIX time, s."""
    resumed: bool = False
    """Whether this try has fewer epochs to compute than the whole run."""
    epoch_s: float | None = None
    """From the end of one epoch to the end of the next, s: the median of the last ones."""

    @property
    def left_s(self) -> float | None:
        """Seconds from the last epoch's end to the end of all of them; None: not known."""
        if self.epoch is None or self.epochs is None or self.epoch_s is None:
            return None
        return max(0, self.epochs - self.epoch) * self.epoch_s

    def __str__(self) -> str:
        if self.epoch is None:
            return self.phase
        text = f"epoch {self.epoch} of {self.epochs or '?'}"
        text += "" if self.loss is None else f", loss {self.loss:.3f}"
        text += "" if self.accuracy is None else f", accuracy {self.accuracy:.3f}"
        return text + ("" if self.test_accuracy is None else f", test {self.test_accuracy:.3f}")


def read_progress(run: RunPaths, spec: RunSpec) -> RunProgress:
    """How far the run in this folder is; whatever cannot be read is not known."""
    phase = "packs the store" if spec.stage is Stage.PREPARE else "starts"
    ended: dict[str, Any] | None = None
    stamps: list[float] = []
    resumed = False
    for event in _last_events(run.events):
        name, at = event.get("event"), _number(event.get("at"))
        if name == "epoch" and type(event.get("epoch")) is int:
            ended = event
        elif name in _RESTARTS:
            stamps, resumed = [], resumed or name == "resume"
        if at is not None and (name == "epoch" or name in _RESTARTS):
            stamps.append(at)
        phase = _PHASES.get(str(name), phase)
    started = _started_at(run)
    if ended is None:
        return RunProgress(phase, started, resumed=resumed)
    took = [after - before for before, after in itertools.pairwise(stamps)]
    return RunProgress(
        phase,
        started,
        epoch=ended["epoch"],
        epochs=getattr(spec.task, "epochs", None),
        loss=_number(ended.get("loss")),
        accuracy=_number(ended.get("accuracy")),
        test_accuracy=_number(ended.get("test_accuracy")),
        epoch_at=_number(ended.get("at")),
        epoch_s=median(took[-_LATEST:]) if took else None,
        resumed=resumed,
    )


def is_being_made(run: RunPaths, spec: RunSpec, elsewhere: bool = True) -> bool:
    """Whether a process makes this run, as far as its files tell.

    On this host its process is looked for. One on another host cannot be seen: the run is taken to
    be made until its time limit, unless it is known not to be made ``elsewhere``.
    """
    if run.exit.exists():
        return False
    holders = [holder for path in (run.script_lock, run.lock) if (holder := read_holder(path))]
    if any(holder.lives for holder in holders):
        return True
    if not elsewhere or all(holder.is_here for holder in holders):
        return False
    limit_s = max(spec.resources.time_limit_min * SECONDS_PER_MINUTE, QUIET_S)
    return time.time() - max(map(_mtime, (run.script_lock, run.lock))) < limit_s


def _mtime(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def _started_at(run: RunPaths) -> float | None:
    """When this try of the run began, UNIX time, s: by its record, before that by its script."""
    try:
        started = read_object(run.record).get("provenance", {}).get("started_at")
        return datetime.fromisoformat(started).timestamp()
    except (UserError, AttributeError, TypeError, ValueError, OverflowError):
        return _mtime(run.script_lock) or None


def _last_events(path: Path) -> Iterator[dict[str, Any]]:
    """The events at the end of the file; what is no event is left out."""
    try:
        check_size(path, LARGEST_EVENTS)
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - TAIL))
            lines = file.read(TAIL).splitlines()
    except (OSError, UserError):
        return
    for line in lines:
        try:
            event = json.loads(line)
        except (ValueError, RecursionError):
            continue  # cut off, or being written now
        if isinstance(event, dict):
            yield event


def _number(value: object) -> float | None:
    return float(value) if type(value) in (int, float) else None  # type: ignore[arg-type]
