"""One measured exploration of a store: all parts of the work on pixels, timed on any backend.

The clock runs from the first batch dispatched, with all workers up and their imports done, until
the results of all images are summed.
"""

import hashlib
import time
from collections import Counter
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from weather_hpc import cli
from weather_hpc.dataset.store import Store
from weather_hpc.eda import kernels
from weather_hpc.eda.batch import (
    Computed,
    Constants,
    Counted,
    Doubles,
    batches,
    compute,
    count,
    prepare,
)
from weather_hpc.eda.request import check_size, chosen_rows
from weather_hpc.errors import FailedError
from weather_hpc.preprocess.backends.base import Context
from weather_hpc.preprocess.backends.workers import open_workers
from weather_hpc.preprocess.worker import WorkerResult, record_workers, warn_of_few_cpus
from weather_hpc.runs.clock import ForeignLoad, since_process_start
from weather_hpc.runs.record import ExplorationTimes, RunRecord
from weather_hpc.runs.writer import RunWriter
from weather_hpc.study.site import SiteProfile
from weather_hpc.study.tasks import Backend, EdaTask

ADVICE = "run the same command again"
"""Where a worker is lost."""
TOLERANCE = 1e-3
"""Largest distance of normalised images from a mean of 0 and a standard deviation of 1."""


class Sums:
    """What the results of all batches add up to: the same bits whatever backend and workers."""

    def __init__(self) -> None:
        self.histograms: dict[int, kernels.Counts] = {}
        """Label -> int64 (3, 256)."""
        self.channels: list[Doubles] = []
        """See :attr:`weather_hpc.eda.batch.Computed.sums`."""
        self.sha256 = hashlib.sha256()
        """Of all results: of the second pass image by image, then of the first."""
        self.seconds: Counter[str] = Counter()
        """Of each part, all workers together."""
        self.computed: list[WorkerResult] = []
        """Who computed what: images of the second pass, seconds of both."""

    def add_counts(self, result: Counted) -> None:
        """Add a batch of the first pass."""
        self.computed.append(replace(result.without_content(), images=0))
        self.seconds.update(result.seconds)
        for label, counts in result.histograms.items():
            self.histograms[label] = self.histograms.get(label, 0) + counts

    def moments(self) -> tuple[Doubles, Doubles]:
        """Mean and standard deviation of each channel over all images, in 0..1: (3,) each."""
        return kernels.mean_std(np.sum(list(self.histograms.values()), axis=0))

    def add(self, result: Computed) -> None:
        """Add a batch of the second pass, in the order of the images."""
        self.seconds.update(result.seconds)
        self.computed.append(result.without_content())
        self.channels.append(result.sums)
        for image in zip(result.sums, result.features, result.hashes, strict=True):
            for array in image:
                self.sha256.update(array.tobytes())

    def results(self, side: int) -> dict[str, Any]:
        """All sums, JSON-able. Raises FailedError where images are not normalised."""
        equalized, means, stds, augmented = np.concatenate(self.channels).transpose(1, 0, 2)
        mean, std = self.moments()
        centre = means.mean(axis=0)
        spread = np.sqrt((stds**2 + means**2).mean(axis=0) - centre**2)
        expected = std > 0  # a channel whose pixels are all equal has a spread of 0
        if np.abs(centre).max() > TOLERANCE or np.abs(spread - expected).max() > TOLERANCE:
            raise FailedError(
                f"normalised images have means {centre.tolist()} and standard deviations "
                f"{spread.tolist()}, not 0 and 1"
            )
        for label in sorted(self.histograms):
            self.sha256.update(self.histograms[label].tobytes())
        pixels = 255 * side**2
        return {
            "mean": mean.tolist(),
            "std": std.tolist(),
            "equalized_mean": (equalized.mean(axis=0) / pixels).tolist(),
            "augmented_mean": (augmented.mean(axis=0) / pixels).tolist(),
            "sha256": self.sha256.hexdigest(),
        }


def measure_work(
    task: EdaTask, store: Store, writer: RunWriter, folder: Path, site: SiteProfile
) -> RunRecord:
    """Do and time all parts of the work on the pixels of ``store``; the run's record.

    ``folder``, shared by all nodes, is for workers that are jobs of their own, which ``site``
    describes. Raises UserError for bad input, and FailedError where a worker is lost, or, of those
    that are replaced, all are lost.
    """
    check_size(task, store)
    kernels.load_opencv()
    rows = chosen_rows(store, task.images)
    parts = batches(store, rows, task.workers)
    record, sums = writer.record, Sums()
    here = task.backend is not Backend.DASK_JOBQUEUE
    if here:
        warn_of_few_cpus(task)
    context = None if here else Context(site, folder.absolute(), writer)
    imports = partial(prepare, store.shape[0], store.size, task.augmentation)
    with open_workers(task.backend, task.workers, ADVICE, imports, context) as workers:
        up = since_process_start()
        record.phases.startup = up - (record.phases.queue or 0.0)
        writer.event("workers_up", workers=len(workers.ranks), process_s=up)
        foreign = ForeignLoad()
        with cli.progress(f"exploring ({task.backend})", total=2 * len(rows)) as advance:
            start = time.perf_counter()
            for counted in workers(count, parts):
                sums.add_counts(counted)
                advance(counted.images)
            table = kernels.normalization_table(*sums.moments())
            constants = Constants(table, task.augmentation, store.shape[0])
            for computed in workers(partial(compute, constants), parts):
                sums.add(computed)
                advance(computed.images)
            time_s = time.perf_counter() - start
        record.usage.foreign_cpu_percent = foreign.percent() if here else None
        record_workers(record, workers.ranks, sums.computed)
    writer.event("results", images=len(rows), **sums.results(store.size))
    record.time_s = record.phases.compute = time_s
    record.images_per_s = len(rows) / time_s
    record.exploration = ExplorationTimes(**sums.seconds)
    record.counts.images = len(rows)
    record.counts.quarantined = len(store.quarantine())
    record.quality.store_checksum = store.checksum
    record.phases.total = since_process_start()
    return writer.finish()
