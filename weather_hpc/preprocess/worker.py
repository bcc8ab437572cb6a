"""A worker process: what it reports of itself, alone and with each result."""

import gc
import os
import sys
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from weather_hpc.errors import FailedError
from weather_hpc.runs.proc import memory_peak_mb
from weather_hpc.runs.provenance import node_name
from weather_hpc.runs.record import Actual, RankInfo, RunRecord
from weather_hpc.study.tasks import WorkerTask


@dataclass(frozen=True, kw_only=True)
class WorkerResult:
    """Base of what a worker returns for a part of the work; made in the worker."""

    images: int
    """Number of images in the part."""
    pid: int = field(default_factory=os.getpid)
    host: str = field(default_factory=node_name)
    memory_peak_mb: float | None = field(default_factory=memory_peak_mb)
    busy_s: float | None = None
    """Seconds that the worker took for the part; None: not measured."""
    rank: int | None = None
    """The worker's rank, where lost workers are replaced under the same rank."""

    def without_content(self) -> "WorkerResult":
        """What :func:`record_workers` needs of it."""
        return WorkerResult(
            images=self.images,
            pid=self.pid,
            host=self.host,
            memory_peak_mb=self.memory_peak_mb,
            busy_s=self.busy_s,
            rank=self.rank,
        )


def check_shared(*paths: Path) -> None:
    """Raise FailedError where this node lacks one of ``paths``."""
    for path in paths:
        if not path.exists():
            raise FailedError(
                f"{path} does not exist on {node_name()}: images and store must be in folders "
                "that all nodes share"
            )


def ready_with(paths: Sequence[Path], rank: int) -> RankInfo:
    """As :func:`ready`, where this node has all ``paths``; FailedError where it lacks one."""
    check_shared(*paths)
    return ready(rank)


def ready(rank: int = 0) -> RankInfo:
    """This process, with everything imported, as a worker of ``rank`` with one thread."""
    # Imported objects stay. Otherwise the garbage collector scans them all once during the work,
    # which costs as much as fifty images.
    gc.freeze()
    return RankInfo(
        rank=rank,
        host=node_name(),
        pid=os.getpid(),
        device="cpu",
        cpus=sorted(os.sched_getaffinity(0)),
        threads=1,
    )


def warn_of_few_cpus(task: WorkerTask) -> None:
    """Print a warning where workers on this node are more than its CPUs."""
    cpus = len(os.sched_getaffinity(0))
    if task.workers > cpus:
        print(
            f"{task.kind}: warning: {task.workers} workers share {cpus} CPUs; "
            "their times do not measure scaling",
            file=sys.stderr,
        )


def record_workers(
    record: RunRecord, ranks: Sequence[RankInfo], results: Sequence[WorkerResult]
) -> None:
    """Fill in the workers, with images, seconds and peak memory of each, from all ``results``.

    Replacements of lost workers come last, under the same rank.
    """
    ranks = list(ranks)
    known = {(rank.host, rank.pid) for rank in ranks}
    images: Counter[tuple[str, int]] = Counter()
    busy_s: defaultdict[tuple[str, int], float] = defaultdict(float)
    timed = all(result.busy_s is not None for result in results)
    peak: dict[tuple[str, int], float | None] = {}
    for result in results:
        worker = (result.host, result.pid)
        if worker not in known and result.rank is not None:
            known.add(worker)
            ranks.append(
                RankInfo(
                    rank=result.rank, host=result.host, pid=result.pid, device="cpu", threads=1
                )
            )
        images[worker] += result.images
        busy_s[worker] += result.busy_s or 0.0
        peak[worker] = max(peak.get(worker) or 0.0, result.memory_peak_mb or 0.0) or None
    per_worker = not known.isdisjoint(images)  # not where this process wrote the chunks
    ranks = [
        rank.model_copy(
            update={
                "images": images[rank.host, rank.pid] if per_worker else None,
                "computation_s": busy_s[rank.host, rank.pid] if per_worker and timed else None,
                "memory_peak_mb": peak.get((rank.host, rank.pid)),
            }
        )
        for rank in ranks
    ]
    record.actual = Actual(
        nodes=len({rank.host for rank in ranks}),
        world_size=len({rank.rank for rank in ranks}),
        device="cpu",
        ranks=ranks,
    )
    peaks = [rank.memory_peak_mb for rank in ranks] + [memory_peak_mb()]
    record.usage.host_memory_peak_mb = max((peak for peak in peaks if peak), default=None)
