"""Dask's distributed scheduler with workers that are Slurm jobs, one process each, on any nodes.

Chunks are written by position and each has one result, so what a lost worker was at is simply
done again by another. Scheduler and workers talk over TLS only, with a certificate
made for the run.
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
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import dask
from dask_jobqueue import SLURMCluster
from distributed import Client, Worker, WorkerPlugin, get_worker

from weather_hpc.dataset.partial import KEPT
from weather_hpc.errors import FailedError, UserError
from weather_hpc.preprocess.backends import worker_jobs
from weather_hpc.preprocess.backends.base import Context, worker_lost
from weather_hpc.preprocess.backends.dask import ONE_EACH, QUIET_SCHEDULER, UNWATCHED, results
from weather_hpc.preprocess.chunk import Chunk, ChunkResult, Target, introduce, pack_chunk
from weather_hpc.runs.clock import since_process_start
from weather_hpc.runs.provenance import node_name
from weather_hpc.runs.record import RankInfo
from weather_hpc.slurm.client import SlurmError, unavailable
from weather_hpc.study.spec import Decoder

SETTINGS = {
    **UNWATCHED,
    **ONE_EACH,
    "distributed.scheduler.allowed-failures": 3,  # a batch that costs more workers ends the run
    "distributed.scheduler.worker-ttl": "60s",  # a node that is gone says nothing
    "distributed.deploy.lost-worker-timeout": "1s",  # without a nanny it will not come back
}

QUEUE_S = 3.0
"""How often the queue is asked while workers are awaited."""


class DaskJobqueueBackend:
    """Workers are replaced when they are killed or retire; their jobs end with the run."""

    def __init__(self, context: Context) -> None:
        self._slurm = context.site.slurm
        self._context = context
        self._writer = context.writer
        self._open = contextlib.ExitStack()
        self._refused: list[str] = []
        self._keep_logs = False
        self._seen = 0.0
        """When a worker was last seen (monotonic, s)."""
        self._standing: dict[str, str] = {}
        """Address by name of the workers that stand, as last seen."""

    def start(self, workers: int, decoder: Decoder) -> list[RankInfo]:
        """Submit ``workers`` jobs and wait until a worker stands in each.

        Raises UserError where there is no Slurm or it refuses such jobs, FailedError where not
        all stand in the time that the site gives them.
        """
        if why := unavailable():
            raise UserError(f"backend dask-jobqueue needs Slurm: {why}")
        enter = self._open.enter_context
        enter(_terminate_as_interrupt())
        enter(dask.config.set(SETTINGS))
        self._name = f"whpc-dask-{secrets.token_hex(4)}"
        self._folder = Path(tempfile.mkdtemp(prefix=".dask-", dir=self._context.folder))
        self._open.callback(lambda: worker_jobs.tidy(self._folder, self._keep_logs))
        self._workers = workers
        try:
            self._cluster = self._make_cluster()
        except RuntimeError as error:  # such as an interface that is not there
            raise UserError(f"backend dask-jobqueue: {error}") from None
        worker_jobs.check_submission(self._cluster.job_script(), self._folder)
        self._client = enter(Client(self._cluster, set_as_default=False))
        self._client.register_plugin(_EndAtOnce())
        submitted = time.monotonic()
        self._cluster.scale(workers)
        self._wait_for_all()
        return self._introductions(submitted, decoder)

    def run(self, target: Target, chunks: Sequence[Chunk]) -> Iterator[ChunkResult]:
        """Pack ``chunks``, a batch of them as one task, whatever becomes of single workers."""
        try:
            yield from results(self._client, _pack, target, chunks, self._workers, self._look)
        except FailedError as error:
            self._keep_logs = True
            raise FailedError(f"{error}; the workers' logs: {self._folder}") from None
        self._look()

    def close(self) -> None:
        """Cancel all jobs and stop the scheduler."""
        self._open.close()

    def _make_cluster(self) -> SLURMCluster:
        security = worker_jobs.write_certificate(self._folder)
        self._open.callback(self._cancel)
        limit_min = self._writer.record.spec.resources.time_limit_min
        options = worker_jobs.job_options(
            self._context.site, self._name, self._folder, security, limit_min
        )
        return self._open.enter_context(
            SLURMCluster(
                name=self._name,
                job_cls=worker_jobs.WorkerJob,
                refused=self._refused,
                security=security,
                protocol="tls://",
                scheduler_options={**QUIET_SCHEDULER, "interface": self._slurm.interface},
                silence_logs=logging.CRITICAL,
                **options,
            )
        )

    def _cancel(self) -> None:
        """Make sure that no job stays behind, also where the cluster could not be closed."""
        try:
            worker_jobs.cancel(self._name)
        except (SlurmError, FailedError) as error:
            advice = f"scancel --name={self._name}"
            print(f"preprocess: jobs may be left: {advice} ({error})", file=sys.stderr)

    def _now_standing(self) -> dict[str, str]:
        states = list(self._cluster.scheduler.workers.values())
        return {state.name: state.address for state in states}

    def _wait_for_all(self) -> None:
        """Raise FailedError where a job cannot come, or not all stand in time."""
        started = time.monotonic()
        next_question = started + QUEUE_S
        while len(self._now_standing()) < self._workers:
            time.sleep(0.05)
            now = time.monotonic()
            if self._refused:
                raise self._not_all(f": sbatch refused a job: {self._refused[0]}")
            if now < next_question:
                continue
            next_question = now + QUEUE_S
            # all have been submitted before any is missed
            submitted = len(self._cluster.workers) == self._workers
            queued = worker_jobs.in_queue(self._name)
            if submitted and len(queued) < self._workers:
                self._keep_logs = True
                raise self._not_all(f": jobs ended early; their logs: {self._folder}")
            if now - started > self._slurm.dask_wait_s:
                told = ", ".join(f"{count} x {what}" for what, count in Counter(queued).items())
                raise self._not_all(
                    f" within {self._slurm.dask_wait_s} s (the site's dask_wait_s); squeue said of "
                    f"the jobs: {told}"
                )
        self._standing, self._seen = self._now_standing(), time.monotonic()

    def _not_all(self, why: str) -> FailedError:
        return FailedError(f"{len(self._now_standing())} of {self._workers} workers came up{why}")

    def _introductions(self, submitted: float, decoder: Decoder) -> list[RankInfo]:
        """Who the workers are; notes how long the last of them waited in the queue."""
        came = self._client.run(_introduce, decoder)
        # from ages, not from times of day: nodes' clocks differ
        youngest = min(age for _, age in came.values())
        waited = max(0.0, time.monotonic() - submitted - youngest)
        self._writer.record.phases.queue = waited
        self._writer.event("workers_queued", job_name=self._name, queue_s=round(waited, 3))
        return sorted((info for info, _ in came.values()), key=lambda info: info.rank)

    def _look(self) -> None:
        """Note lost workers, ask for others in their place, give up where none is left."""
        now = self._now_standing()
        for name, address in self._standing.items():
            if now.get(name) != address:
                self._writer.record.provenance.restarts += 1
                self._writer.event("worker_lost", rank=_rank(name), address=address, left=len(now))
        for name, address in now.items():
            if self._standing.get(name) != address:
                self._writer.event("worker_came", rank=_rank(name), address=address)
        if now:
            self._seen = time.monotonic()
        self._standing = now
        if len(now) < self._workers:
            self._cluster.scale(self._workers)
        if not now and time.monotonic() - self._seen > self._slurm.dask_wait_s:
            refused = f"; sbatch refused: {self._refused[-1]}" if self._refused else ""
            cause = f"none is left, and none came within {self._slurm.dask_wait_s} s{refused}"
            raise worker_lost(KEPT, cause)


class _EndAtOnce(WorkerPlugin):  # type: ignore[misc]
    """A worker that is told to end does so: it holds nothing.

    Dask would tidy up first, and hangs where the scheduler closes the worker in that moment.
    """

    def setup(self, worker: Worker) -> None:
        """On each worker, in its main thread, before its first chunk."""
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


@contextlib.contextmanager
def _terminate_as_interrupt() -> Iterator[None]:
    """Within the block a TERM, as of scancel, is a Ctrl-C: jobs are cancelled on the way out."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _rank(name: Any) -> int:
    """A worker's number: its replacement has the same name."""
    return int(str(name).rsplit("-", 1)[-1])


def _introduce(decoder: Decoder, dask_worker: Worker) -> tuple[RankInfo, float]:
    """On a worker: who it is, and for how long its process has been there, s."""
    return introduce(decoder, _rank(dask_worker.name)), since_process_start()


def _pack(target: Target, chunk: Chunk) -> ChunkResult:
    """On a worker: :func:`pack_chunk`. Raises FailedError where the node lacks the folders, or
    every image would be taken for a broken one."""
    for path in (target.root, target.pixels):
        if not path.exists():
            raise FailedError(
                f"{path} is not there on {node_name()}: images and store must be in folders "
                "that all nodes share"
            )
    return replace(pack_chunk(target, chunk), rank=_rank(get_worker().name))
