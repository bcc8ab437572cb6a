"""How a run fails, and how all its ranks get to know.

A rank that waits for a failed one would wait for ever under NCCL, or until it is killed, and rank 0
would record only that. So the rank that fails first writes the reason to the store at which the
ranks met. A thread of every rank polls it twice a second and, on a failure, ends its process,
whatever the main thread waits for; rank 0 writes the first failure into the record.

The same threads tell each other what their ranks are doing. Once no rank has moved for the time-out
of :func:`~weather_hpc.train.exchange.rank_timeout_s`, the run fails, naming the one that keeps the
others waiting.
"""

import json
import os
import re
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any

import torch

from weather_hpc.cli import EXIT_FAILED
from weather_hpc.runs.proc import is_running
from weather_hpc.runs.record import Status
from weather_hpc.text import one_line
from weather_hpc.train.exchange import (
    FAILURE_SEEN,
    FIRST_FAILURE,
    RANK_TIMEOUT,
    key,
    rank_timeout_s,
)
from weather_hpc.train.progress import Judge, Progress, Sign, named
from weather_hpc.train.ranks import Ranks, TorchrunEnv, second_connection

POLL_S = 0.5
EXIT_GRACE_S = 3.0
"""How long after its exit a rank without a reported failure counts as failed."""

BEAT_S = 2.0
"""How often a rank tells what it is doing, where the time-out is not short."""

SILENT_BEATS = 2
"""After an error about a lost connection a rank that is silent for so many beats has gone."""

END_TIMEOUT_S = 10
"""Time for a rank that has reported its failure to end by itself."""

_MEMORY = re.compile(r"out of memory|can't allocate memory|ALLOC_FAILED", re.IGNORECASE)
"""Messages of CUDA, cuBLAS, cuDNN, NCCL and the CPU's allocator."""


def out_of_memory(error: BaseException) -> BaseException | None:
    """The out-of-memory error that ``error`` is or was caused by; None where there is none.

    Cleaning up after such an error may raise another one, which then hides the first.
    """
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, (torch.OutOfMemoryError, MemoryError)):
            return seen
        if isinstance(seen, RuntimeError) and _MEMORY.search(str(seen)):
            return seen
        seen = seen.__cause__ or seen.__context__
    return None


_LOST = re.compile(
    r"closed by peer|reset by peer|broken pipe|socket closed|lost the connection|"
    r"remote process exited|unhandled system error|timed out",
    re.IGNORECASE,
)
"""Messages of gloo, NCCL and :mod:`weather_hpc.train.strategies.distributed` where another rank
has gone."""


