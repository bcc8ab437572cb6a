"""The backends of this machine from the standard library alone: one process, or a pool of them.

The pool has one pipe to each worker instead of a shared queue: a worker that is killed closes its
pipe, which is seen at once, and cannot die holding a lock that the others wait for.
"""

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

from weather_hpc.errors import UserError
from weather_hpc.preprocess.backends.base import START_TIMEOUT_S, not_all_came, worker_lost
from weather_hpc.preprocess.chunk import Chunk, ChunkResult, Target, introduce, pack_chunk
from weather_hpc.runs.record import RankInfo
from weather_hpc.study.spec import Decoder


class SequentialBackend:
    """One chunk after the other, in this process."""

    def start(self, workers: int, decoder: Decoder) -> list[RankInfo]:
        """This process; ``workers`` must be 1."""
        if workers != 1:
            raise UserError(f"backend sequential has 1 worker, not {workers}")
        return [introduce(decoder)]

    def run(self, target: Target, chunks: Sequence[Chunk]) -> Iterator[ChunkResult]:
        """Pack ``chunks`` in their order."""
        return (pack_chunk(target, chunk) for chunk in chunks)

    def close(self) -> None:
        """Nothing to end."""


class MultiprocessingBackend:
    """Spawned, not forked: a worker starts clean, whatever threads and locks its parent has."""

    def __init__(self) -> None:
        self._workers: dict[Connection, BaseProcess] = {}

    def start(self, workers: int, decoder: Decoder) -> list[RankInfo]:
        """Spawn ``workers`` processes and hear from each that it stands."""
        deadline = time.monotonic() + START_TIMEOUT_S
        context = multiprocessing.get_context("spawn")
        came: list[RankInfo] = []
        try:
            for rank in range(workers):
                ours, theirs = context.Pipe()
                process = context.Process(target=_work, args=(theirs, decoder, rank), daemon=True)
                self._workers[ours] = process
                process.start()
                theirs.close()  # so that only the worker holds it, and its end closes the pipe
            silent = set(self._workers)
            while silent:
                ready = wait(silent, timeout=max(0.0, deadline - time.monotonic()))
                if not ready:
                    raise TimeoutError
                came += [pipe.recv() for pipe in self._workers if pipe in ready]
                silent.difference_update(ready)
        except (EOFError, OSError):
            raise not_all_came(len(came), workers) from None
        return sorted(came, key=lambda worker: worker.rank)

    def run(self, target: Target, chunks: Sequence[Chunk]) -> Iterator[ChunkResult]:
        """Pack ``chunks``, each by the first worker that is free."""
        waiting = iter(chunks)
        busy: set[Connection] = set()
        free = list(self._workers)
        results: list[ChunkResult] = []
        while True:
            for pipe, chunk in zip(free, waiting, strict=False):
                _send(pipe, (target, chunk))
                busy.add(pipe)
            yield from results  # with the workers at their next chunks already
            if not busy:
                return
            ready = wait(busy)
            free = [pipe for pipe in self._workers if pipe in ready]
            busy.difference_update(free)
            results = [_receive(pipe) for pipe in free]

    def close(self) -> None:
        """End the workers: they hold nothing that would need tidying."""
        for pipe, process in self._workers.items():
            pipe.close()
            if process.pid is not None:
                process.terminate()
                process.join()
        self._workers.clear()


def _send(pipe: Connection, job: tuple[Target, Chunk]) -> None:
    try:
        pipe.send(job)
    except OSError:
        raise worker_lost("killed, or out of memory") from None


def _receive(pipe: Connection) -> ChunkResult:
    try:
        answer: Any = pipe.recv()
    except (EOFError, OSError):
        raise worker_lost("killed, or out of memory") from None
    if isinstance(answer, Exception):
        raise answer
    result: ChunkResult = answer
    return result


def _work(pipe: Connection, decoder: Decoder, rank: int) -> None:
    """A worker's life: introduce itself, then pack chunks until it is ended."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    threading.Thread(target=_end_with_parent, daemon=True).start()
    pipe.send(introduce(decoder, rank))
    while True:
        try:
            job = pipe.recv()
        except EOFError:
            return
        try:
            pipe.send(pack_chunk(*job))
        except Exception as error:  # the parent raises it
            pipe.send(error)


def _end_with_parent() -> None:
    """End at once when the parent is killed, or this worker would go on writing into a store
    that the next run may have begun anew."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
