"""How a run fails, and how all its ranks get to know.

A rank that waits for a failed one would wait for ever under NCCL, or until it is killed, and rank 0
would record only that. So the rank that fails first writes the reason to the store at which the
ranks met. A thread of every rank polls it twice a second and, on a failure, ends its process,
whatever the main thread waits for; rank 0 writes the first failure into the record.
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

POLL_S = 0.5
EXIT_GRACE_S = 3.0
"""How long after its exit a rank without a reported failure counts as failed."""

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
    """Watches the other ranks for failures, in a thread; a single rank needs none."""

    def __init__(self, ranks: Ranks, on_failure: Callable[[Failure], None]) -> None:
        """``on_failure`` gets another rank's failure, in the thread; then this process ends."""
        self.rank = ranks.env.rank
        self.ranks = ranks.env.world_size
        others = [rank for rank in ranks.on_this_host if rank != ranks.own]
        self._local_ranks = [rank for rank in others if is_running(rank.pid)]
        self._missed: dict[int, float] = {}
        """When a rank of this host was first found to have exited, s."""
        self._on_failure = on_failure
        self._over = threading.Event()
        # a second connection: the main thread may block the first one for long
        self._store = ranks.second_connection()

    def __enter__(self) -> "FailureWatch":
        if self._store is not None:
            threading.Thread(target=self._watch, name="failure-watch", daemon=True).start()
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
            return self._first(self._exited(time.monotonic()) or own)
        except RuntimeError:  # the store's server has ended
            return own

    def _watch(self) -> None:
        while not self._over.wait(POLL_S):
            try:
                failure = self._poll()
            except RuntimeError:  # the launcher has ended and will end its ranks
                return
            if failure is not None and not self._over.is_set():
                self._on_failure(failure)
                os._exit(EXIT_FAILED)

    def _poll(self) -> Failure | None:
        """The first failure, if there is one by now."""
        if self._store.check([_key()]):
            return Failure.from_json(self._store.get(_key()))
        # it may have ended well, while this rank is still about to
        exited = self._exited(time.monotonic() - EXIT_GRACE_S)
        return None if exited is None else self._first(exited)

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
        return Failure.from_json(self._store.compare_set(_key(), "", failure.to_json()))


def _key() -> str:
    """The first failure's key in the store, which torchrun keeps when it restarts ranks."""
    return f"weather_hpc/first_failure/{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}"