@dataclass(frozen=True)
class Failure:
    """Why a run has failed."""

    status: Status
    reason: str
    """In one line; of several ranks it names the failed one and its host."""
    rank: int

    @classmethod
    def of(cls, error: BaseException, rank: int, ranks: int) -> "Failure":
        """The failure of ``rank``, of ``ranks``, with ``error``."""
        memory = out_of_memory(error)
        text = one_line(memory or error)
        kind = type(memory or error).__name__
        status = Status.OUT_OF_MEMORY if memory else Status.FAILED
        reason = text if memory and text else f"{kind}: {text}" if text else kind
        where = f"rank {rank} on {socket.gethostname()}: " if ranks > 1 else ""
        return cls(status, where + reason, rank)

    def to_json(self) -> str:
        """As stored."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str | bytes) -> "Failure":
        """The failure that :meth:`to_json` wrote."""
        values = json.loads(text)
        return cls(**values | {"status": Status(values["status"])})


class FailureWatch:
    """Watches the other ranks for failures, in a thread; a single rank needs none.

    Its times count only while it runs itself: a job that is suspended for an hour as a whole, and
    then continued, has not stood still.
    """

    def __init__(
        self,
        ranks: Ranks,
        on_failure: Callable[[Failure], None],
        progress: Progress | None = None,
        store: Any = None,
    ) -> None:
        """``on_failure`` gets another rank's failure, in the thread; then this process ends.

        ``progress``: what this rank tells the others. ``store``: instead of a second connection.
        Raises UserError for a time-out that is not a number.
        """
        self.rank = ranks.env.rank
        self.ranks = ranks.env.world_size
        self.host = ranks.own.host
        others = [rank for rank in ranks.on_this_host if rank != ranks.own]
        self._local_ranks = [rank for rank in others if is_running(rank.pid)]
        self._missed: dict[int, float] = {}
        """When a rank of this host was first found to have exited, s."""
        self._on_failure = on_failure
        self._progress = progress or Progress()
        self._over = threading.Event()
        self._limit_s = limit_s = rank_timeout_s()
        self._judge = Judge(limit_s)
        for rank in ranks.all:
            self._judge.see(rank.rank, Sign.before_any(rank.host), 0.0)
        self._beat_s = min(BEAT_S, limit_s / 10)
        # all ranks read all: with many, less often
        self._reading_s = max(self._beat_s, limit_s / 60, 0.05 * self.ranks)
        self._beats = 0
        self._unanswered_s = 0.0
        """How long the store has not answered by now, s."""
        self._launcher = os.getppid()
        # a second connection: the main thread may block the first one for long
        self._store: Any = store or (ranks.second_connection() if self.ranks > 1 else None)

    def __enter__(self) -> "FailureWatch":
        if self._store is not None:
            for name, loop in (("failure-watch", self._watch), ("store-watch", self._watch_store)):
                threading.Thread(target=loop, name=name, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()

    def report(self, error: BaseException) -> Failure:
        """Report that this rank fails with ``error``; returns the first failure of any rank.

        This process then ends within seconds, even where something in it waits for other ranks,
        such as the destruction of a process group.
        """
        self._over.set()
        own = Failure.of(error, self.rank, self.ranks)
        if self._store is None:
            return own
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(END_TIMEOUT_S)
        try:
            failure = self._exited(time.monotonic())
            if failure is None and _LOST.search(str(error)):
                failure = self._gone(own)
            return self._first(failure or own)
        except RuntimeError:  # the store's server has ended
            return own

    def _watch(self) -> None:
        watched_s = next_beat_s = next_reading_s = 0.0
        last_s = time.monotonic()
        while not self._over.wait(POLL_S if self._beat_s > POLL_S else self._beat_s):
            now_s = time.monotonic()
            watched_s += min(now_s - last_s, 4 * POLL_S)
            last_s = now_s
            try:
                failure = self._poll()
                if watched_s >= next_beat_s:
                    self._tell()
                    next_beat_s = watched_s + self._beat_s
                if failure is None and watched_s >= next_reading_s:
                    self._read(watched_s)
                    failure = self._standstill(watched_s)
                    next_reading_s = watched_s + self._reading_s
            except RuntimeError:  # does not answer; _watch_store counts how long
                continue
            self._unanswered_s = 0.0
            self._end(failure)

    def _watch_store(self) -> None:
        """End this process where the launcher has ended, or its store does not answer for long."""
        last_s = time.monotonic()
        while not self._over.wait(POLL_S):
            now_s = time.monotonic()
            self._unanswered_s += min(now_s - last_s, 4 * POLL_S)
            last_s = now_s
            where = f"rank {self.rank} on {self.host}: "
            if os.getppid() != self._launcher:
                text = f"{where}torchrun, which started it, was killed"
            elif self._unanswered_s > self._limit_s:
                server = os.environ.get("MASTER_ADDR", "rank 0's node")
                text = f"{where}the launcher on {server}, where ranks meet, has not answered for "
                text += f"{self._unanswered_s:.0f} s ({RANK_TIMEOUT}={self._limit_s:g})"
            else:
                continue
            self._end(Failure(Status.FAILED, text, self.rank))

    def _end(self, failure: Failure | None) -> None:
        """End this process with ``failure``, if there is one."""
        if failure is not None and not self._over.is_set():
            self._on_failure(failure)
            if self.rank == (1 if failure.rank == 0 else 0):
                print(f"train: {failure.reason}", file=sys.stderr, flush=True)
            os._exit(EXIT_FAILED)

    def _poll(self) -> Failure | None:
        """The first failure, if there is one by now."""
        if self._store.check([key(FIRST_FAILURE)]):
            return Failure.from_json(self._store.get(key(FIRST_FAILURE)))
        # it may have ended well, while this rank is still about to
        exited = self._exited(time.monotonic() - EXIT_GRACE_S)
        return None if exited is None else self._first(exited)

    def _tell(self) -> None:
        """Tell the others what this rank is doing."""
        self._beats += 1
        sign = Sign.of(self._progress, self.host, self._beats)
        self._store.set(key(f"sign/{self.rank}"), json.dumps(asdict(sign)))

    def _read(self, now_s: float) -> None:
        """Read what all ranks are doing."""
        for rank in range(self.ranks):
            name = key(f"sign/{rank}")
            if self._judge.signs[rank].beat or self._store.check([name]):
                values = json.loads(self._store.get(name))
                sign = Sign(**values | {"moved": tuple(values["moved"])})
                self._judge.see(rank, sign, now_s)

    def _standstill(self, now_s: float) -> Failure | None:
        verdict = self._judge.verdict(now_s)
        if verdict is None:
            return None
        rank, text = verdict
        return self._first(Failure(Status.FAILED, text, rank))

    def _gone(self, own: Failure) -> Failure | None:
        """The failure of ranks of other hosts that are silent, with ``own``, their consequence."""
        signs = self._judge.signs
        self._read(0.0)
        before = dict(signs)
        for _ in range(SILENT_BEATS):
            self._tell()  # in place of the watch, which has ended
            time.sleep(self._beat_s)
        self._tell()
        self._read(0.0)
        silent = [rank for rank, sign in before.items() if signs[rank].beat == sign.beat]
        if not silent:
            return None
        text = f"{named(silent, signs)}: ended or cut off; {own.reason}"
        return Failure(Status.FAILED, text, silent[0])

    def _exited(self, before: float) -> Failure | None:
        """A rank of this host that exited ``before`` that time, s, without reporting why."""
        for rank in self._local_ranks:
            if not is_running(rank.pid):
                since = self._missed.setdefault(rank.rank, time.monotonic())
                if since <= before:
                    text = f"rank {rank.rank} on {rank.host}: exited without an error message, "
                    killed = "probably killed, by a user or for lack of host memory"
                    return Failure(Status.FAILED, text + killed, rank.rank)
        return None

    def _first(self, failure: Failure) -> Failure:
        """The failure in the store: ``failure``, unless there is one already."""
        return _first_in(self._store, failure)


def _first_in(store: Any, failure: Failure) -> Failure:
    return Failure.from_json(store.compare_set(key(FIRST_FAILURE), "", failure.to_json()))


def tell_waiting_ranks(env: TorchrunEnv, error: BaseException) -> None:
    """Tell the other ranks, which wait for this one to arrive, that it fails with ``error``.

    Returns once rank 0 knows, which writes it down: torchrun ends all ranks after the first.
    """
    with suppress(RuntimeError, OSError):  # no store: torchrun has ended
        store = second_connection()
        _first_in(store, Failure.of(error, env.rank, env.world_size))
        if env.rank == 0:
            store.set(key(FAILURE_SEEN), "1")
        deadline = time.monotonic() + END_TIMEOUT_S
        while not store.check([key(FAILURE_SEEN)]) and time.monotonic() < deadline:
            time.sleep(POLL_S)
