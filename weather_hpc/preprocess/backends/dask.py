"""Dask's distributed scheduler with a cluster of processes on this machine."""

import contextlib
import logging
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache, partial
from itertools import islice
from queue import Empty, SimpleQueue
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeVar

import dask
from distributed import Client, Future, KilledWorker, LocalCluster

from weather_hpc.dataset.image_file import ImageError
from weather_hpc.dataset.partial import KEPT
from weather_hpc.preprocess.backends.base import START_TIMEOUT_S, not_all_came, worker_lost
from weather_hpc.preprocess.chunk import (
    ONE_THREAD,
    Chunk,
    ChunkResult,
    Target,
    introduce,
    make_batches,
    pack_chunk,
    write_chunk,
)
from weather_hpc.preprocess.decoders import make_decoder
from weather_hpc.runs.record import RankInfo
from weather_hpc.study.spec import Decoder

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

P = TypeVar("P")
R = TypeVar("R")

ALIKE = {
    # A lost worker ends the run as it does elsewhere: a time with a silent repeat is no time.
    "distributed.scheduler.allowed-failures": 0,
    "distributed.worker.daemon": True,
}
"""What makes any cluster of Dask's here comparable with the other backends."""

UNWATCHED: dict[str, bool | str] = {
    # Dask samples stacks, looks at its loops and asks for the disk's load up to 100 times a
    # second in every process: a seventh of a core on two workers that do nothing.
    "distributed.worker.profile.enabled": False,
    "distributed.admin.tick.interval": "5s",
    "distributed.admin.system-monitor.interval": "10s",
    "distributed.admin.system-monitor.disk": False,
    "distributed.admin.system-monitor.gil.enabled": False,
}
"""For all processes of a cluster, wherever they are."""

ONE_EACH: dict[str, float | bool] = {
    # a task waits for the first worker that is free, not behind another one
    "distributed.scheduler.worker-saturation": 1.0,
    "distributed.scheduler.active-memory-manager.start": False,
}
"""For the scheduler of workers that do one task at a time and keep no results."""

SETTINGS = {
    **ALIKE,
    **UNWATCHED,
    **ONE_EACH,
    "distributed.scheduler.work-stealing": False,
    # Dask tells malloc to return every 64 KiB; the decoder's buffers then fault in anew for every
    # image, which costs a third of the speed. Replaced whole, so that only threads are set.
    "distributed.nanny.pre-spawn-environ": ONE_THREAD,
}

FETCH_S = 1.0
"""How often results are fetched, and told as progress."""

SYNC_S = 60
"""How often the cluster's object here asks its scheduler who is there."""

LOOK_S = 1.0
"""How often a cluster that may lose workers is looked after."""

# The scheduler's HTTP server cannot be left out. By itself it takes the one port 8787, which a
# second run on the node finds taken, and listens to the whole network.
QUIET_SCHEDULER = {"dashboard": False, "dashboard_address": "127.0.0.1:0"}


class DaskBackend:
    """Processes of one thread each, on loopback, without the dashboard."""

    settings: Mapping[str, Any] = MappingProxyType(SETTINGS)

    def __init__(self) -> None:
        self._open = contextlib.ExitStack()

    def start(self, workers: int, decoder: Decoder) -> list[RankInfo]:
        """Start a cluster of ``workers`` processes and wait for all of them."""
        self._workers = workers
        self._client = self._open.enter_context(local_client(workers, self.settings))
        came = sorted(self._client.run(introduce, decoder).values(), key=lambda info: info.pid)
        # the first tasks take all that they pass through twice as long as the next
        first = self._client.map(_begin, [decoder] * (4 * workers), pure=False)
        try:
            self._client.gather(first)
        except KilledWorker:
            raise worker_lost(KEPT) from None
        return [info.model_copy(update={"rank": rank}) for rank, info in enumerate(came)]

    def run(self, target: Target, chunks: Sequence[Chunk]) -> Iterator[ChunkResult]:
        """Pack ``chunks``, a batch of them as one task."""
        return results(self._client, pack_chunk, target, chunks, self._workers)

    def close(self) -> None:
        """Close client and cluster, and wait for the processes' end."""
        self._open.close()


@contextlib.contextmanager
def local_client(workers: int, settings: Mapping[str, Any] = SETTINGS) -> Iterator[Client]:
    """A client of a new cluster of ``workers`` processes of one thread each, on loopback.

    Raises FailedError where not all are up after :data:`START_TIMEOUT_S`.
    """
    with (
        dask.config.set(dict(settings)),
        tempfile.TemporaryDirectory(prefix="weather_hpc-dask-") as scratch,
        LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            processes=True,
            host="127.0.0.1",
            protocol="tcp://",
            scheduler_kwargs=QUIET_SCHEDULER,
            memory_limit=None,
            scheduler_sync_interval=SYNC_S,
            local_directory=scratch,
            silence_logs=logging.CRITICAL,
        ) as cluster,
        Client(cluster, timeout=START_TIMEOUT_S, set_as_default=False) as client,
    ):
        try:
            client.wait_for_workers(workers, timeout=START_TIMEOUT_S)
        except TimeoutError:
            raise not_all_came(len(cluster.scheduler.workers), workers) from None
        yield client


