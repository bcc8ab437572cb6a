"""What a worker does: decode one chunk of images and write it into the store's file of pixels."""

import gc
import hashlib
import heapq
import os
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from weather_hpc.dataset.image_file import ImageError
from weather_hpc.dataset.partial import KEPT, FinishedChunk
from weather_hpc.errors import FailedError
from weather_hpc.runs.environment import thread_variables
from weather_hpc.runs.proc import memory_peak_mb
from weather_hpc.runs.provenance import node_name
from weather_hpc.runs.record import RankInfo
from weather_hpc.study.spec import Decoder

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

ONE_THREAD = thread_variables(1)
"""The environment of every worker: one process, one thread."""


@dataclass(frozen=True)
class Target:
    """Where images come from and rows go to: the same for all chunks of a run."""

    root: Path
    pixels: Path
    offset: int
    size: int
    decoder: Decoder

    @property
    def row_bytes(self) -> int:
        """Bytes of one row of the store."""
        return self.size * self.size * 3


@dataclass(frozen=True)
class Chunk:
    """A run of rows: its number, its first row, and the images' paths under the root.

    ``cost``: a chunk of twice the cost takes about twice as long.
    """

    index: int
    first_row: int
    paths: Sequence[str]
    cost: int = 1


@dataclass(frozen=True)
class ChunkResult:
    """A finished chunk and the process that made it. Pixels never travel between processes."""

    finished: FinishedChunk
    images: int
    pid: int
    host: str
    memory_peak_mb: float | None
    rank: int | None = None
    """The worker's number, where another may have taken the place of one that was lost."""


def pack_chunk(target: Target, chunk: Chunk) -> ChunkResult:
    """Decode ``chunk`` and write its rows; an image that cannot be decoded leaves a black row.
    Raises FailedError where the file cannot be written.

    Written by position into the file, not through a shared map: the same bytes, a full disk is
    an error instead of a dead worker, and it holds on network file systems as well.
    """
    import numpy as np

    from weather_hpc.preprocess.decoders import make_decoder

    decode = make_decoder(target.decoder)
    rows = np.zeros((len(chunk.paths), target.size, target.size, 3), dtype=np.uint8)
    failed = {}
    for row, path in enumerate(chunk.paths):
        try:
            rows[row] = decode(target.root / path, target.size)
        except ImageError as error:
            failed[chunk.first_row + row] = str(error)
    return write_chunk(target, chunk, rows, failed)


def write_chunk(
    target: Target, chunk: Chunk, rows: "npt.NDArray[np.uint8]", failed: dict[int, str]
) -> ChunkResult:
    """Write decoded ``rows``, shape (images, size, size, 3), of ``chunk`` into the store.

    ``failed``: row of the store -> why its image is black. Raises FailedError where the file
    cannot be written.
    """
    try:
        with target.pixels.open("r+b") as file:
            file.seek(target.offset + chunk.first_row * target.row_bytes)
            file.write(rows.data)
    except OSError as error:
        raise FailedError(f"{target.pixels}: cannot be written: {error.strerror}; {KEPT}") from None
    finished = FinishedChunk(chunk.index, hashlib.sha256(rows.data).hexdigest(), failed)
    return ChunkResult(finished, len(chunk.paths), os.getpid(), node_name(), memory_peak_mb())


def introduce(decoder: Decoder, rank: int = 0) -> RankInfo:
    """This process as a worker, with everything imported that a chunk needs.

    Raises FailedError where ``decoder`` is not to be had here.
    """
    from PIL import Image

    from weather_hpc.preprocess.decoders import make_decoder

    try:
        make_decoder(decoder)
    except ImportError as error:  # on another node than the one that chose it
        raise FailedError(
            f"{node_name()}: decoder {decoder}: {error}; install it there or choose "
            f"--decoder {Decoder.EXACT}"
        ) from None
    Image.init()  # else the first image of each worker pays for loading Pillow's formats
    # What was imported stays. Else the collector looks through all of it once in mid-work, which
    # costs as much as fifty images.
    gc.freeze()
    return RankInfo(
        rank=rank,
        host=node_name(),
        pid=os.getpid(),
        device="cpu",
        cpus=sorted(os.sched_getaffinity(0)),
        threads=1,
    )


BATCH_CHUNKS = 16
"""The most chunks in a task: what is done anew where a run is killed."""


PART = 0.75
"""Of the work that is left, what goes into the next tasks of all workers."""


LEAST = 0.5
"""The least that goes into a task, in chunks of mean cost."""


def make_batches(chunks: Sequence[Chunk], workers: int) -> list[list[Chunk]]:
    """``chunks``, the longest first, as tasks, by factoring (Hummel, Schonberg and Flynn, 1992).

    A task costs the scheduler milliseconds, so the first ones are long: a round of one for each
    worker, equally long, takes :data:`PART` of what is left, at most :data:`BATCH_CHUNKS` each.
    The last are short, so that workers of different speed end together.
    """
    waiting = deque(chunks)
    left = sum(chunk.cost for chunk in chunks)
    least = LEAST * left / max(len(chunks), 1)
    batches: list[list[Chunk]] = []
    while waiting:
        share = max(PART * left / workers, least)
        loads = [(0, worker) for worker in range(workers)]  # a heap
        tasks: list[list[Chunk]] = [[] for _ in range(workers)]
        while waiting:
            load, worker = loads[0]
            task = tasks[worker]
            if task and (load + waiting[0].cost > share or len(task) == BATCH_CHUNKS):
                break
            task.append(waiting.popleft())
            heapq.heapreplace(loads, (load + task[-1].cost, worker))
            left -= task[-1].cost
        batches += filter(None, tasks)
    return batches
