"""Stopping at a step boundary, all ranks together, so that the run can go on where it was.

A job script that is warned of its end (time limit, preemption) makes the file ``stop`` in the run's
folder; so does this process when it is sent SIGTERM itself. The loop looks for it now and then.
"""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from weather_hpc.runs.paths import RunPaths
from weather_hpc.train.strategies.base import Strategy

OURS = "SIGTERM\n"
"""What the sign says that this process puts up itself."""

STEPS_BETWEEN_LOOKS = 8
"""Ranks must agree, which costs an all-reduce: not at every step."""


class StoppedError(Exception):
    """The run was asked to stop, and its checkpoint is written."""


class StopSign:
    """Whether the run has been asked to stop. All ranks ask at the same steps."""

    def __init__(self, path: Path | None, strategy: Strategy) -> None:
        self.path = path
        self.strategy = strategy

    def seen(self, step: int | None = None) -> bool:
        """Whether any rank sees the sign; after a ``step``, only now and then. Collective."""
        if self.path is None or (step is not None and step % STEPS_BETWEEN_LOOKS):
            return False
        # on the CPU, so that nobody waits for what a GPU has still to do
        return bool(self.strategy.sum(torch.tensor([float(self.path.exists())])).item())


@contextmanager
def stop_on_sigterm(path: Path | None) -> Iterator[None]:
    """Within the block SIGTERM puts the stop sign up instead of ending this process."""
    if path is None:
        yield
        return

    def put_up(*_: object) -> None:
        if not path.exists():
            path.write_text(OURS)

    before = signal.signal(signal.SIGTERM, put_up)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def acknowledge(paths: RunPaths) -> None:
    """Tell the job script that the run has stopped by request, and take down a sign of our own."""
    paths.stopped.touch()
    take_down(paths)


def take_down(paths: RunPaths) -> None:
    """Remove the stop sign if it is one that a process of ours has put up itself."""
    if paths.stop.exists() and paths.stop.read_text() == OURS:
        paths.stop.unlink()
