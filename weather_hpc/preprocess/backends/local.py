"""Workers of this machine: this process, or processes of the standard library.

The pool has one pipe to each worker instead of a shared queue: a worker that is killed closes its
pipe, which is seen immediately, and cannot die holding a lock that other workers wait for.
"""

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import islice
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, TypeVar

from weather_hpc.dataset.partial import KEPT
from weather_hpc.errors import FailedError, UserError
from weather_hpc.preprocess.backends.base import (
    KILLED,
    not_all_up,
    start_timeout_s,
    worker_lost,
)
from weather_hpc.preprocess.backends.stall import Owing, Silence, part_text
from weather_hpc.preprocess.chunk import Chunk, ChunkResult, Target, pack_chunk, prepare_worker
from weather_hpc.runs.ending import exit_text
from weather_hpc.runs.provenance import node_name
from weather_hpc.runs.record import RankInfo
from weather_hpc.study.tasks import Color, Decoder

P = TypeVar("P")
R = TypeVar("R")

IN_FLIGHT = 2
"""Parts per worker that are computed or wait for an earlier one, where results come in order."""

TERM_S = 1.0
"""How long all workers together may take to end on SIGTERM, which a stopped process ignores."""

KILL_S = 5.0
"""How long they then may take on SIGKILL; only a read or write that cannot be interrupted does."""


class SequentialBackend:
    """One chunk after the other, in this process. The baseline of every speedup."""

    def start(self, workers: int, decoder: Decoder, color: Color = Color.MANAGED) -> list[RankInfo]:
        """This process; ``workers`` must be 1."""
        check_sequential(workers)
        return [prepare_worker(decoder, color)]

    def run(self, target: Target, chunks: Sequence[Chunk]) -> Iterator[ChunkResult]:
        """Pack ``chunks`` in their order."""
        return (pack_chunk(target, chunk) for chunk in chunks)

    def close(self) -> None:
        """Nothing to end."""


class MultiprocessingBackend:
    """A pool of processes."""

    def __init__(self) -> None:
        self._pool = ProcessPool(KEPT)

    def start(self, workers: int, decoder: Decoder, color: Color = Color.MANAGED) -> list[RankInfo]:
        """Start ``workers`` processes and wait until each has imported what it needs."""
        return self._pool.start(workers, partial(prepare_worker, decoder, color))

    def run(self, target: Target, chunks: Sequence[Chunk]) -> Iterator[ChunkResult]:
        """Pack ``chunks``, each by the first worker that is free."""
        return self._pool.map(partial(pack_chunk, target), chunks)

    def close(self) -> None:
        """End the processes."""
        self._pool.close()


