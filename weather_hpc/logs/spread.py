"""Logs read by several processes at once, where they are large enough to be worth it."""

import os
import signal
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from weather_hpc.runs.row import Reading

WORTH_BYTES = 24 * 2**20
"""Of logs for each process: reading them takes about as long as starting one."""

MOST_PROCESSES = 4
"""More would be no neighbour's joy on the login node of a cluster."""

AHEAD = 4
"""Logs that are read, for each process, before the earliest of them is taken."""

Job = tuple[Path, str]
"""A log, and its run_id."""

_read: Callable[..., Reading]
_context: tuple[Any, ...]


def spread(
    read: Callable[..., Reading], jobs: list[Job], context: tuple[Any, ...]
) -> Iterator[Reading]:
    """``read(*job, *context)`` of each of ``jobs``, in their order.

    What ``read`` raises is raised here. Where processes cannot be had, or one is killed, the rest
    is read by this one.
    """
    count = _processes([file for file, _ in jobs])
    done = 0
    if count > 1:
        try:
            for reading in _by_processes(count, read, jobs, context):
                yield reading
                done += 1
        except (BrokenProcessPool, OSError):
            pass
    for job in jobs[done:]:
        yield read(*job, *context)


def _processes(files: Sequence[Path]) -> int:
    size = 0
    for file in files:
        try:
            size += file.stat().st_size
        except OSError:
            continue
    cpus = len(os.sched_getaffinity(0))
    return min(MOST_PROCESSES, cpus, len(files), size // WORTH_BYTES)


def _by_processes(
    count: int, read: Callable[..., Reading], jobs: list[Job], context: tuple[Any, ...]
) -> Iterator[Reading]:
    # spawned: a fork of a process with threads, such as a progress bar's, may hang
    pool = ProcessPoolExecutor(count, get_context("spawn"), _begin, (read, context))
    try:
        waiting: deque[Future[Reading]] = deque()
        rest = iter(jobs)
        while True:
            for job in islice(rest, count * AHEAD - len(waiting)):
                waiting.append(pool.submit(_work, job))
            if not waiting:
                return
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _begin(read: Callable[..., Reading], context: tuple[Any, ...]) -> None:
    """Set a process up. Once, for what formats have learnt is not small."""
    global _read, _context
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent answers it
    _read, _context = read, context


def _work(job: Job) -> Reading:
    return _read(*job, *_context)
