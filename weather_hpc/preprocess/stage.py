"""The stage that packs images and times every backend in the same way.

The catalogue reads every file once to hash it, so every backend finds the files in the page cache.
The clock runs from the first chunk dispatched, with all workers up and their imports done, until
the store is on disk under its name.
"""

import shutil
import sys
import time
from contextlib import closing
from pathlib import Path

from weather_hpc import cli
from weather_hpc.dataset.catalogue import Catalogue, Item, make_split, scan
from weather_hpc.dataset.left_out import left_out_of
from weather_hpc.dataset.partial import Contents, PartialStore, reusable
from weather_hpc.dataset.store import CHUNK_ROWS, QUARANTINE, Store, is_store
from weather_hpc.dataset.stored_images import summary_of
from weather_hpc.dataset.unreadable import Unreadable
from weather_hpc.errors import FailedError
from weather_hpc.preprocess.backends.base import Context, PreprocessBackend, make_backend
from weather_hpc.preprocess.chunk import Chunk, Target
from weather_hpc.preprocess.decoders import available, cost, method
from weather_hpc.preprocess.profiles import available_color
from weather_hpc.preprocess.worker import record_workers, warn_of_few_cpus
from weather_hpc.runs.clock import ForeignLoad, since_process_start
from weather_hpc.runs.record import RunRecord
from weather_hpc.runs.writer import RunWriter
from weather_hpc.study.site import SiteProfile
from weather_hpc.study.tasks import Backend, Damaged, Decoder, PreprocessTask

KEPT_DAMAGED = "; damaged images kept"
"""In the store's header, after how images become rows."""


def preprocess(
    task: PreprocessTask,
    data: Path,
    out: Path,
    writer: RunWriter,
    *,
    seed: int = 0,
    discard: bool = False,
    site: SiteProfile | None = None,
) -> RunRecord:
    """Pack the images under ``data`` into a store at ``out``; returns the run's record.

    A complete store of the same contents is used as it is, and what a killed run left is
    finished; neither is timed. ``discard`` is for measuring: it always starts over and removes
    the store at the end. ``seed`` chooses the subset and the split. ``site`` describes the jobs of
    workers that are jobs of their own. Raises UserError for bad input and FailedError where a
    worker is lost, or, of those that are replaced, all are lost.
    """
    as_jobs = task.backend is Backend.DASK_JOBQUEUE
    context = Context(site or SiteProfile(), out.parent.absolute(), writer) if as_jobs else None
    backend = make_backend(task.backend, context)
    catalogue = scan(data)
    unreadable = Unreadable.of(catalogue, task.max_unreadable)
    _check(unreadable, writer.record)
    if task.images is not None:
        catalogue = catalogue.subset(task.images, seed)
        unreadable = Unreadable(task.images, task.max_unreadable)
    writer.event("catalogue", images=len(catalogue.items), process_s=since_process_start())
    # as this installation can carry it out
    task = task.model_copy(
        update={"decoder": available(task.decoder), "color": available_color(task.color)}
    )
    resize = method(task.decoder, task.color) + KEPT_DAMAGED * (task.damaged is Damaged.KEEP)
    contents = Contents(catalogue, make_split(catalogue, seed), task.image_size, resize)
    if discard and is_store(out) and writer.paths is not None and out == writer.paths.store:
        shutil.rmtree(out)  # left by a measured run that was killed just before removing it
    store = None if discard else reusable(out, contents)
    if store is None:
        with PartialStore(out, contents, fresh=discard) as partial, closing(backend):
            store = _pack(task, partial, backend, unreadable, writer)
    else:
        unreadable.add(store.invalid())
        _check(unreadable, writer.record)
    writer.record.left_out = warning = left_out_of(store)
    if warning or unreadable:
        print(f"preprocess: {warning or unreadable}; see the store's {QUARANTINE}", file=sys.stderr)
    try:
        _record_store(writer, store, catalogue)
    finally:
        if discard:
            shutil.rmtree(out)
    return writer.finish()


def _pack(
    task: PreprocessTask,
    partial: PartialStore,
    backend: PreprocessBackend,
    unreadable: Unreadable,
    writer: RunWriter,
) -> Store:
    """Make the missing chunks and commit; fill in times, workers and usage."""
    record = writer.record
    here = task.backend is not Backend.DASK_JOBQUEUE
    if here:
        warn_of_few_cpus(task)
    already = len(partial.finished)
    for finished in partial.finished.values():
        unreadable.add(partial.paths_of(finished.failed))
    chunks = _plan(partial, task.decoder)
    ranks = backend.start(task.workers, task.decoder, task.color)
    up = since_process_start()
    record.phases.startup = up - (record.phases.queue or 0.0)
    writer.event("workers_up", workers=len(ranks), process_s=up)
    foreign = ForeignLoad()
    results = []
    images = sum(len(chunk.paths) for chunk in chunks)
    with cli.progress(f"packing ({task.backend})", total=images) as advance:
        start = time.perf_counter()
        for result in backend.run(_target(partial, task), chunks):
            partial.finish(result.finished)
            unreadable.add(partial.paths_of(result.finished.failed))
            _check(unreadable, record)
            results.append(result)
            advance(result.images)
        computed = time.perf_counter()
        store = partial.commit()
        committed = time.perf_counter()
    record.usage.foreign_cpu_percent = foreign.percent() if here else None
    record_workers(record, ranks, results)
    if already:
        writer.event("resumed", chunks_found=already, chunks_made=len(chunks))
    else:
        record.phases.compute = computed - start
        record.time_s = committed - start
        record.images_per_s = images / record.time_s
    return store


def _plan(partial: PartialStore, decoder: Decoder) -> list[Chunk]:
    """The missing chunks, the longest first, so that all workers end together."""
    contents = partial.contents

    def cost_of(item: Item) -> int:
        return cost(decoder, item.width, item.height, item.size, contents.size)

    chunks = []
    for index in partial.missing():
        first = index * CHUNK_ROWS
        items = contents.catalogue.items[first : first + CHUNK_ROWS]
        paths = [item.path for item in items]
        chunks.append(Chunk(index, first, paths, sum(map(cost_of, items))))
    return sorted(chunks, key=lambda chunk: chunk.cost, reverse=True)


def _target(partial: PartialStore, task: PreprocessTask) -> Target:
    """With absolute paths: a worker may have another working folder."""
    contents = partial.contents
    return Target(
        contents.catalogue.root.resolve(),
        partial.images.resolve(),
        partial.data_offset,
        contents.size,
        task.decoder,
        task.color,
        task.damaged,
    )


def _check(unreadable: Unreadable, record: RunRecord) -> None:
    """Record how many images cannot be used. Raises FailedError where they are too many."""
    record.counts.unreadable = len(unreadable)
    unreadable.check()


def _record_store(writer: RunWriter, store: Store, catalogue: Catalogue) -> None:
    """Fill in the counts, checksum and total time, and leave a summary of the images."""
    record = writer.record
    if writer.paths is not None:
        summary_of(store, catalogue).write(writer.paths.images)
    record.counts.images = len(store.rows())
    record.counts.quarantined = len(store.quarantine())
    record.counts.damaged = len(store.damaged())
    record.counts.duplicates = catalogue.duplicates
    record.quality.store_checksum = store.checksum
    record.phases.total = since_process_start()
    if not record.counts.images:
        raise FailedError(f"{store.path}: no image could be decoded; see its quarantine.csv")
