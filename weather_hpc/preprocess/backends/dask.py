"""Dask's distributed scheduler with a cluster of processes on this machine."""

import contextlib
import logging
import tempfile
from collections.abc import Iterator, Sequence

import dask
from distributed import Client, KilledWorker, LocalCluster, as_completed

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
QUIET_SCHEDULER = {"dashboard": False, "dashboard_address": "127.0.0.1:0"}


class DaskBackend:
    """Processes of one thread each, on loopback, without the dashboard."""

    def __init__(self) -> None:
        self._open = contextlib.ExitStack()

    def start(self, workers: int) -> list[RankInfo]:
        """Start a cluster of ``workers`` processes and wait for all of them."""
        enter = self._open.enter_context
        enter(dask.config.set(SETTINGS))
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
        came = sorted(self._client.run(introduce).values(), key=lambda info: info.pid)
        return [info.model_copy(update={"rank": rank}) for rank, info in enumerate(came)]

    def run(self, target: Target, chunks: Sequence[Chunk]) -> Iterator[ChunkResult]:
        """Pack ``chunks``, each as one task."""
        futures = [self._client.submit(pack_chunk, target, chunk, pure=False) for chunk in chunks]
        try:
            done = as_completed(futures, loop=self._client.loop, with_results=True)
            for _, result in done:
                yield result
        except KilledWorker:
            raise worker_lost("killed, or out of memory") from None

    def close(self) -> None:
        """Close client and cluster, and wait for the processes' end."""
        self._open.close()
