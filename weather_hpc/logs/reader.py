"""From log files to readings: every file becomes exactly one."""

import dataclasses
import os
import signal
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from weather_hpc.logs import lines
from weather_hpc.logs.checks import audit_log
from weather_hpc.logs.lines import time_limit
from weather_hpc.logs.log import Log
from weather_hpc.logs.log_format import LogFormat, formats
from weather_hpc.logs.names import Pattern
from weather_hpc.logs.row import log_row
from weather_hpc.logs.tally import Tally
from weather_hpc.runs.record import Status
from weather_hpc.runs.row import Code, Finding, Reading, Row, Severity
from weather_hpc.text import clean

DECIDED = 200
"""Lines with values after which the format that fits best is chosen."""


SLOWEST_BLOCK_S = 60
"""A format that needs longer for a block of lines (a tenth of a second is usual) never ends."""


def read_logs(
    files: Sequence[Path],
    pattern: Pattern | None = None,
    known: Sequence[LogFormat] | None = None,
) -> Iterator[Reading]:
    """Each of ``files`` as one Reading, in their order, one file at a time.

    ``known`` are the formats that a log may have (see ``log_format.formats``); the one that
    finds most in it is taken. What cannot be read is a reading with a reason and no table.
    Raises UserError for a format whose expressions take for ever.
    """
    known = formats() if known is None else known
    batch_told = False
    jobs = list(zip(files, names(files), strict=True))
    for (_, run_id), reading in zip(
        jobs, read_parallel(_read, jobs, (pattern, known)), strict=True
    ):
        if pattern is not None and not batch_told and reading.row.batch_size_per_device is not None:
            batch_told = True
            findings = (*reading.findings, _batch(run_id, pattern))
            reading = dataclasses.replace(reading, findings=findings)
        yield reading


def names(files: Sequence[Path]) -> list[str]:
    """A run_id for each file: its stem, or as much of its path as makes it unique."""
    spelled = [[_stem(file), file.name, *_tails(file)] for file in files]
    chosen = [0] * len(files)
    while True:
        now = [clean(names[i]) for names, i in zip(spelled, chosen, strict=True)]
        twice = {name for name, count in Counter(now).items() if count > 1}
        unclear = [
            i for i, name in enumerate(now) if name in twice and chosen[i] + 1 < len(spelled[i])
        ]
        if not unclear:
            return now
        for i in unclear:
            chosen[i] += 1


def _stem(file: Path) -> str:
    name = file.name.removesuffix(".gz")
    return Path(name).stem


def _tails(file: Path) -> list[str]:
    parts = file.parts
    return [str(Path(*parts[-n:])) for n in range(2, len(parts) + 1)]


def _read(file: Path, run_id: str, pattern: Pattern | None, known: Sequence[LogFormat]) -> Reading:
    values: dict[str, Any] = {"run_id": run_id, "source": clean(str(file))}
    depth = pattern.depth if pattern is not None else 0
    parents = file.absolute().parents
    values["study"] = clean(parents[min(depth, len(parents) - 1)].name) or None

    def rejected(status: Status, reason: str, *code: Code) -> Reading:
        findings = tuple(Finding(run_id, Severity.ERROR, each, reason) for each in code)
        return Reading(Row(**values, status=str(status), reason=clean(reason)), findings)

    columns: dict[str, Any] = {}
    if pattern is not None:
        try:
            told = pattern.read(file)
        except ValueError as error:
            return rejected(Status.SKIPPED, f"{file.name}: {error}")
        if told is None:
            return rejected(Status.SKIPPED, f"its name does not fit the pattern {pattern.text}")
        columns = told
    tallies = [Tally(form) for form in known]
    unreadable: str | None = None
    try:
        for block, ended in lines.blocks(file):
            for tally in tallies:
                with time_limit(SLOWEST_BLOCK_S, _too_slow(tally.form)):
                    tally.feed(block, ended)
                if tally is tallies[0] and tally.exact_lines >= DECIDED:
                    break  # no other could find more, and equals are decided by the order
            best = max(tallies, key=lambda tally: tally.score)
            if best.score >= DECIDED:
                tallies = [best]
    except lines.UnreadableError as error:
        unreadable = str(error)
    tally = max(tallies, key=lambda tally: tally.score)
    tally.close()
    if unreadable is not None:
        return rejected(Status.FAILED, f"cannot be read: {unreadable}")
    if not tally.score:
        # without a pattern nobody said that it is a run's log
        codes = [] if pattern is None else [Code.MISSING_TOTAL]
        return rejected(*_nothing(file, tally, known), *codes)
    log = Log(file, tally, columns)
    findings = tuple(Finding(run_id, *found) for found in audit_log(log))
    row = log_row(log, values, has_pattern=pattern is not None)
    return Reading(row, findings, log.content(), log.marks())


