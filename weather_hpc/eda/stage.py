"""From a folder of images to tables, figures and page: pack or reuse the store, measure, write."""

import shutil
import time
from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from weather_hpc.dataset.catalogue import make_split, scan
from weather_hpc.dataset.image_file import printable
from weather_hpc.dataset.partial import Contents
from weather_hpc.dataset.store import Store, is_store
from weather_hpc.eda import charts, kernels, sheets, tables
from weather_hpc.eda.benchmark import time_kernels
from weather_hpc.eda.exploration import check_room, measure, timed
from weather_hpc.eda.odd_images import agreement, neighbour_classes, odd_images
from weather_hpc.eda.page import write_page
from weather_hpc.eda.thumbnails import contact_sheets, odd_thumbnails
from weather_hpc.errors import UserError
from weather_hpc.files import replacing, write_json
from weather_hpc.preprocess.backends.base import Context
from weather_hpc.preprocess.backends.workers import open_workers
from weather_hpc.preprocess.decoders import available, method
from weather_hpc.preprocess.profiles import available_color
from weather_hpc.preprocess.worker import ready_with
from weather_hpc.runs.proc import memory_peak_mb
from weather_hpc.runs.writer import RunWriter
from weather_hpc.study.plan import worker_resources
from weather_hpc.study.site import SiteProfile
from weather_hpc.study.spec import RunSpec, Stage
from weather_hpc.study.tasks import Backend, PreprocessTask

STORE, FIGURES = "store", "figures"
ADVICE = "run the same command again"
"""Where a worker is lost."""


@dataclass(frozen=True)
class EdaOptions:
    """The options of the verb."""

    data: Path
    out: Path
    task: PreprocessTask
    """Backend, workers, image size and number of images, for packing and for measuring."""
    seed: int = 0
    store: Path | None = None
    """A packed store to use, or to make; None: one in ``out``."""
    rounds: int = 0
    """Rounds of timing the kernels; 0: none."""
    site: SiteProfile = field(default_factory=SiteProfile)
    """The jobs of dask-jobqueue's workers."""

    @property
    def spec(self) -> RunSpec:
        """The packing of the images as a run."""
        return RunSpec(
            study="eda",
            stage=Stage.PREPROCESS,
            task=self.task,
            resources=worker_resources(self.task),
            data=printable(str(self.data.absolute())),
        )


def explore(options: EdaOptions) -> dict[str, Any]:
    """Measure the images and write everything into ``options.out``; the content of ``eda.json``.

    Raises UserError for bad input and FailedError where a worker is lost.
    """
    kernels.load_opencv()  # reported before anything is packed, where it is missing
    with replacing(options.out) as new:
        result, pictures = _explore(options, new)
    for sheet in pictures:
        if sheet.jpeg is None:  # an earlier exploration may have had something to show
            sheets.path_of(options.out / FIGURES, sheet).unlink(missing_ok=True)
    return result


def _explore(options: EdaOptions, new: Path) -> tuple[dict[str, Any], list[sheets.Sheet]]:
    """Write everything but the store into the folder ``new``."""
    started = time.perf_counter()
    clock: dict[str, float] = {}
    data, out, task = options.data, options.out, options.task
    with timed(clock, "packing"):
        store, reused = packed(options)
    check_room(store, out)
    as_jobs = task.backend is Backend.DASK_JOBQUEUE
    context = Context(options.site, out.absolute(), RunWriter(options.spec, None))
    # on a node that lacks the images, every file would count as removed
    prepare = partial(ready_with, [data.resolve(), store.path.resolve()])
    with open_workers(
        task.backend, task.workers, ADVICE, prepare, context if as_jobs else None
    ) as workers:
        exploration = measure(store, data, new, workers, clock)
    with timed(clock, "odd_images"):
        neighbours = neighbour_classes(exploration)
        odd = odd_images(exploration, neighbours)
    timings = None
    if options.rounds:
        with timed(clock, "kernels"):
            timings = time_kernels(store, options.rounds)
    result = tables.summary(exploration) | {
        "store": {
            "path": printable(str(store.path)),
            "reused": reused,
            "side": store.size,
            "resize": store.header["resize"],
        },
        "backend": str(task.backend),
        "workers": task.workers,
        "kernels": timings,
        "odd_images": {
            "by_kind": dict(Counter(each.kind for each in odd)),
            "neighbours_agree": round(agreement(neighbours, exploration.labels), tables.DIGITS),
        },
    }
    with timed(clock, "drawing"):
        tables.write_tables(new, exploration)
        tables.write_odd_images(new, exploration, odd)
        drawings = charts.write_charts(new / FIGURES, exploration)
        pictures = sheets.write_sheets(new / FIGURES, exploration, options.seed)
        contacts = contact_sheets(exploration)
        shown = odd_thumbnails(exploration, odd)
    result["memory_peak_mb"] = memory_peak_mb()
    result["time_s"] = clock | {"total": round(time.perf_counter() - started, 4)}
    write_json(new / "eda.json", result)
    write_page(new / "eda.html", printable(data.name), result, drawings, pictures, contacts, shown)
    return result, pictures


def packed(options: EdaOptions) -> tuple[Store, bool]:
    """The store of the folder's images as they are now, and whether it existed already.

    A store in ``out`` that no longer matches the folder is made again; one that the user named is
    not touched: UserError.
    """
    path = options.store or options.out / STORE
    catalogue = scan(options.data)
    if options.task.images is not None:
        catalogue = catalogue.subset(options.task.images, options.seed)
    if is_store(path):
        store = Store.open(path)
        split = make_split(catalogue, options.seed)
        task = options.task
        resize = method(available(task.decoder), available_color(task.color))
        identity = Contents(catalogue, split, task.image_size, resize).identity()
        keys = ["catalogue", "shape", "split"]
        if options.store is None:
            keys.append("resize")
        differing = [key for key in keys if store.header.get(key) != identity[key]]
        if not differing:
            return store, True
        if options.store is not None:
            raise UserError(
                f"--store {path}: was not made from {options.data} with these settings "
                f"({', '.join(differing)} differs); omit --store to make one in --out"
            )
        shutil.rmtree(path)
    _pack(options, path)
    return Store.open(path), False


def _pack(options: EdaOptions, path: Path) -> None:
    from weather_hpc.preprocess.stage import preprocess

    # a page about a folder says what is wrong with it, however much that is
    task = options.task.model_copy(update={"max_unreadable": 1.0})
    with RunWriter(options.spec, None) as writer:
        preprocess(task, options.data, path, writer, seed=options.seed, site=options.site)
