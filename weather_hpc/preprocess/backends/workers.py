"""Workers that compute any function of many parts, on every backend but the naive one."""

import contextlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Protocol, TypeVar

from weather_hpc.errors import UserError
from weather_hpc.preprocess.backends.base import Context, import_backend
from weather_hpc.preprocess.backends.local import IN_FLIGHT, ProcessPool, check_sequential
from weather_hpc.preprocess.worker import ready
from weather_hpc.runs.record import RankInfo
from weather_hpc.study.tasks import Backend

P = TypeVar("P")
R = TypeVar("R")


class OrderedMap(Protocol):
    """A function of many parts, computed by workers."""

    def __call__(self, function: Callable[[P], R], parts: Iterable[P]) -> Iterator[R]:
        """``function`` of each of ``parts``, in their order. Function and parts are pickled.

        Only a few parts are in flight at a time, so memory does not depend on their number.
        Raises FailedError where a worker is lost, and what ``function`` raises.
        """


@dataclass(frozen=True)
class Workers:
    """Workers that are up."""

    ranks: list[RankInfo]
    """One entry per worker."""
    map: OrderedMap

    def __call__(self, function: Callable[[P], R], parts: Iterable[P]) -> Iterator[R]:
        """As :class:`OrderedMap`."""
        return self.map(function, parts)


@contextlib.contextmanager
def open_workers(
    backend: Backend,
    workers: int,
    advice: str,
    prepare: Callable[[int], RankInfo] = ready,
    context: Context | None = None,
) -> Iterator[Workers]:
    """``workers`` processes of one thread each, for as long as the block lasts.

    ``prepare(rank)`` is called in each worker before the block: it imports what the work needs and
    returns :func:`~weather_hpc.preprocess.worker.ready`; it may be called several times.
    ``advice``: what to do where a worker is lost. ``context``: for dask-jobqueue, whose workers
    are jobs of their own, replaced where lost. Raises UserError for more than one sequential
    worker, or where a package or Slurm is missing, and FailedError where not all workers are up
    in time.
    """
    if backend is Backend.SEQUENTIAL:
        check_sequential(workers)
        yield Workers([prepare(0)], _map)
    elif backend is Backend.MULTIPROCESSING:
        with contextlib.closing(ProcessPool(advice)) as pool:
            yield Workers(pool.start(workers, prepare), partial(pool.map, ordered=True))
    elif backend is Backend.DASK:
        dask = import_backend(backend)
        with dask.local_client(workers, advice) as client:
            ranks = dask.local_ranks(client, workers, prepare)
            yield Workers(ranks, partial(dask.ordered_map, client, IN_FLIGHT * workers))
    elif backend is Backend.DASK_JOBQUEUE:
        if context is None:
            raise UserError(f"backend {backend} is not available here: its workers are jobs")
        with contextlib.closing(import_backend(backend).WorkerJobs(context, advice)) as jobs:
            yield Workers(jobs.start(workers, prepare), jobs.map)
    else:
        raise UserError(f"backend {backend} is for preprocessing only")


def _map(function: Callable[[P], R], parts: Iterable[P]) -> Iterator[R]:
    return map(function, parts)
