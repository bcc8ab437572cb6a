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

from weather_hpc.dataset.partial import KEPT
from weather_hpc.errors import FailedError
from weather_hpc.preprocess.backends.base import START_TIMEOUT_S, not_all_up, start_timeout_s
from weather_hpc.preprocess.backends.dask_client import TellingNanny, WatchedClient
from weather_hpc.preprocess.backends.dask_security import LOOPBACK_HTTP, PRIVATE, make_certificate
from weather_hpc.preprocess.chunk import (
    ONE_THREAD,
    Chunk,
    ChunkResult,
    Flaw,
    Target,
    make_batches,
    pack_chunk,
    prepare_worker,
    try_decode,
    write_chunk,
)
from weather_hpc.preprocess.decoders import make_decoder
from weather_hpc.runs.record import RankInfo
from weather_hpc.study.tasks import Color, Decoder

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

P = TypeVar("P")
R = TypeVar("R")

COMPARABLE = {
    # A lost worker ends the run, as with the other backends: a silent repeat would spoil the time.
    "distributed.scheduler.allowed-failures": 0,
    # One that stands still is named by WatchedClient, which knows when the whole job was suspended.
    "distributed.scheduler.worker-ttl": None,
    "distributed.worker.daemon": True,
}
"""What makes a Dask cluster comparable with the other backends."""

NO_MONITORING: dict[str, bool | str] = {
    # Dask samples stacks, event loops and disk load up to 100 times a second in every process:
    # together a seventh of a core with two idle workers.
    "distributed.worker.profile.enabled": False,
    "distributed.admin.tick.interval": "5s",
    "distributed.admin.system-monitor.interval": "10s",
    "distributed.admin.system-monitor.disk": False,
    "distributed.admin.system-monitor.gil.enabled": False,
}
"""For all processes of a cluster, on any node."""

ONE_TASK_EACH: dict[str, float | bool] = {
    # a task waits for the first worker that is free, not behind another task
    "distributed.scheduler.worker-saturation": 1.0,
    "distributed.scheduler.active-memory-manager.start": False,
}
"""For the scheduler: workers do one task at a time and keep no results."""

SETTINGS: dict[str, Any] = {
    **COMPARABLE,
    **NO_MONITORING,
    **ONE_TASK_EACH,
    "distributed.scheduler.work-stealing": False,
    # Dask makes malloc return memory above 64 KiB; the decoder's buffers are then faulted in again
    # for every image, which costs a third of the speed. Replaced, so that only threads are set.
    "distributed.nanny.pre-spawn-environ": ONE_THREAD,
}

FETCH_S = 1.0
"""How often results are fetched, and progress shown."""

SYNC_S = 60
"""How often the cluster object asks its scheduler for the list of workers."""


class DaskBackend:
    """Processes of one thread each, on loopback, without the dashboard."""

    settings: Mapping[str, Any] = MappingProxyType(SETTINGS)

    def __init__(self) -> None:
        self._open = contextlib.ExitStack()

    def start(self, workers: int, decoder: Decoder, color: Color = Color.MANAGED) -> list[RankInfo]:
        """Start a cluster of ``workers`` processes and wait for all of them."""
        self._workers = workers
        self._client = self._open.enter_context(local_client(workers, KEPT, self.settings))
        return local_ranks(self._client, workers, partial(prepare_worker, decoder, color))

    def run(self, target: Target, chunks: Sequence[Chunk]) -> Iterator[ChunkResult]:
        """Pack ``chunks``, a batch of them as one task."""
        return pack_batches(self._client, pack_chunk, target, chunks, self._workers)

    def close(self) -> None:
        """Close client and cluster, and wait until the processes have exited."""
        self._open.close()


@contextlib.contextmanager
def local_client(
    workers: int, advice: str, settings: Mapping[str, Any] = SETTINGS
) -> Iterator[WatchedClient]:
    """A client of a new cluster of ``workers`` processes of one thread each, on loopback.

    Nobody else can use it: see :mod:`~weather_hpc.preprocess.backends.dask_security`. ``advice``:
    what to do where a worker is lost. Raises FailedError where not all are up after
    :func:`start_timeout_s`.
    """
    security = make_certificate()
    limit_s = start_timeout_s(workers)
    # a worker that shares its CPU answers late
    shared = limit_s > START_TIMEOUT_S
    patience = {"distributed.comm.timeouts.connect": f"{limit_s:.0f}s"} if shared else {}
    with (
        dask.config.set({**settings, **PRIVATE, **patience}),
        tempfile.TemporaryDirectory(prefix="weather_hpc-dask-") as scratch,
        _started(
            n_workers=workers,
            threads_per_worker=1,
            processes=True,
            worker_class=TellingNanny,
            host="127.0.0.1",
            protocol="tls://",
            security=security,
            scheduler_kwargs=LOOPBACK_HTTP,
            memory_limit=None,
            scheduler_sync_interval=SYNC_S,
            local_directory=scratch,
            silence_logs=logging.CRITICAL,
        ) as cluster,
        Client(cluster, timeout=limit_s, set_as_default=False) as client,
    ):
        try:
            client.wait_for_workers(workers, timeout=limit_s)
        except TimeoutError:
            raise not_all_up(len(cluster.scheduler.workers), workers) from None
        yield WatchedClient(client, advice)


