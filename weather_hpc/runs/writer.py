"""Writes the record and the events of a run while it is running."""

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from weather_hpc.cli import Signalled
from weather_hpc.errors import FailedError
from weather_hpc.runs.lock import FolderLock
from weather_hpc.runs.paths import RunPaths
from weather_hpc.runs.provenance import collect_provenance
from weather_hpc.runs.record import RunRecord, Status
from weather_hpc.runs.spec_file import spec_in
from weather_hpc.study.spec import RunSpec


class RunWriter:
    """Writes the record and events of one run into its folder; without a folder only in memory.

    The record is on disk as ``incomplete`` from the start, so a run that is killed is still
    visible. Use as a context manager: an exception that leaves the block is recorded as the run's
    failure, unless :meth:`finish` was called, and propagates. All methods raise FailedError if a
    file of the run cannot be written. The folder is locked from the start to the end of the block:
    where another process works in it, InUseError is raised.
    """

    def __init__(self, spec: RunSpec, run_dir: Path | None) -> None:
        self.paths = RunPaths(run_dir) if run_dir is not None else None
        self.record = RunRecord.of(
            spec,
            reason="the run exited without writing a final record",
            provenance=collect_provenance(),
        )
        self.finished = False
        """Whether :meth:`finish` was called."""
        self._lock: FolderLock | None = None
        if self.paths is not None:
            with self._writing(self.paths.lock):
                self._lock = FolderLock(self.paths)
        self._save()

    def __enter__(self) -> "RunWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: Any
    ) -> None:
        try:
            self._record(error)
        finally:
            if self._lock is not None:
                self._lock.release()

    def _record(self, error: BaseException | None) -> None:
        """Record an exception as the run's failure."""
        # in a job only Slurm knows whether the signal is a time limit, a preemption or a user's
        by_slurm = isinstance(error, Signalled) and "SLURM_JOB_ID" in os.environ
        if error is not None and not self.finished and not by_slurm:
            interrupted = isinstance(error, KeyboardInterrupt)
            status = Status.CANCELLED if interrupted else Status.FAILED
            if isinstance(error, MemoryError):
                status = Status.OUT_OF_MEMORY
            text = " ".join(str(error).split())
            # a full disk has no room for the record: the original error is reported
            with suppress(FailedError):
                self.finish(
                    status, f"{type(error).__name__}: {text}" if text else type(error).__name__
                )

    def event(self, name: str, **fields: Any) -> None:
        """Append one event: its name, the time (UNIX, s) and ``fields`` as a JSON line."""
        if self.paths is None:
            return
        line = json.dumps({"event": name, "at": round(time.time(), 3), **fields})
        with (
            self._writing(self.paths.events),
            self.paths.events.open("a", encoding="utf-8") as file,
        ):
            file.write(line + "\n")

    def finish(self, status: Status = Status.OK, reason: str | None = None) -> RunRecord:
        """Write the record with the final status."""
        self.record.status = status
        self.record.reason = reason
        self.finished = True
        self._save()
        return self.record

    def _save(self) -> None:
        if self.paths is not None:
            with self._writing(self.paths.record):
                self.record.write(self.paths.record)

    @staticmethod
    @contextmanager
    def _writing(path: Path) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise FailedError(f"{path}: cannot be written: {error.strerror}") from None


def read_spec(run_dir: Path | None) -> RunSpec | None:
    """The spec that the launcher wrote into ``run_dir``; None if there is none.

    Raises UserError where it cannot be read.
    """
    if run_dir is None or not RunPaths(run_dir).spec.exists():
        return None
    return spec_in(RunPaths(run_dir).spec)
