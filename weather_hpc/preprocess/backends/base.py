"""What every backend does, and the backends by name."""

import importlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from weather_hpc.errors import FailedError, UserError
from weather_hpc.preprocess.chunk import Chunk, ChunkResult, Target
from weather_hpc.runs.record import RankInfo
from weather_hpc.runs.writer import RunWriter
from weather_hpc.study.site import SiteProfile
from weather_hpc.study.tasks import Backend, Color, Decoder

START_TIMEOUT_S = 120.0
"""How long all workers together may take to start where each has a CPU."""


def start_timeout_s(workers: int) -> float:
    """How long ``workers`` may take to start on this process's CPUs, s: longer if they share them.

    Starting is computing: each imports what it needs.
    """
    return START_TIMEOUT_S * max(1.0, workers / len(os.sched_getaffinity(0)))


BACKENDS = {
    Backend.SEQUENTIAL: ("local", "SequentialBackend"),
    Backend.MULTIPROCESSING: ("local", "MultiprocessingBackend"),
    Backend.DASK: ("dask", "DaskBackend"),
    Backend.DASK_NAIVE: ("dask", "DaskNaiveBackend"),
    Backend.DASK_JOBQUEUE: ("dask_jobqueue", "DaskJobqueueBackend"),
}
"""Name -> module and class; imported only when chosen."""


@dataclass(frozen=True)
class Context:
    """What a backend whose workers are jobs of their own needs from the run."""

    site: SiteProfile
    folder: Path
    """The store's folder, shared by all nodes."""
    writer: RunWriter


class PreprocessBackend(Protocol):
    """A pool of workers: started, used once, closed."""

    def start(self, workers: int, decoder: Decoder, color: Color = Color.MANAGED) -> list[RankInfo]:
        """Start ``workers`` workers, each with what it decodes by imported; one entry per worker.

        Raises FailedError where one dies or not all are up after :func:`start_timeout_s`.
        """

    def run(self, target: Target, chunks: Sequence[Chunk]) -> Iterator[ChunkResult]:
        """Pack ``chunks`` in any order, yielding each as it is finished.

        Raises FailedError where a worker is lost, or where none gives a result for too long.
        """

    def close(self) -> None:
        """End all workers, also after an error; may be called at any time."""


KILLED = "killed, or out of memory"
"""Why a worker was lost, where no more is known."""


def worker_lost(advice: str, cause: str = KILLED) -> FailedError:
    """The one message for a worker that ended in the middle of its work; ``advice``: what to do."""
    return FailedError(f"a worker process was lost ({cause}); {advice}")


def not_all_up(up: int, workers: int) -> FailedError:
    """The one message for workers that did not start."""
    limit_s = start_timeout_s(workers)
    return FailedError(
        f"{up} of {workers} workers came up; the rest died or took over {limit_s:.0f} s"
    )


def make_backend(name: Backend, context: Context | None = None) -> PreprocessBackend:
    """The backend called ``name``; ``context`` is for one whose workers are jobs of their own.

    Raises UserError where this installation lacks what it needs.
    """
    make = getattr(import_backend(name), BACKENDS[name][1])
    backend: PreprocessBackend = make() if context is None else make(context)
    return backend


def import_backend(name: Backend) -> Any:
    """The module of the backend ``name``. Raises UserError where a package is missing."""
    try:
        return importlib.import_module(f"weather_hpc.preprocess.backends.{BACKENDS[name][0]}")
    except ImportError as error:
        raise UserError(
            f"backend {name}: {error}; install it with pip install 'weather_hpc[dask]'"
        ) from None