def _started(**options: Any) -> LocalCluster:
    """A cluster. Raises FailedError where the system lets its processes have no memory or files."""
    try:
        return LocalCluster(**options)
    except RuntimeError as failure:
        error: BaseException | None = failure
        while error is not None and not isinstance(error, OSError):
            error = error.__cause__ or error.__context__
        if error is None:
            raise
        places = f"/dev/shm or {options['local_directory']}"  # noqa: S108 - only named
        raise FailedError(f"{places}: Dask's workers cannot start: {error.strerror}") from None


def local_ranks(
    client: WatchedClient, workers: int, prepare: Callable[[int], RankInfo]
) -> list[RankInfo]:
    """Prepare all ``workers`` of a :func:`local_client`; one entry per worker."""
    infos = client.run(prepare, 0)
    # the first tasks take twice as long as later ones: run some before the clock starts
    client.gather(client.client.map(prepare, [0] * (4 * workers), pure=False))
    by_pid = sorted(infos, key=lambda address: infos[address].pid)
    client.ranks = {
        address: infos[address].model_copy(update={"rank": rank})
        for rank, address in enumerate(by_pid)
    }
    return list(client.ranks.values())


def ordered_map(
    client: WatchedClient, window: int, function: Callable[[P], R], parts: Iterable[P]
) -> Iterator[R]:
    """``function`` of each of ``parts``, in their order, at most ``window`` of them in flight.

    Raises FailedError where a worker is lost or none gives a result for too long.
    """
    waiting: deque[Future] = deque()
    for part in parts:
        future = client.client.submit(function, part, pure=False)
        client.parts[future.key] = [part]
        waiting.append(future)
        if len(waiting) == window:
            yield _result(client, waiting.popleft())
    while waiting:
        yield _result(client, waiting.popleft())


def _result(client: WatchedClient, future: Future) -> Any:
    (result,) = client.gather([future])
    del client.parts[future.key]
    return result


def pack_batches(
    client: WatchedClient,
    pack: Callable[[Target, Chunk], ChunkResult],
    target: Target,
    chunks: Sequence[Chunk],
    workers: int,
) -> Iterator[ChunkResult]:
    """``pack`` all ``chunks`` in batches, each a task of ``client``; results as they are ready.

    Results are fetched together, every :data:`FETCH_S`: a fetch costs the scheduler as much as a
    task. Futures are released once fetched: Dask would repeat them if their worker were lost.
    Raises FailedError where a worker is lost or none gives a result for too long.
    """
    events: SimpleQueue[Future | list[list[ChunkResult]] | Exception] = SimpleQueue()

    async def fetch(futures: list[Future]) -> None:
        try:
            events.put(await client.client.gather(futures, asynchronous=True))
        except Exception as error:
            events.put(error)

    batches = make_batches(chunks, workers)
    task = partial(_pack_batch, pack, target)
    for future, batch in zip(
        client.client.map(task, batches, key="pack", pure=False), batches, strict=True
    ):
        client.parts[future.key] = batch
        future.add_done_callback(events.put)
    del future
    running = waiting = len(batches)
    ended: list[Future] = []
    next_fetch, next_check = time.monotonic() + FETCH_S, time.monotonic()
    while waiting:
        due = min(next_fetch, next_check) if ended else next_check
        try:
            event = events.get(timeout=max(0.0, due - time.monotonic()))
        except Empty:
            event = None
        now = time.monotonic()
        if isinstance(event, KilledWorker):
            raise client.lost(event)
        if isinstance(event, Exception):
            raise event
        if isinstance(event, Future):
            running -= 1
            ended.append(event)
        if ended and (now >= next_fetch or not running):
            client.client.loop.add_callback(fetch, ended)
            ended, next_fetch = [], now + FETCH_S
        if now >= next_check:
            client.check()
            next_check = now + client.check_s
        if isinstance(event, list):
            waiting -= len(event)
            for results in event:
                yield from results


def _pack_batch(
    pack: Callable[[Target, Chunk], ChunkResult], target: Target, batch: Sequence[Chunk]
) -> list[ChunkResult]:
    """On a worker: ``pack`` one chunk after the other."""
    return [pack(target, chunk) for chunk in batch]


class DaskNaiveBackend(DaskBackend):
    """As :class:`DaskBackend`, with Dask's default settings and one task per image.

    It is what makes Dask look slower than no parallelism at all, and kept to be measured; what the
    other Dask backend does differently is in docs/how-to/preprocessing.md.
    """

    settings = MappingProxyType(COMPARABLE)

    def run(self, target: Target, chunks: Sequence[Chunk]) -> Iterator[ChunkResult]:
        """Decode every image in a task of its own; write the chunks in this process, in order."""
        one = dask.delayed(_decode, pure=False)
        futures = iter(
            self._client.client.compute(
                [one(target, path) for chunk in chunks for path in chunk.paths]
            )
        )
        for chunk in chunks:
            results = self._client.gather(islice(futures, len(chunk.paths)))
            yield _write(target, chunk, results)


_decoder = cache(make_decoder)  # one per worker process, as naive code has


def _decode(target: Target, path: str) -> "npt.NDArray[np.uint8] | Flaw":
    """On a worker: the pixels of one image, or what is wrong with it."""
    return try_decode(_decoder(target.decoder, target.color), target, path)


def _write(
    target: Target, chunk: Chunk, results: "Sequence[npt.NDArray[np.uint8] | Flaw]"
) -> ChunkResult:
    import numpy as np

    rows = np.zeros((len(results), target.size, target.size, 3), dtype=np.uint8)
    flaws = {}
    for row, answer in enumerate(results):
        if isinstance(answer, Flaw):
            flaws[row] = answer
        else:
            rows[row] = answer
    return write_chunk(target, chunk, rows, flaws)
