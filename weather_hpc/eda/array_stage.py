"""The stage that computes one operation on all images of a store, and times every engine alike.

The clock runs from the first chunk dispatched, with all workers up, their imports done and their
input in place, until the result is in this process.
"""

import contextlib
import sys
import time
from collections.abc import Sequence

from weather_hpc import cli
from weather_hpc.dataset.store import Store
from weather_hpc.eda.array_check import check_result
from weather_hpc.eda.array_chunks import ImageChunk, check_workers, forget, make_chunks
from weather_hpc.eda.array_engines import ArrayEngine, Result, open_engine
from weather_hpc.eda.request import check_size
from weather_hpc.preprocess.worker import record_workers, warn_of_few_cpus
from weather_hpc.runs.clock import ForeignLoad, since_process_start
from weather_hpc.runs.record import RunRecord
from weather_hpc.runs.writer import RunWriter
from weather_hpc.study.tasks import ArrayInput, ArrayTask

FORGOTTEN = 0.05
"""A file of which no more than this share is in memory is read from disk."""


def run_array(task: ArrayTask, store: Store, writer: RunWriter) -> tuple[RunRecord, Result]:
    """Compute the task's operation on the images of ``store``; the run's record and the result.

    The result of mean-std is float64 (2, 3), in 0..1; of histogram int64 (3, 256); of equalization
    the sum of each channel of each equalized image, int64 (images, 3); of features (images, 333).
    Raises UserError for bad input, and FailedError where a worker is lost or the result is wrong.
    """
    check_size(task, store)
    chunks = make_chunks(store, task.images, task.chunk_images)
    check_workers(task.workers, chunks, task.chunk_images)
    warn_of_few_cpus(task)
    record = writer.record
    record.quality.store_checksum = store.checksum
    with open_engine(task, chunks) as engine:
        record.phases.startup = up = since_process_start()
        writer.event("workers_up", workers=len(engine.ranks), process_s=up)
        if task.array_input is ArrayInput.DISK:
            _from_disk(chunks, writer)
        result = _timed(engine, chunks, task, record)
    check_result(task.operation, result, chunks)
    record.counts.images = len_of(chunks)
    record.phases.total = since_process_start()
    return writer.finish(), result


def _timed(
    engine: ArrayEngine, chunks: Sequence[ImageChunk], task: ArrayTask, record: RunRecord
) -> Result:
    images = len_of(chunks)
    foreign = ForeignLoad()
    with cli.progress(f"{task.operation} ({task.engine})", total=images) as advance:
        start = time.perf_counter()
        result = engine.compute(advance)
        record.time_s = time.perf_counter() - start
    record.usage.foreign_cpu_percent = foreign.percent()
    record.images_per_s = images / record.time_s
    reports = engine.report()
    record_workers(record, engine.ranks, reports)
    if task.array_input is ArrayInput.DISK and reports:
        record.phases.data_wait = sum(report.reading_s for report in reports) / task.workers
    record.phases.compute = record.time_s - (record.phases.data_wait or 0.0)
    return result


def _from_disk(chunks: Sequence[ImageChunk], writer: RunWriter) -> None:
    """Drop the file from memory, and record whether that was possible."""
    share = None
    with contextlib.suppress(OSError):
        share = forget(chunks)
    dropped = None if share is None else share <= FORGOTTEN
    writer.event("page_cache", dropped=dropped, cached_share=share)
    if dropped is not True:
        unknown = "an unknown share" if share is None else f"{100 * share:.0f} %"
        print(
            f"array: warning: {unknown} of {chunks[0].file} is still in memory: reading it does "
            "not measure the disk",
            file=sys.stderr,
        )


def len_of(chunks: Sequence[ImageChunk]) -> int:
    """How many images they have."""
    return sum(chunk.images for chunk in chunks)
