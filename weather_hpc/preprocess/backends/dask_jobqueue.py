"""Dask's distributed scheduler with workers that are Slurm jobs, one process each, on any nodes.

Chunks are written by position and each has one result, so another worker can repeat what a lost
worker had not finished. Scheduler and workers communicate over TLS only, with a certificate made
for the run.
"""

import contextlib
import logging
import secrets
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TypeVar

import dask
from dask_jobqueue import SLURMCluster
from distributed import Client, Worker, WorkerPlugin, get_worker
from distributed.utils import get_ip

from weather_hpc.dataset.partial import KEPT
from weather_hpc.errors import FailedError, UserError
from weather_hpc.preprocess.backends import worker_jobs, worker_times
from weather_hpc.preprocess.backends.base import Context, worker_lost
from weather_hpc.preprocess.backends.dask import (
    NO_MONITORING,
    ONE_TASK_EACH,
    ordered_map,
    pack_batches,
)
from weather_hpc.preprocess.backends.dask_client import WatchedClient, rank_of
from weather_hpc.preprocess.backends.dask_security import (
    LOOPBACK_HTTP,
    PRIVATE,
    write_certificate,
)
from weather_hpc.preprocess.backends.local import IN_FLIGHT
from weather_hpc.preprocess.chunk import Chunk, ChunkResult, Target, pack_chunk, prepare_worker
from weather_hpc.preprocess.worker import WorkerResult, check_shared
from weather_hpc.runs.clock import since_process_start
from weather_hpc.runs.record import RankInfo
from weather_hpc.slurm.client import SlurmError, unavailable
from weather_hpc.slurm.pending import News, waiting
from weather_hpc.study.tasks import Color, Decoder

P = TypeVar("P")
R = TypeVar("R")

SETTINGS = {
    **PRIVATE,
    **NO_MONITORING,
    **ONE_TASK_EACH,
    "distributed.scheduler.allowed-failures": 3,  # more workers lost by one batch end the run
    "distributed.scheduler.worker-ttl": "60s",  # a failed node sends no message
    "distributed.deploy.lost-worker-timeout": "1s",  # without a nanny it is not restarted
}

QUEUE_S = 3.0
"""How often squeue is called while the workers start."""


class DaskJobqueueBackend:
    """Chunks packed by workers that are Slurm jobs."""

    def __init__(self, context: Context) -> None:
        self._jobs = WorkerJobs(context, KEPT)

    def start(self, workers: int, decoder: Decoder, color: Color = Color.MANAGED) -> list[RankInfo]:
        """Submit ``workers`` jobs and wait until the worker of each is up."""
        return self._jobs.start(workers, partial(prepare_worker, decoder, color))

    def run(self, target: Target, chunks: Sequence[Chunk]) -> Iterator[ChunkResult]:
        """Pack ``chunks``, a batch of them as one task, even if workers are lost."""
        return self._jobs.pack(target, chunks)

    def close(self) -> None:
        """Cancel all jobs and stop the scheduler."""
        self._jobs.close()


