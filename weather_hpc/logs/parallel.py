"""Parallel map over files: by spawned processes, in order, even if one of them is killed."""

import os
import signal
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from typing import Any, TypeVar

WORTH_BYTES = 24 * 2**20
"""Bytes of files per process: reading them takes about as long as starting a process."""

MOST_PROCESSES = 4
"""More would disturb other users of a login node."""

AHEAD = 4
"""Calls submitted per process before the earliest result is taken."""

Result = TypeVar("Result")

_function: Callable[..., Any]
_common: tuple[Any, ...]


def process_count(files: Sequence[Path]) -> int:
    """How many processes are worth starting to read ``files``; 0 or 1: none."""
    size = 0
    for file in files:
        try:
            size += file.stat().st_size
        except OSError:
            continue
    cpus = len(os.sched_getaffinity(0))
    return min(MOST_PROCESSES, cpus, len(files), size // WORTH_BYTES)


def parallel_map(
    function: Callable[..., Result],
    arguments: Sequence[tuple[Any, ...]],
    common: tuple[Any, ...],
    processes: int,
) -> Iterator[Result]:
    """``function(*each, *common)`` for each of ``arguments``, in their order.

    What ``function`` raises is raised here. This process does the work if ``processes`` is below
    2, and the rest of it if processes cannot be started or one is killed.
    """
    done = 0
    if processes > 1:
        try:
            for result in _map_in_pool(function, arguments, common, processes):
                yield result
                done += 1
        except (BrokenProcessPool, OSError):
            pass
    for each in arguments[done:]:
        yield function(*each, *common)


def _map_in_pool(
    function: Callable[..., Result],
    arguments: Sequence[tuple[Any, ...]],
    common: tuple[Any, ...],
    processes: int,
) -> Iterator[Result]:
    # spawned: a fork of a process with threads, such as a progress bar's, may hang
    pool = ProcessPoolExecutor(processes, get_context("spawn"), _start_worker, (function, common))
    try:
        submitted: deque[Future[Result]] = deque()
        rest = iter(arguments)
        while True:
            for each in islice(rest, processes * AHEAD - len(submitted)):
                submitted.append(pool.submit(_call_in_worker, each))
            if not submitted:
                return
            yield submitted.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _start_worker(function: Callable[..., Any], common: tuple[Any, ...]) -> None:
    """Set up a worker process, once: ``common`` is too large to send with each call."""
    global _function, _common
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles it
    _function, _common = function, common


def _call_in_worker(each: tuple[Any, ...]) -> Any:
    return _function(*each, *_common)