def _nothing(file: Path, tally: Tally, known: Iterable[LogFormat]) -> tuple[Status, str]:
    """How a run ended that printed no values, and why nothing is known of it."""
    if tally.trouble is not None:
        return tally.trouble.status, f"no values were printed, and: {tally.trouble.line}"
    head = next(lines.blocks(file), (b"", True))[0]
    if not head:
        return Status.INCOMPLETE, "empty file"
    looks = "looks like binary data; " if lines.is_binary(head) else ""
    words = " or ".join(form.name for form in known)
    return Status.FAILED, f"{looks}no line with an epoch or a total in format {words}{tally.hint}"


def _too_slow(form: LogFormat) -> str:
    return (
        f"format {form.name}: its regular expressions need more than {SLOWEST_BLOCK_S} s for a "
        "megabyte; a repeat inside a repeat, such as (a+)+, does that: write (a++)+"
    )


def _batch(run_id: str, pattern: Pattern) -> Finding:
    if "{batch_size_global}" in pattern.text:
        message = "batch sizes in names are of all devices together, as the pattern says"
    else:
        message = (
            "batch sizes in names are taken as per device, in this log and all others; "
            "{batch_size_global} in the pattern says otherwise"
        )
    return Finding(run_id, Severity.INFO, Code.BATCH_SEMANTICS, message)


WORTH_BYTES = 24 * 2**20
"""Of logs for each process: reading them takes about as long as starting one."""


MOST_PROCESSES = 4
"""More would disturb other users of a login node."""


AHEAD = 4
"""Logs that are read, for each process, before the earliest of them is taken."""


LogFile = tuple[Path, str]
"""A log, and its run_id."""


_reader: Callable[..., Reading]


_context: tuple[Any, ...]


def read_parallel(
    read: Callable[..., Reading], jobs: list[LogFile], context: tuple[Any, ...]
) -> Iterator[Reading]:
    """``read(*job, *context)`` of each of ``jobs``, in their order.

    What ``read`` raises is raised here. Where processes cannot be started, or one is killed, this
    process reads the rest.
    """
    count = _process_count([file for file, _ in jobs])
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


def _process_count(files: Sequence[Path]) -> int:
    size = 0
    for file in files:
        try:
            size += file.stat().st_size
        except OSError:
            continue
    cpus = len(os.sched_getaffinity(0))
    return min(MOST_PROCESSES, cpus, len(files), size // WORTH_BYTES)


def _by_processes(
    count: int, read: Callable[..., Reading], jobs: list[LogFile], context: tuple[Any, ...]
) -> Iterator[Reading]:
    # spawned: a fork of a process with threads, such as a progress bar's, may hang
    pool = ProcessPoolExecutor(count, get_context("spawn"), _start_worker, (read, context))
    try:
        waiting: deque[Future[Reading]] = deque()
        rest = iter(jobs)
        while True:
            for job in islice(rest, count * AHEAD - len(waiting)):
                waiting.append(pool.submit(_read_one, job))
            if not waiting:
                return
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _start_worker(read: Callable[..., Reading], context: tuple[Any, ...]) -> None:
    """Set up a worker process. Once, because what formats have cached is not small."""
    global _reader, _context
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles it
    _reader, _context = read, context


def _read_one(job: LogFile) -> Reading:
    return _reader(*job, *_context)
