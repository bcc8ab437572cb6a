"""The engines of array operations: workers that are up, and what they compute.

``numpy`` and ``opencv`` compute chunk by chunk in worker processes and merge what the chunks
gave. ``dask-array`` computes an expression of dask.array, on the scheduler that suits it.
"""

import contextlib
import dataclasses
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from weather_hpc import cli
from weather_hpc.eda import kernels, numpy_operations
from weather_hpc.eda.array_chunks import Bytes, ImageChunk
from weather_hpc.errors import UserError
from weather_hpc.preprocess.backends.local import ProcessPool
from weather_hpc.preprocess.worker import WorkerResult, ready
from weather_hpc.runs.record import RankInfo
from weather_hpc.study.tasks import ArrayInput, ArrayTask, Engine, Operation

ADVICE = "run the same command again"
"""Where a worker is lost."""

Result = npt.NDArray[Any]


@dataclass(frozen=True)
class ChunkOperation:
    """An operation chunk by chunk."""

    of_chunk: Callable[[Bytes], Result]
    """On a worker: what a chunk gives."""
    merge: Callable[[Sequence[Result]], Result]
    """The result, from what the chunks gave, in their order."""


def _sum(parts: Sequence[Result]) -> Result:
    total: Result = np.sum(parts, axis=0)
    return total


def _mean_std_of_moments(parts: Sequence[Result]) -> Result:
    return numpy_operations.mean_std_of(np.concatenate(parts))


def _mean_std_of_counts(parts: Sequence[Result]) -> Result:
    return np.stack(kernels.mean_std(_sum(parts)))


def _features(images: Bytes) -> Result:
    return kernels.features(images, kernels.grey_thumbnails(images))


CHUNK_OPERATIONS = {
    Engine.NUMPY: {
        Operation.MEAN_STD: ChunkOperation(numpy_operations.image_moments, _mean_std_of_moments),
        Operation.HISTOGRAM: ChunkOperation(numpy_operations.histograms, _sum),
        Operation.EQUALIZATION: ChunkOperation(numpy_operations.equalized_sums, np.concatenate),
        Operation.FEATURES: ChunkOperation(numpy_operations.features, np.concatenate),
    },
    Engine.OPENCV: {
        Operation.MEAN_STD: ChunkOperation(kernels.histograms, _mean_std_of_counts),
        Operation.HISTOGRAM: ChunkOperation(kernels.histograms, _sum),
        Operation.EQUALIZATION: ChunkOperation(kernels.equalized_sums, np.concatenate),
        Operation.FEATURES: ChunkOperation(_features, np.concatenate),
    },
}
"""Of the engines that compute in worker processes."""


@dataclass(frozen=True, kw_only=True)
class ArrayResult(WorkerResult):
    """What a worker reports of its work: of a chunk, with its ``value``, or of all its chunks."""

    reading_s: float = 0.0
    """Seconds spent on reading images from the file in measured time."""
    index: int = 0
    value: Result | None = None


class ArrayEngine(Protocol):
    """Workers that are up, with their input in place."""

    ranks: list[RankInfo]
    """One entry per worker."""

    def compute(self, advance: cli.Advance) -> Result:
        """The operation's result; ``advance`` counts images.

        Raises FailedError where a worker is lost or images cannot be read.
        """

    def report(self) -> Sequence[ArrayResult]:
        """What each worker did, after :meth:`compute`; empty where no worker can tell.

        Raises FailedError where a worker was lost and replaced meanwhile.
        """


@contextlib.contextmanager
def open_engine(task: ArrayTask, chunks: Sequence[ImageChunk]) -> Iterator[ArrayEngine]:
    """The workers of ``task``, for as long as the block lasts; ``chunks`` are its images.

    Each has imported what it needs and computed the operation on a small array. Of input
    ``memory`` each has read its share of the chunks. Raises UserError where a package is missing,
    and FailedError where not all workers come up or images cannot be read.
    """
    if task.engine is Engine.DASK_ARRAY:
        try:
            from weather_hpc.eda.array_dask import open_dask
        except ImportError as error:
            raise UserError(
                f"engine {task.engine}: {error}; install it with pip install 'weather_hpc[dask]'"
            ) from None
        with open_dask(task, chunks) as engine:
            yield engine
        return
    if task.engine is Engine.OPENCV:
        kernels.load_opencv()  # reported once, before any worker is started
    with contextlib.closing(ProcessPool(ADVICE)) as pool:
        yield ProcessEngine(pool, task, chunks)


class ProcessEngine:
    """Worker processes that compute chunk by chunk.

    One worker is a process of its own too, so that more workers differ in nothing else. Images in
    memory are shared out before: each worker has its own chunks. From disk, the next chunk goes to
    the first worker that is free, and is all that the worker has in memory.
    """

    def __init__(self, pool: ProcessPool, task: ArrayTask, chunks: Sequence[ImageChunk]) -> None:
        self._pool, self._chunks = pool, chunks
        self._operation = CHUNK_OPERATIONS[task.engine][task.operation]
        self._results: list[ArrayResult] = []
        function, side = self._operation.of_chunk, chunks[0].side
        self.ranks = pool.start(task.workers, partial(_prepare, function, side))
        self._shares: list[Sequence[ImageChunk]] | None = None
        if task.array_input is ArrayInput.MEMORY:
            self._shares = [chunks[rank :: task.workers] for rank in range(task.workers)]
            with cli.progress("reading images", total=len(chunks)) as advance:
                for _ in pool.map_own(_hold, self._shares):
                    advance()

    def compute(self, advance: cli.Advance) -> Result:
        """See :meth:`ArrayEngine.compute`."""
        function = partial(_compute, self._operation.of_chunk)
        if self._shares is None:
            results = self._pool.map(function, self._chunks)
        else:
            results = self._pool.map_own(function, self._shares)
        values: dict[int, Result] = {}
        for result in results:
            self._results.append(dataclasses.replace(result, value=None))
            if result.value is not None:
                values[result.index] = result.value
            advance(result.images)
        return self._operation.merge([values[index] for index in sorted(values)])

    def report(self) -> Sequence[ArrayResult]:
        """See :meth:`ArrayEngine.report`."""
        return self._results


_held: dict[int, Bytes] = {}
"""In a worker: the chunks in its memory, by number."""


def _prepare(function: Callable[[Bytes], Result], side: int, rank: int) -> RankInfo:
    """In a worker: compute once, so that what is made at the first call exists."""
    function(np.zeros((1, side, side, 3), dtype=np.uint8))
    return ready(rank)


def _hold(chunk: ImageChunk) -> None:
    _held[chunk.index] = chunk.read()


def _compute(function: Callable[[Bytes], Result], chunk: ImageChunk) -> ArrayResult:
    """In a worker: what ``chunk`` gives."""
    start = time.perf_counter()
    held = _held.get(chunk.index)
    pixels = chunk.read() if held is None else held
    reading_s = 0.0 if held is not None else time.perf_counter() - start
    value = function(pixels)
    busy_s = time.perf_counter() - start
    return ArrayResult(
        images=chunk.images, index=chunk.index, value=value, reading_s=reading_s, busy_s=busy_s
    )
