"""How a run fails, and how all its ranks come to know.

A rank that waits for another one that has failed would wait for ever under NCCL, or until somebody
kills it, and rank 0 would write down how that looked from its place. So the rank that fails first
says why in the store at which the ranks met. Every rank looks there twice a second, in a thread of
its own, and ends as soon as it finds something, whatever its main thread waits for; rank 0 writes
the first rank's reason into the record.
"""

import json
import os
import re
import signal
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass

import torch

from weather_hpc.cli import EXIT_FAILED
from weather_hpc.runs.proc import is_running
from weather_hpc.runs.record import Status
from weather_hpc.text import one_line
from weather_hpc.train.ranks import Ranks

LOOK_EVERY_S = 0.5
LET_GO_S = 3.0
"""How long a rank may be gone before that is taken for a failure."""

ENDS_WITHIN_S = 10
"""A rank that has told why it fails is given so long to end by itself."""

_MEMORY = re.compile(r"out of memory|can't allocate memory|ALLOC_FAILED", re.IGNORECASE)
"""How CUDA, cuBLAS, cuDNN, NCCL and the CPU's allocator say it, each by an error of its own."""


def out_of_memory(error: BaseException) -> BaseException | None:
    """The lack of memory that ``error`` is, or comes from; None where it is something else.

    What fails for want of memory may fail again while it is taken down, by another error, which
    then hides the first.
    """
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, (torch.OutOfMemoryError, MemoryError)):
            return seen
        if isinstance(seen, RuntimeError) and _MEMORY.search(str(seen)):
            return seen
        seen = seen.__cause__ or seen.__context__
    return None


@dataclass(frozen=True)
class Failure:
    """Why a run has failed."""

    status: Status
    reason: str
    """In one line; of several ranks it names the one, and its host."""
    rank: int

    @classmethod
    def of(cls, error: BaseException, rank: int, ranks: int) -> "Failure":
        """What ``error``, of one rank of several or of the only one, means for the run."""
        memory = out_of_memory(error)
        text = one_line(memory or error)
        kind = type(memory or error).__name__
        status = Status.OUT_OF_MEMORY if memory else Status.FAILED
        told = text if memory and text else f"{kind}: {text}" if text else kind
        where = f"rank {rank} on {socket.gethostname()}: " if ranks > 1 else ""
        return cls(status, where + told, rank)

    def to_json(self) -> str:
        """As the store keeps it."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str | bytes) -> "Failure":
        """The failure that :meth:`to_json` wrote."""
        told = json.loads(text)
        return cls(Status(told["status"]), told["reason"], told["rank"])


class FailureWatch:
    """One rank's eye on the others; a rank that is alone has nothing to watch, and no thread."""

    def __init__(self, ranks: Ranks, on_failure: Callable[[Failure], None]) -> None:
        """``on_failure`` is told another rank's, in the watching thread; then this process ends."""
        self.rank = ranks.env.rank
        self.ranks = ranks.env.world_size
        others = [rank for rank in ranks.on_this_host if rank != ranks.own]
        self._neighbours = [rank for rank in others if is_running(rank.pid)]
        self._missed: dict[int, float] = {}
        """When a neighbour was first found gone."""
        self._on_failure = on_failure
        self._over = threading.Event()
        # a connection of its own: the main thread may wait in the other one for long
        self._store = ranks.second_connection()

    def __enter__(self) -> "FailureWatch":
        if self._store is not None:
            threading.Thread(target=self._watch, name="failure-watch", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()

    def report(self, error: BaseException) -> Failure:
        """Say that this rank fails with ``error``; the failure that came first, of any rank.

        This process then ends within seconds, also where something in it waits for other ranks: a
        process group that is let go of, say.
        """
        self._over.set()
        own = Failure.of(error, self.rank, self.ranks)
        if self._store is None:
            return own
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(ENDS_WITHIN_S)
        try:
            return self._first(self._lost(time.monotonic()) or own)
        except RuntimeError:  # the store's server has gone
            return own

    def _watch(self) -> None:
        while not self._over.wait(LOOK_EVERY_S):
            try:
                found = self._look()
            except RuntimeError:  # the launcher has gone, which takes its ranks with it
                return
            if found is not None and not self._over.is_set():
                self._on_failure(found)
                os._exit(EXIT_FAILED)

    def _look(self) -> Failure | None:
        """The failure that came first, if there is one by now."""
        if self._store.check([_key()]):
            return Failure.from_json(self._store.get(_key()))
        # one that is gone may have ended well, while this rank is at its last words
        lost = self._lost(time.monotonic() - LET_GO_S)
        return None if lost is None else self._first(lost)

    def _lost(self, before: float) -> Failure | None:
        """A neighbour that was found gone ``before`` that time, s, and has told nobody why."""
        for rank in self._neighbours:
            if not is_running(rank.pid):
                since = self._missed.setdefault(rank.rank, time.monotonic())
                if since <= before:
                    text = f"rank {rank.rank} on {rank.host}: exited without an error message, "
                    killed = "as if killed by hand or for want of memory on the host"
                    return Failure(Status.FAILED, text + killed, rank.rank)
        return None

    def _first(self, found: Failure) -> Failure:
        """What stands in the store: ``found``, unless there is something already."""
        return Failure.from_json(self._store.compare_set(_key(), "", found.to_json()))


def _key() -> str:
    """Where the first failure stands in the store, which torchrun keeps if it starts ranks anew."""
    return f"weather_hpc/first_failure/{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}"
