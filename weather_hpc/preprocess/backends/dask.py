"""Dask's distributed scheduler with a cluster of processes on this machine."""

import contextlib
import logging
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from queue import Empty, SimpleQueue
from types import MappingProxyType
from typing import Any

import dask
from distributed import Client, Future, KilledWorker, LocalCluster

from weather_hpc.preprocess.backends.base import START_TIMEOUT_S, not_all_came, worker_lost
from weather_hpc.preprocess.chunk import (
    ONE_THREAD,
    Chunk,
    ChunkResult,
    Target,
    introduce,
    pack_chunk,
)
from weather_hpc.records.record import RankInfo
from weather_hpc.study.spec import Decoder

SETTINGS = {
    # Dask tells malloc to return every 64 KiB; the decoder's buffers then fault in anew for every
    # image, which costs a third of the speed. Replaced whole, so that only threads are set.
    "distributed.nanny.pre-spawn-environ": ONE_THREAD,
    # A lost worker ends the run as it does elsewhere: a time with a silent repeat is no time.
    "distributed.scheduler.allowed-failures": 0,
    "distributed.worker.daemon": True,
}

# The scheduler's HTTP server cannot be left out. By itself it takes the one port 8787, which a
# second run on the node finds taken, and listens to the whole network.
LOOK_S = 1.0
"""How often a cluster that may lose workers is looked after."""

QUIET_SCHEDULER = {"dashboard": False, "dashboard_address": "127.0.0.1:0"}


class DaskBackend:
    """Processes of one thread each, on loopback, without the dashboard."""

    settings: Mapping[str, Any] = MappingProxyType(SETTINGS)

    def __init__(self) -> None:
        self._open = contextlib.ExitStack()

    def start(self, workers: int, decoder: Decoder) -> list[RankInfo]:
        """Start a cluster of ``workers`` processes and wait for all of them."""
        enter = self._open.enter_context
        enter(dask.config.set(dict(self.settings)))
        scratch = enter(tempfile.TemporaryDirectory(prefix="weather_hpc-dask-"))
        cluster = enter(
            LocalCluster(
                n_workers=workers,
                threads_per_worker=1,
                processes=True,
                host="127.0.0.1",
                protocol="tcp://",
                scheduler_kwargs=QUIET_SCHEDULER,
                memory_limit=None,
                local_directory=scratch,
                silence_logs=logging.CRITICAL,
            )
        )
        self._client = enter(Client(cluster, timeout=START_TIMEOUT_S, set_as_default=False))
        try:
            self._client.wait_for_workers(workers, timeout=START_TIMEOUT_S)
        except TimeoutError:
            raise not_all_came(len(cluster.scheduler.workers), workers) from None
        came = sorted(self._client.run(introduce, decoder).values(), key=lambda info: info.pid)
        return [info.model_copy(update={"rank": rank}) for rank, info in enumerate(came)]

    def run(self, target: Target, chunks: Sequence[Chunk]) -> Iterator[ChunkResult]:
        """Pack ``chunks``, each as one task."""
        return results(self._client, pack_chunk, target, chunks)

    def close(self) -> None:
        """Close client and cluster, and wait for the processes' end."""
        self._open.close()


def results(
    client: Client,
    pack: Callable[[Target, Chunk], ChunkResult],
    target: Target,
    chunks: Sequence[Chunk],
    look: Callable[[], None] | None = None,
) -> Iterator[ChunkResult]:
    """``pack`` each of ``chunks`` as one task of ``client``; what comes back, as it comes.

    A result that was given out is forgotten: Dask would make it again if its worker were lost.
    ``look``, where given, is called at least every :data:`LOOK_S`, and may raise.
    """
    done: SimpleQueue[ChunkResult | Exception] = SimpleQueue()
    result: ChunkResult | Exception | None

    async def fetch(future: Future) -> None:
        try:
            done.put(await client.gather(future, asynchronous=True))
        except Exception as error:
            done.put(error)

    for chunk in chunks:
        client.loop.add_callback(fetch, client.submit(pack, target, chunk, pure=False))
    waiting, next_look = len(chunks), time.monotonic() + LOOK_S
    while waiting:
        pause = None if look is None else max(0.0, next_look - time.monotonic())
        try:
            result = done.get(timeout=pause)
        except Empty:
            result = None
        if isinstance(result, KilledWorker):
            raise worker_lost("killed, or out of memory")
        if isinstance(result, Exception):
            raise result
        if look is not None and time.monotonic() >= next_look:
            look()
            next_look = time.monotonic() + LOOK_S
        if result is not None:
            waiting -= 1
            yield result
