"""Chunks: what a worker decodes and writes into the store's file of pixels, and their batches."""

import hashlib
import heapq
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from weather_hpc.dataset.damage import DamagedError
from weather_hpc.dataset.image_file import GoneError, ImageError
from weather_hpc.dataset.partial import KEPT, FinishedChunk
from weather_hpc.dataset.sound_image import tolerant
from weather_hpc.errors import FailedError
from weather_hpc.preprocess.worker import WorkerResult, ready
from weather_hpc.runs.environment import thread_variables
from weather_hpc.runs.provenance import node_name
from weather_hpc.runs.record import RankInfo
from weather_hpc.study.tasks import Color, Damaged, Decoder

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from weather_hpc.preprocess.decoders import Decode

ONE_THREAD = thread_variables(1)
"""The environment of every worker: one process, one thread."""

BATCH_CHUNKS = 16
"""The most chunks in a task: what is repeated where a run is killed."""
ROUND_SHARE = 0.75
"""Share of the remaining work that the next tasks of all workers take."""
MIN_TASK_CHUNKS = 0.5
"""The least work of a task, in chunks of mean cost."""


@dataclass(frozen=True)
class Target:
    """Where images are read from and rows written to: the same for all chunks of a run."""

    root: Path
    pixels: Path
    offset: int
    size: int
    decoder: Decoder
    color: Color = Color.MANAGED
    damaged: Damaged = Damaged.QUARANTINE

    @property
    def row_bytes(self) -> int:
        """Bytes of one row of the store."""
        return self.size * self.size * 3


@dataclass(frozen=True)
class Chunk:
    """Consecutive rows: the chunk's number, its first row, and the images' paths under the root.

    ``cost``: a chunk of twice the cost takes about twice as long.
    """

    index: int
    first_row: int
    paths: Sequence[str]
    cost: int = 1

    def __str__(self) -> str:
        return f"chunk {self.index} ({self.paths[0]} to {self.paths[-1]})"


@dataclass(frozen=True)
class ChunkResult(WorkerResult):
    """A finished chunk and the process that made it. Pixels are never sent between processes."""

    finished: FinishedChunk


@dataclass(frozen=True)
class Flaw:
    """Why an image cannot be used, or what is wrong with one that is kept nevertheless."""

    reason: str
    pixels: "npt.NDArray[np.uint8] | None" = None
    """What there is of a damaged image that is kept."""
    gone: bool = False
    """Whether the file could not be read at all."""


def try_decode(decode: "Decode", target: Target, path: str) -> "npt.NDArray[np.uint8] | Flaw":
    """The pixels of the image at ``path``, or what is wrong with it."""
    file = target.root / path
    try:
        return decode(file, target.size)
    except DamagedError as error:
        if target.damaged is Damaged.QUARANTINE:
            return Flaw(str(error))
        try:
            with tolerant():
                return Flaw(str(error), decode(file, target.size))
        except ImageError:
            return Flaw(str(error))
    except ImageError as error:
        return Flaw(str(error), gone=isinstance(error, GoneError))


def pack_chunk(target: Target, chunk: Chunk) -> ChunkResult:
    """Decode ``chunk`` and write its rows; an image that cannot be decoded leaves a black row.
    Raises FailedError where the file cannot be written.

    Written by position into the file, not through a shared memory map: a full disk is then an
    error instead of a killed worker, and it works on network file systems too.
    """
    import numpy as np

    from weather_hpc.preprocess.decoders import make_decoder

    start = time.perf_counter()
    decode = make_decoder(target.decoder, target.color)
    rows = np.zeros((len(chunk.paths), target.size, target.size, 3), dtype=np.uint8)
    flaws = {}
    for row, path in enumerate(chunk.paths):
        answer = try_decode(decode, target, path)
        if isinstance(answer, Flaw):
            flaws[row] = answer
        else:
            rows[row] = answer
    result = write_chunk(target, chunk, rows, flaws)
    return replace(result, busy_s=time.perf_counter() - start)


def write_chunk(
    target: Target, chunk: Chunk, rows: "npt.NDArray[np.uint8]", flaws: dict[int, Flaw]
) -> ChunkResult:
    """Write decoded ``rows``, shape (images, size, size, 3), of ``chunk`` into the store.

    ``flaws``: those of some rows, by their index in ``rows``, where kept pixels are filled in.
    Raises FailedError where the file cannot be written.
    """
    failed, damaged = {}, {}
    for row, flaw in flaws.items():
        if flaw.pixels is None:
            failed[chunk.first_row + row] = flaw.reason
        else:
            rows[row] = flaw.pixels
            damaged[chunk.first_row + row] = flaw.reason
    try:
        with target.pixels.open("r+b") as file:
            file.seek(target.offset + chunk.first_row * target.row_bytes)
            file.write(rows.data)
    except OSError as error:
        raise FailedError(f"{target.pixels}: cannot be written: {error.strerror}; {KEPT}") from None
    gone = any(flaw.gone for flaw in flaws.values())
    sha256 = hashlib.sha256(rows.data).hexdigest()
    finished = FinishedChunk(chunk.index, sha256, failed, damaged, gone)
    return ChunkResult(finished, images=len(chunk.paths))


def prepare_worker(decoder: Decoder, color: Color = Color.MANAGED, rank: int = 0) -> RankInfo:
    """Import everything that a chunk needs; this process as a worker of ``rank``.

    Raises FailedError where ``decoder`` or ``color`` lacks a package here.
    """
    from PIL import Image

    from weather_hpc.preprocess.decoders import make_decoder

    try:
        make_decoder(decoder, color)
    except ImportError as error:  # on another node than the one that checked it
        raise FailedError(
            f"{node_name()}: decoder {decoder}, color {color}: {error}; install it there or choose "
            f"--decoder {Decoder.EXACT} --color {Color.IGNORE}"
        ) from None
    Image.init()  # or the first image of each worker pays for loading Pillow's formats
    return ready(rank)


def make_batches(chunks: Sequence[Chunk], workers: int) -> list[list[Chunk]]:
    """``chunks``, the longest first, as tasks, by factoring (Hummel, Schonberg and Flynn, 1992).

    A task costs the scheduler milliseconds, so the first tasks are long: a round of one equal task
    per worker takes :data:`ROUND_SHARE` of the remaining work, at most :data:`BATCH_CHUNKS` each.
    The last are short, so that workers of different speed end together.
    """
    waiting = deque(chunks)
    left = sum(chunk.cost for chunk in chunks)
    least = MIN_TASK_CHUNKS * left / max(len(chunks), 1)
    batches: list[list[Chunk]] = []
    while waiting:
        share = max(ROUND_SHARE * left / workers, least)
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