class WorkerJobs:
    """Workers that are killed or retire are replaced; their jobs end with the run."""

    def __init__(self, context: Context, advice: str) -> None:
        """``advice``: what to do where all workers are lost."""
        self._slurm = context.site.slurm
        self._advice = advice
        self._context = context
        self._writer = context.writer
        self._open = contextlib.ExitStack()
        self._refused: list[str] = []
        self._submitted: list[str] = []
        """Ids of all jobs, those of replaced workers included."""
        self._keep_logs = False
        self._seen = 0.0
        """When a worker was last seen (monotonic, s)."""
        self._known: dict[str, str] = {}
        """Address by name of the workers that were up at the last check."""

    def start(self, workers: int, prepare: Callable[[int], RankInfo]) -> list[RankInfo]:
        """Submit ``workers`` jobs; what ``prepare(rank)`` returned in each, once all are up.

        Raises UserError where there is no Slurm or it refuses such jobs, FailedError where not
        all workers are up within the site's ``dask_wait_s``.
        """
        if why := unavailable():
            raise UserError(f"backend dask-jobqueue needs Slurm: {why}")
        enter = self._open.enter_context
        enter(_terminate_as_interrupt())
        enter(dask.config.set(SETTINGS))
        self._name = f"whpc-dask-{secrets.token_hex(4)}"
        self._folder = Path(tempfile.mkdtemp(prefix=".dask-", dir=self._context.folder))
        self._open.callback(lambda: worker_jobs.clean_up(self._folder, self._keep_logs))
        self._workers = workers
        try:
            self._cluster = self._make_cluster()
        except RuntimeError as error:  # for example an interface that does not exist
            raise UserError(f"backend dask-jobqueue: {error}") from None
        worker_jobs.check_submission(self._cluster.job_script(), self._folder)
        client = enter(Client(self._cluster, set_as_default=False))
        self._client = WatchedClient(client, self._advice, self._check_workers)
        client.register_plugin(_ExitOnTerm())
        self._writer.event("workers_submitted", job_name=self._name)
        submitted = time.monotonic()
        self._cluster.scale(workers)
        self._wait_for_all()
        return self._ranks(submitted, prepare)

    def pack(self, target: Target, chunks: Sequence[Chunk]) -> Iterator[ChunkResult]:
        """Pack ``chunks``, a batch of them as one task, even if workers are lost."""
        return self._supervised(pack_batches(self._client, _pack, target, chunks, self._workers))

    def map(self, function: Callable[[P], R], parts: Iterable[P]) -> Iterator[R]:
        """``function`` of each of ``parts``, in their order, even if workers are lost."""
        window, task = IN_FLIGHT * self._workers, partial(_with_rank, function)
        return self._supervised(ordered_map(self._client, window, task, parts))

    def _supervised(self, results: Iterator[R]) -> Iterator[R]:
        """``results``; where they end in a failure, it names the workers' logs."""
        try:
            yield from results
        except FailedError as error:
            self._keep_logs = True
            raise FailedError(f"{error}; {self._logs()}") from None
        self._check_workers()

    def close(self) -> None:
        """Cancel all jobs and stop the scheduler."""
        self._open.close()

    def _make_cluster(self) -> SLURMCluster:
        security = write_certificate(self._folder)
        self._open.callback(self._record_jobs)
        self._open.callback(self._cancel)
        interface = self._slurm.interface
        limit_min = self._writer.record.spec.resources.time_limit_min
        options = worker_jobs.job_options(
            self._context.site, self._name, self._folder, security, limit_min
        )
        # otherwise it would listen on all addresses, and tell the workers this one
        place = {"interface": interface} if interface else {"host": get_ip()}
        return self._open.enter_context(
            SLURMCluster(
                name=self._name,
                job_cls=worker_jobs.WorkerJob,
                refused=self._refused,
                submitted=self._submitted,
                security=security,
                protocol="tls://",
                scheduler_options={**LOOPBACK_HTTP, **place},
                silence_logs=logging.CRITICAL,
                **options,
            )
        )

    def _cancel(self) -> None:
        """Make sure that no job is left, even if the cluster could not be closed."""
        try:
            worker_jobs.cancel(self._name)
        except (SlurmError, FailedError) as error:
            advice = f"scancel --name={self._name}"
            verb = self._writer.record.spec.task.kind
            print(f"{verb}: jobs may be left: {advice} ({error})", file=sys.stderr)

    def _record_jobs(self) -> None:
        """Record how long each job took: node-hours are those of the run and of its workers."""
        if self._submitted:
            jobs = worker_times.ended_jobs(self._name, self._submitted)
            with contextlib.suppress(FailedError):  # a full disk is told of by the run
                self._writer.event("worker_jobs_ended", job_name=self._name, jobs=jobs)

    def _up(self) -> dict[str, str]:
        states = list(self._cluster.scheduler.workers.values())
        return {state.name: state.address for state in states}

    def _wait_for_all(self) -> None:
        """Raise FailedError where a job ended or was refused, or not all workers are up in time."""
        started = time.monotonic()
        next_query, news = started + QUEUE_S, News()
        while len(self._up()) < self._workers:
            time.sleep(0.05)
            now = time.monotonic()
            if self._refused:
                raise self._not_all(f": sbatch refused a job: {self._refused[0]}")
            if now < next_query:
                continue
            next_query = now + QUEUE_S
            # jobs are missing only once all have been submitted
            submitted = len(self._cluster.workers) == self._workers
            queued = worker_jobs.in_queue(self._name)
            if submitted and len(queued) < self._workers:
                self._keep_logs = True
                raise self._not_all(f": jobs ended early; {self._logs()}")
            for line in news.lines(waiting(queued), now):
                print(line, file=sys.stderr, flush=True)
            if now - started > self._slurm.dask_wait_s:
                counts = Counter(f"{job.state} {job.reason or ''}".rstrip() for job in queued)
                states = ", ".join(f"{count} x {state}" for state, count in counts.items())
                raise self._not_all(
                    f" within {self._slurm.dask_wait_s} s (the site's dask_wait_s); states of the "
                    f"jobs: {states}"
                )
        self._known, self._seen = self._up(), time.monotonic()

    def _logs(self) -> str:
        """Where the workers' logs are, and what they say went wrong."""
        said = worker_jobs.errors(self._folder)
        return f"the workers' logs{f' ({said})' if said else ''}: {self._folder}"

    def _not_all(self, why: str) -> FailedError:
        return FailedError(f"{len(self._up())} of {self._workers} workers came up{why}")

    def _ranks(self, submitted: float, prepare: Callable[[int], RankInfo]) -> list[RankInfo]:
        """The workers; records how long the last of them waited in the queue."""
        prepared = self._client.run(_prepare, prepare)
        workers = prepared.values()
        self._client.ranks = {address: info for address, (info, _) in prepared.items()}
        # from ages of processes, not from times of day: the nodes' clocks differ
        youngest = min(age for _, age in workers)
        waited = max(0.0, time.monotonic() - submitted - youngest)
        self._writer.record.phases.queue = waited
        self._writer.event("workers_queued", job_name=self._name, queue_s=round(waited, 3))
        return sorted((info for info, _ in workers), key=lambda info: info.rank)

    def _check_workers(self) -> None:
        """Record lost workers, request replacements, fail where no worker is left."""
        now = self._up()
        for name, address in self._known.items():
            if now.get(name) != address:
                self._writer.record.provenance.restarts += 1
                self._writer.event(
                    "worker_lost", rank=rank_of(name), address=address, left=len(now)
                )
        for name, address in now.items():
            if self._known.get(name) != address:
                self._writer.event("worker_came", rank=rank_of(name), address=address)
        if now:
            self._seen = time.monotonic()
        self._known = now
        if len(now) < self._workers:
            self._cluster.scale(self._workers)
        if not now and time.monotonic() - self._seen > self._slurm.dask_wait_s:
            refused = f"; sbatch refused: {self._refused[-1]}" if self._refused else ""
            cause = f"none is left, and none came up within {self._slurm.dask_wait_s} s{refused}"
            raise worker_lost(self._advice, cause)


