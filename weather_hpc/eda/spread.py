"""One function over many parts, by the backends that preprocessing has on one machine.

Results come in the parts' order, so that sums of them do not depend on the workers; only a few
are under way at a time, so that memory does not depend on the number of parts.
"""

import contextlib
import logging
import multiprocessing
import tempfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import BrokenExecutor, Executor, Future, ProcessPoolExecutor
from typing import Protocol, TypeVar

from weather_hpc.errors import FailedError, UserError
from weather_hpc.study.spec import Backend

P = TypeVar("P")
R = TypeVar("R")

BACKENDS = (Backend.SEQUENTIAL, Backend.MULTIPROCESSING, Backend.DASK)
UNDER_WAY = 2
"""Parts a worker has before it or in its hands: enough that it never waits for the next."""


class Spread(Protocol):
    """Call it to have a function done for every part."""

    def __call__(self, function: Callable[[P], R], parts: Iterable[P]) -> Iterator[R]:
        """``function`` of each of ``parts``, in their order. Function and parts are pickled.

        Raises FailedError where a worker is lost.
        """


@contextlib.contextmanager
def spread(backend: Backend, workers: int) -> Iterator[Spread]:
    """``workers`` processes of one thread each, for as long as the block lasts.

    Raises UserError for more than one sequential worker, or where Dask is not installed.
    """
    if backend is Backend.SEQUENTIAL:
        if workers != 1:
            raise UserError(f"backend sequential has 1 worker, not {workers}")
        yield _here
        return
    make = _dask if backend is Backend.DASK else _processes
    with make(workers) as (executor, lost):

        def run(function: Callable[[P], R], parts: Iterable[P]) -> Iterator[R]:
            try:
                yield from _in_order(executor, function, parts, UNDER_WAY * workers)
            except lost as error:
                raise FailedError(f"a worker process was lost ({error}); run it again") from None

        yield run


def _here(function: Callable[[P], R], parts: Iterable[P]) -> Iterator[R]:
    return map(function, parts)


def _in_order(
    executor: Executor, function: Callable[[P], R], parts: Iterable[P], window: int
) -> Iterator[R]:
    waiting: deque[Future[R]] = deque()
    for part in parts:
        waiting.append(executor.submit(function, part))
        if len(waiting) == window:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


Made = tuple[Executor, type[Exception]]


@contextlib.contextmanager
def _processes(workers: int) -> Iterator[Made]:
    # spawned, not forked: a worker starts clean, whatever threads and locks its parent has
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context) as executor:
        try:
            yield executor, BrokenExecutor
        finally:
            executor.shutdown(cancel_futures=True)


@contextlib.contextmanager
def _dask(workers: int) -> Iterator[Made]:
    try:
        import dask
        from distributed import Client, KilledWorker, LocalCluster

        from weather_hpc.preprocess.backends.dask import QUIET_SCHEDULER, SETTINGS
    except ImportError as error:
        raise UserError(
            f"backend dask: {error}; install it with pip install 'weather_hpc[dask]'"
        ) from None
    with (
        dask.config.set(SETTINGS),
        tempfile.TemporaryDirectory(prefix="weather_hpc-dask-") as scratch,
        LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            host="127.0.0.1",
            scheduler_kwargs=QUIET_SCHEDULER,
            memory_limit=None,
            local_directory=scratch,
            silence_logs=logging.CRITICAL,
        ) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        yield client.get_executor(pure=False), KilledWorker
