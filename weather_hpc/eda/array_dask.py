"""Engine ``dask-array``: expressions of dask.array, computed by threads or by processes of Dask.

:data:`THREADED` names the operations that threads compute faster; see docs/how-to/eda.md.
"""

import contextlib
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import Any

import dask
import dask.array as da
import numpy as np

from weather_hpc import cli
from weather_hpc.eda.array_chunks import Bytes, ImageChunk
from weather_hpc.eda.array_engines import ADVICE, ArrayEngine, ArrayResult, Result
from weather_hpc.eda.dask_operations import OPERATIONS
from weather_hpc.preprocess.backends.base import worker_lost
from weather_hpc.preprocess.backends.dask import local_client, local_ranks
from weather_hpc.preprocess.backends.dask_client import WatchedClient
from weather_hpc.preprocess.worker import ready
from weather_hpc.study.tasks import ArrayInput, ArrayTask, Operation

THREADED = (Operation.MEAN_STD, Operation.HISTOGRAM, Operation.EQUALIZATION)
"""Operations of few long calls of NumPy, during which other threads compute. Features take many
short calls, which Python makes one at a time in a process.
"""


@contextlib.contextmanager
def open_dask(task: ArrayTask, chunks: Sequence[ImageChunk]) -> Iterator[ArrayEngine]:
    """The workers of ``task``; see :func:`weather_hpc.eda.array_engines.open_engine`."""
    if task.operation in THREADED:
        yield ThreadEngine(task, chunks)
        return
    with local_client(task.workers, ADVICE) as client:
        yield ClusterEngine(client, task, chunks)


class ThreadEngine:
    """Dask's own scheduler for one process, with a thread for each worker."""

    def __init__(self, task: ArrayTask, chunks: Sequence[ImageChunk]) -> None:
        self._workers, self._operation = task.workers, OPERATIONS[task.operation]
        self.ranks = [ready(rank) for rank in range(task.workers)]
        if task.array_input is ArrayInput.MEMORY:
            sizes = tuple(chunk.images for chunk in chunks)
            images = np.empty((sum(sizes), *chunks[0].shape[1:]), dtype=np.uint8)
            parts = np.split(images, np.cumsum(sizes)[:-1])
            with cli.progress("reading images", total=len(chunks)) as advance:
                for part, chunk in zip(parts, chunks, strict=True):
                    part[:] = chunk.read()
                    advance()
            self._array = da.from_array(images, chunks=(sizes, *images.shape[1:]))
        else:
            self._array = _lazy(chunks)
        self._compute(_small(task, chunks))

    def compute(self, advance: cli.Advance) -> Result:
        """See :meth:`ArrayEngine.compute`. Dask does not say how far it is."""
        value = self._compute(self._array)
        advance(len(self._array))
        return value

    def report(self) -> Sequence[ArrayResult]:
        """Nothing: the threads share one process, and which of them computed what is not known."""
        return []

    def _compute(self, array: Any) -> Result:
        arrays = self._operation.arrays(array)
        computed = dask.compute(*arrays, scheduler="threads", num_workers=self._workers)
        return self._operation.result(computed)


class ClusterEngine:
    """Dask's distributed scheduler, with a process of one thread for each worker."""

    def __init__(
        self, client: WatchedClient, task: ArrayTask, chunks: Sequence[ImageChunk]
    ) -> None:
        self._client, self._operation = client, OPERATIONS[task.operation]
        self.ranks = local_ranks(client, task.workers, ready)
        self._compute(_small(task, chunks))
        addresses = list(client.run(os.getpid))
        self._timed = task.array_input is ArrayInput.DISK
        if task.array_input is ArrayInput.MEMORY:
            self._array = _held(client, addresses, chunks)
        else:
            self._array = _lazy(chunks)

    def compute(self, advance: cli.Advance) -> Result:
        """See :meth:`ArrayEngine.compute`. Dask does not say how far it is."""
        value = self._compute(self._array)
        advance(len(self._array))
        return value

    def report(self) -> Sequence[ArrayResult]:
        """See :meth:`ArrayEngine.report`."""
        reports: list[ArrayResult] = list(self._client.run(_report, self._timed).values())
        if {report.pid for report in reports} != {rank.pid for rank in self.ranks}:
            raise worker_lost(ADVICE)
        return reports

    def _compute(self, array: Any) -> Result:
        futures = self._client.client.compute(self._operation.arrays(array))
        computed = self._client.gather(futures)
        return self._operation.result(computed)


def _small(task: ArrayTask, chunks: Sequence[ImageChunk]) -> Any:
    """Some black images, computed on before the clock starts: first tasks take longer."""
    side = chunks[0].side
    return da.zeros((4 * task.workers, side, side, 3), dtype=np.uint8, chunks=(1, side, side, 3))


def _lazy(chunks: Sequence[ImageChunk]) -> Any:
    """The images of ``chunks`` as a Dask array that reads a chunk where it is computed on."""
    read = (dask.delayed(partial(_read, chunk), pure=False)() for chunk in chunks)
    return _array(chunks, read)


def _held(client: WatchedClient, addresses: Sequence[str], chunks: Sequence[ImageChunk]) -> Any:
    """The images of ``chunks`` as a Dask array in the memory of the workers, in equal shares."""
    # others may take over from a worker that is lost, or the scheduler would wait for it for ever;
    # the report then finds that it was lost
    futures = [
        client.client.submit(
            _read,
            chunk,
            workers=[addresses[chunk.index % len(addresses)]],
            allow_other_workers=True,
            pure=False,
        )
        for chunk in chunks
    ]
    client.gather(client.client.map(len, futures, pure=False))  # waits; raises what went wrong
    return _array(chunks, futures)


def _array(chunks: Sequence[ImageChunk], values: Iterable[Any]) -> Any:
    pairs = zip(values, chunks, strict=True)
    parts = [da.from_delayed(value, chunk.shape, dtype=np.uint8) for value, chunk in pairs]
    return da.concatenate(parts)


_reads: list[tuple[int, float]] = []
"""In a worker: images and seconds of each chunk that it has read."""


def _read(chunk: ImageChunk) -> Bytes:
    """In a worker: the pixels of ``chunk``."""
    start = time.perf_counter()
    pixels = chunk.read()
    _reads.append((chunk.images, time.perf_counter() - start))
    return pixels


def _report(timed: bool) -> ArrayResult:
    """In a worker: what it did; ``timed``: whether it read images in measured time."""
    images = sum(images for images, _ in _reads)
    return ArrayResult(images=images, reading_s=sum(s for _, s in _reads) if timed else 0.0)
