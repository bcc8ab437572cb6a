"""Stopping at a step boundary, all ranks together, so that the run can resume from there.

A job script that is warned of its end (time limit, preemption) creates the file ``stop`` in the
run's folder; so does this process on SIGTERM. The loop checks for it every few steps.
"""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from weather_hpc.errors import FailedError
from weather_hpc.runs.paths import RunPaths
from weather_hpc.train.strategies.base import TrainingStrategy

OURS = "SIGTERM\n"
"""Content of a stop file that a training process created."""

STEPS_BETWEEN_CHECKS = 8
"""A check is an all-reduce, since ranks must agree: too slow for every step."""


class StoppedError(Exception):
    """The run stopped on request, and its checkpoint is written."""


class StopFile:
    """The file that asks the run to stop. All ranks check for it at the same steps."""

    def __init__(self, path: Path | None, strategy: TrainingStrategy) -> None:
        self.path = path
        self.strategy = strategy

    def seen(self, step: int | None = None) -> bool:
        """Whether any rank sees it; after a ``step``, checked only every few steps. Collective."""
        if self.path is None or (step is not None and step % STEPS_BETWEEN_CHECKS):
            return False
        # on the CPU, so as not to wait for a GPU's earlier work
        return bool(self.strategy.sum(torch.tensor([float(self.path.exists())])).item())


@contextmanager
def stop_on_sigterm(path: Path | None) -> Iterator[None]:
    """Within the block SIGTERM creates the stop file instead of ending this process."""
    if path is None:
        yield
        return

    def create(*_: object) -> None:
        if path.exists():
            return
        try:
            path.write_text(OURS)
        except OSError as error:
            if not path.exists():  # on a full disk it is empty, which is enough
                raise FailedError(f"{path}: cannot be written: {error.strerror}") from None

    before = signal.signal(signal.SIGTERM, create)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def confirm_stop(paths: RunPaths) -> None:
    """Tell the job script that the run has stopped on request; remove a stop file of our own."""
    paths.stopped.touch()
    remove_own_stop_file(paths)


def remove_own_stop_file(paths: RunPaths) -> None:
    """Remove the stop file if a training process created it."""
    if paths.stop.exists() and paths.stop.read_text() == OURS:
        paths.stop.unlink()