def ordered_map(
    client: Client, window: int, advice: str, function: Callable[[P], R], parts: Iterable[P]
) -> Iterator[R]:
    """``function`` of each of ``parts``, in their order, at most ``window`` of them in flight.

    Raises FailedError with ``advice`` where a worker is lost.
    """
    waiting: deque[Future] = deque()
    try:
        for part in parts:
            waiting.append(client.submit(function, part, pure=False))
            if len(waiting) == window:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    except KilledWorker:
        raise worker_lost(advice) from None


def results(
    client: Client,
    pack: Callable[[Target, Chunk], ChunkResult],
    target: Target,
    chunks: Sequence[Chunk],
    workers: int,
    look: Callable[[], None] | None = None,
) -> Iterator[ChunkResult]:
    """``pack`` all ``chunks`` in batches, each a task of ``client``; what comes back, as it comes.

    Results are fetched together, every :data:`FETCH_S`: each fetch costs the scheduler as much as
    the tasks do. One that was given out is forgotten: Dask would make it again if its worker were
    lost. ``look``, where given, is called at least every :data:`LOOK_S`, and may raise.
    """
    news: SimpleQueue[Future | list[list[ChunkResult]] | Exception] = SimpleQueue()

    async def fetch(futures: list[Future]) -> None:
        try:
            news.put(await client.gather(futures, asynchronous=True))
        except Exception as error:
            news.put(error)

    batches = make_batches(chunks, workers)
    task = partial(_pack_batch, pack, target)
    for future in client.map(task, batches, key="pack", pure=False):
        future.add_done_callback(news.put)
    del future
    running = waiting = len(batches)
    ended: list[Future] = []
    next_fetch, next_look = time.monotonic() + FETCH_S, time.monotonic() + LOOK_S
    while waiting:
        due = [next_fetch] if ended else []
        due += [next_look] if look else []
        try:
            what = news.get(timeout=max(0.0, min(due) - time.monotonic()) if due else None)
        except Empty:
            what = None
        now = time.monotonic()
        if isinstance(what, KilledWorker):
            raise worker_lost(KEPT)
        if isinstance(what, Exception):
            raise what
        if isinstance(what, Future):
            running -= 1
            ended.append(what)
        if ended and (now >= next_fetch or not running):
            client.loop.add_callback(fetch, ended)
            ended, next_fetch = [], now + FETCH_S
        if look and now >= next_look:
            look()
            next_look = now + LOOK_S
        if isinstance(what, list):
            waiting -= len(what)
            for batch in what:
                yield from batch


def _begin(decoder: Decoder) -> None:
    """On a worker: what its thread does first in every chunk."""
    make_decoder(decoder)


def _pack_batch(
    pack: Callable[[Target, Chunk], ChunkResult], target: Target, batch: Sequence[Chunk]
) -> list[ChunkResult]:
    """On a worker: ``pack`` one chunk after the other."""
    return [pack(target, chunk) for chunk in batch]


class DaskNaiveBackend(DaskBackend):
    """As :class:`DaskBackend`, with Dask's own settings and images as tasks."""

    settings = MappingProxyType(ALIKE)

    def run(self, target: Target, chunks: Sequence[Chunk]) -> Iterator[ChunkResult]:
        """Have every image decoded by a task of its own; write the chunks here, in order."""
        one = dask.delayed(_decode, pure=False)
        futures = iter(
            self._client.compute([one(target, path) for chunk in chunks for path in chunk.paths])
        )
        for chunk in chunks:
            try:
                answers = self._client.gather(list(islice(futures, len(chunk.paths))))
            except KilledWorker:
                raise worker_lost(KEPT) from None
            yield _write(target, chunk, answers)


_decoder = cache(make_decoder)  # one for the worker's life, as any naive code has


def _decode(target: Target, path: str) -> "npt.NDArray[np.uint8] | str":
    """On a worker: the pixels of one image, or why there are none."""
    try:
        return _decoder(target.decoder)(target.root / path, target.size)
    except ImageError as error:
        return str(error)


def _write(
    target: Target, chunk: Chunk, answers: "Sequence[npt.NDArray[np.uint8] | str]"
) -> ChunkResult:
    import numpy as np

    rows = np.zeros((len(answers), target.size, target.size, 3), dtype=np.uint8)
    failed = {}
    for row, answer in enumerate(answers):
        if isinstance(answer, str):
            failed[chunk.first_row + row] = answer
        else:
            rows[row] = answer
    return write_chunk(target, chunk, rows, failed)
