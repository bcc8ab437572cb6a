"""A pool of processes of this machine, from the standard library."""

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.synchronize import Barrier

from weather_hpc.preprocess.backends.base import START_TIMEOUT_S, not_all_came, worker_lost
from weather_hpc.preprocess.chunk import Chunk, ChunkResult, Target, introduce, pack_chunk
from weather_hpc.records.record import RankInfo

_everybody: Barrier
"""In a worker: where all of them meet once, so that each introduces itself."""


class MultiprocessingBackend:
    """Spawned, not forked: a worker starts clean, whatever threads and locks its parent has."""

    def start(self, workers: int) -> list[RankInfo]:
        """Spawn ``workers`` processes; each has to be there for any to pass."""
        context = multiprocessing.get_context("spawn")
        self._pool = ProcessPoolExecutor(
            workers,
            mp_context=context,
            initializer=_become_worker,
            initargs=(context.Barrier(workers),),
        )
        hellos = [self._pool.submit(_meet, rank) for rank in range(workers)]
        try:
            return [hello.result() for hello in hellos]
        except (BrokenProcessPool, threading.BrokenBarrierError):
            raise not_all_came(None, workers) from None

    def run(self, target: Target, chunks: Sequence[Chunk]) -> Iterator[ChunkResult]:
        """Pack ``chunks``, each by the first worker that is free."""
        try:
            futures = [self._pool.submit(pack_chunk, target, chunk) for chunk in chunks]
            for future in as_completed(futures):
                yield future.result()
        except BrokenProcessPool:
            raise worker_lost("killed, or out of memory") from None

    def close(self) -> None:
        """End the workers after the chunks they are at."""
        with contextlib.suppress(AttributeError):
            self._pool.shutdown(cancel_futures=True)


def _become_worker(everybody: Barrier) -> None:
    """Run once in every worker."""
    global _everybody
    _everybody = everybody
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """A parent that is killed closes no pool; its workers would wait for work for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _meet(rank: int) -> RankInfo:
    """Introduce this worker once all are there: no worker can then answer for two."""
    info = introduce(rank)
    _everybody.wait(START_TIMEOUT_S)
    return info