class ProcessPool:
    """Spawned, not forked: a worker starts clean, whatever threads and locks its parent has."""

    def __init__(self, advice: str) -> None:
        """``advice``: what to do where a worker is lost."""
        self._advice = advice
        self._workers: dict[Connection, BaseProcess] = {}
        self._sent: dict[Connection, object] = {}
        """What each worker that owes a result was sent."""
        self._silence = Silence()

    def start(self, workers: int, prepare: Callable[[int], R]) -> list[R]:
        """Start ``workers`` processes; by rank, what ``prepare(rank)`` returned in each.

        Raises FailedError where one dies or not all are up after :func:`start_timeout_s`, and
        what ``prepare`` raises.
        """
        deadline = time.monotonic() + start_timeout_s(workers)
        context = multiprocessing.get_context("spawn")
        ranks: dict[Connection, int] = {}
        answers: dict[int, R] = {}
        try:
            for rank in range(workers):
                ours, theirs = context.Pipe()
                process = context.Process(target=_work, args=(theirs, prepare, rank), daemon=True)
                self._workers[ours] = process
                process.start()
                theirs.close()  # so that only the worker holds it, and its end closes the pipe
                ranks[ours] = rank
            while len(answers) < workers:
                ready = wait(ranks, timeout=max(0.0, deadline - time.monotonic()))
                if not ready:
                    raise TimeoutError
                for pipe in [pipe for pipe in ranks if pipe in ready]:
                    answer = pipe.recv()
                    if isinstance(answer, Exception):
                        raise answer
                    answers[ranks.pop(pipe)] = answer
        except (EOFError, OSError):
            raise not_all_up(len(answers), workers) from None
        return [answers[rank] for rank in range(workers)]

    def map(
        self, function: Callable[[P], R], parts: Iterable[P], *, ordered: bool = False
    ) -> Iterator[R]:
        """``function`` of each of ``parts``, by the first worker that is free; both are pickled.

        Results come as they are ready, or ``ordered`` as the parts are: then at most
        :data:`IN_FLIGHT` parts per worker are in flight, whatever their number. Raises
        FailedError where a worker is lost or none gives a result for too long, and what
        ``function`` raises.
        """
        numbered = enumerate(parts)
        busy: dict[Connection, int] = {}
        results: dict[int, R] = {}
        following = 0  # the part whose result comes next
        while True:
            finished = []
            while results and (not ordered or following in results):
                finished.append(results.pop(following if ordered else next(iter(results))))
                following += 1
            free = [pipe for pipe in self._workers if pipe not in busy]
            if ordered:
                del free[max(0, IN_FLIGHT * len(self._workers) - len(results) - len(busy)) :]
            for pipe, (number, part) in zip(free, numbered, strict=False):
                self._send(pipe, (function, part))
                busy[pipe] = number
            yield from finished  # with the workers at their next parts already
            if not busy:
                return
            ready = self._await(busy)
            for pipe in [pipe for pipe in busy if pipe in ready]:
                results[busy.pop(pipe)] = self._receive(pipe)

    def map_own(self, function: Callable[[P], R], shares: Sequence[Iterable[P]]) -> Iterator[R]:
        """``function`` of all parts; each worker computes those of its own share, by its rank.

        Results come as they are ready. Raises FailedError where a worker is lost or none gives a
        result for too long, and what ``function`` raises.
        """
        queues = {pipe: iter(own) for pipe, own in zip(self._workers, shares, strict=True)}
        busy: set[Connection] = set()
        free = list(queues)
        finished: list[R] = []
        while True:
            for pipe in free:
                for part in islice(queues[pipe], 1):
                    self._send(pipe, (function, part))
                    busy.add(pipe)
            yield from finished  # with the workers at their next parts already
            if not busy:
                return
            free = [pipe for pipe in self._await(busy) if isinstance(pipe, Connection)]
            busy.difference_update(free)
            finished = [self._receive(pipe) for pipe in free]

    def close(self) -> None:
        """End the workers: they hold nothing that would need a clean exit."""
        started = [process for process in self._workers.values() if process.pid is not None]
        for pipe in self._workers:
            pipe.close()
        for signalled, limit_s in ((BaseProcess.terminate, TERM_S), (BaseProcess.kill, KILL_S)):
            deadline = time.monotonic() + limit_s
            alive = [process for process in started if process.is_alive()]
            for process in alive:
                signalled(process)
            for process in alive:
                process.join(max(0.0, deadline - time.monotonic()))
        self._workers.clear()

    def _send(self, pipe: Connection, call: tuple[Callable[[P], R], P]) -> None:
        try:
            pipe.send(call)
        except OSError:
            raise self._lost(pipe) from None
        self._sent[pipe] = call[1]

    def _await(self, busy: Iterable[Connection]) -> list[Any]:
        """Those of ``busy`` that have a result or were lost; FailedError where none is for long."""
        self._silence.end()
        while not (ready := wait(busy, self._silence.poll_s)):
            if self._silence.too_long():
                raise self._silence.error(self._owing(busy), self._advice)
        return ready

    def _owing(self, busy: Iterable[Connection]) -> list[Owing]:
        return [
            Owing(rank, node_name(), process.pid or 0, part_text([self._sent[pipe]]))
            for rank, (pipe, process) in enumerate(self._workers.items())
            if pipe in busy
        ]

    def _lost(self, pipe: Connection) -> FailedError:
        """The error for the worker at ``pipe``, with its exit code or signal."""
        process = self._workers[pipe]
        process.join(1.0)
        code = process.exitcode
        cause = KILLED if code is None else exit_text(code)
        return worker_lost(self._advice, f"pid {process.pid} on {node_name()}: {cause}")

    def _receive(self, pipe: Connection) -> Any:
        try:
            answer = pipe.recv()
        except (EOFError, OSError):
            raise self._lost(pipe) from None
        if isinstance(answer, Exception):
            raise answer
        return answer


def _work(pipe: Connection, prepare: Callable[[Any], object], rank: Any) -> None:
    """A worker: prepare, then compute what is sent until it is ended."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    threading.Thread(target=_end_with_parent, daemon=True).start()
    function, part = prepare, rank
    while True:
        try:
            pipe.send(function(part))
        except Exception as error:  # the parent raises it
            pipe.send(error)
        try:
            function, part = pipe.recv()
        except EOFError:
            return


def _end_with_parent() -> None:
    """Exit when the parent is killed, or this worker would continue to write into a store that
    the next run may have started over."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def check_sequential(workers: int) -> None:
    """Raise UserError where this process would be several workers."""
    if workers != 1:
        raise UserError(f"backend sequential has 1 worker, not {workers}")