class _ExitOnTerm(WorkerPlugin):  # type: ignore[misc]
    """Workers exit immediately on SIGTERM: they hold nothing.

    Dask would clean up first, and hangs if the scheduler closes the worker at that moment.
    """

    def setup(self, worker: Worker) -> None:
        """On each worker, in its main thread, before its first chunk."""
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


@contextlib.contextmanager
def _terminate_as_interrupt() -> Iterator[None]:
    """Within the block SIGTERM, as sent by scancel, acts as Ctrl-C: jobs are cancelled on exit."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _prepare(prepare: Callable[[int], RankInfo], dask_worker: Worker) -> tuple[RankInfo, float]:
    """On a worker: itself as a rank, and the age of its process, s."""
    return prepare(rank_of(dask_worker.name)), since_process_start()


def _with_rank(function: Callable[[P], R], part: P) -> R:
    """On a worker: ``function(part)``, with the worker's rank where the result has a place."""
    result = function(part)
    if isinstance(result, WorkerResult):
        return replace(result, rank=rank_of(get_worker().name))
    return result


def _pack(target: Target, chunk: Chunk) -> ChunkResult:
    """On a worker: :func:`pack_chunk`. Raises FailedError where the node lacks the folders:
    otherwise every image would count as damaged."""
    check_shared(target.root, target.pixels)
    return _with_rank(partial(pack_chunk, target), chunk)
