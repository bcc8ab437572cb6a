"""A client of a Dask cluster which waits for no worker without limit."""

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import Any

from distributed import Client, Future, KilledWorker, Nanny

from weather_hpc.errors import FailedError
from weather_hpc.preprocess.backends.base import KILLED, worker_lost
from weather_hpc.preprocess.backends.stall import Owing, Silence, part_text
from weather_hpc.runs.ending import exit_text
from weather_hpc.runs.provenance import node_name
from weather_hpc.runs.record import RankInfo

CHECK_S = 1.0
"""How often, at most, it is looked at whether workers go on."""

EXIT_S = 1.0
"""How long the exit code of a killed worker is waited for."""


class WatchedClient:
    """A client, its workers, and what they were sent.

    They go on while the scheduler's count of changes of tasks grows: that is a number in this
    process, whoever waits for what.
    """

    def __init__(
        self, client: Client, advice: str, replace: Callable[[], None] | None = None
    ) -> None:
        """``advice``: what to do where a worker is lost. ``replace`` is called at every check where
        lost workers are replaced; it decides how long a run without any worker waits, too.

        Raises UserError where the variable of the time-out does not hold seconds.
        """
        self.client, self.advice, self._replace = client, advice, replace
        self.ranks: dict[str, RankInfo] = {}
        """Workers by address, as far as they have told."""
        self.parts: dict[str, Sequence[object]] = {}
        """What tasks have to compute, by key, where a task is more than part of an expression."""
        self._silence = Silence()
        self._changes = -1
        self.check_s = min(CHECK_S, self._silence.poll_s)

    def check(self) -> None:
        """To be called at least every :attr:`check_s` while a result is waited for.

        Raises FailedError where workers have given none for too long. Dask, when it is closed,
        kills those that do not end.
        """
        scheduler = self.client.cluster.scheduler
        if self._replace is not None:
            self._replace()
        changes = scheduler.transition_counter
        if changes != self._changes or (self._replace is not None and not scheduler.workers):
            self._changes = changes
            self._silence.end()
        if self._silence.too_long():
            raise self._silence.error(self._owing(), self.advice)

    def wait(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """What ``coroutine``, on the client's loop, returns. Raises what it raises, KilledWorker
        as FailedError, and what :meth:`check` raises."""
        self._silence.end()
        future = asyncio.run_coroutine_threadsafe(coroutine, self.client.loop.asyncio_loop)
        try:
            while True:
                try:
                    return future.result(timeout=self.check_s)
                except TimeoutError:  # raised by the coroutine, too
                    if future.done():
                        return future.result()
                    self.check()
        except KilledWorker as killed:
            raise self.lost(killed) from None

    def gather(self, futures: Iterable[Future]) -> Any:
        """The results of ``futures``. Raises as :meth:`wait`."""

        async def gather() -> Any:
            return await self.client.gather(list(futures), asynchronous=True)

        return self.wait(gather())

    def run(self, function: Callable[..., Any], *arguments: object) -> dict[str, Any]:
        """What ``function`` returns in each worker, by address. Raises as :meth:`wait`."""

        async def run() -> Any:
            return await self.client.run(function, *arguments, asynchronous=True)

        answers: dict[str, Any] = self.wait(run())
        return answers

    def lost(self, killed: KilledWorker) -> FailedError:
        """The error for the worker that a task was lost with, with its end where that is known."""
        worker = killed.last_worker
        who = f"pid {worker.pid} on {self._host(worker)}"
        nanny = self.client.cluster.workers.get(worker.name)
        code = None
        deadline = time.monotonic() + EXIT_S
        while isinstance(nanny, TellingNanny) and code is None and time.monotonic() < deadline:
            time.sleep(0.01)
            code = nanny.exit_code
        cause = KILLED if code is None else exit_text(code)
        return worker_lost(self.advice, f"{who}: {cause}")

    def _owing(self) -> list[Owing]:
        """The workers that have a task; where none has, all: one of them holds its result."""
        workers = list(self.client.cluster.scheduler.workers.values())
        busy = [worker for worker in workers if worker.processing]
        return [self._owes(worker) for worker in busy or workers]

    def _owes(self, worker: Any) -> Owing:
        sent = [self.parts[task.key] for task in list(worker.processing) if task.key in self.parts]
        part = part_text(part for parts in sent for part in parts) if sent else ""
        info = self.ranks.get(worker.address)
        rank = rank_of(worker.name) if info is None else info.rank
        return Owing(rank, self._host(worker), worker.pid, part)

    def _host(self, worker: Any) -> str:
        if worker.address in self.ranks:
            return self.ranks[worker.address].host
        return node_name() if worker.host == "127.0.0.1" else str(worker.host)


class TellingNanny(Nanny):  # type: ignore[misc]
    """Keeps how its worker ended, which Dask only logs."""

    exit_code: int | None = None
    """Of the last worker process that ended; negative: by that signal."""

    def _on_worker_exit_sync(self, exitcode: int) -> None:
        self.exit_code = exitcode
        super()._on_worker_exit_sync(exitcode)


def rank_of(name: Any) -> int:
    """A worker's rank from its name; a replacement has the same name."""
    return int(str(name).rsplit("-", 1)[-1])
