"""From a folder of images to figures: pack or reuse the store, run the passes, write it all."""

import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from weather_hpc.dataset.catalogue import make_split, scan
from weather_hpc.dataset.image_file import printable
from weather_hpc.dataset.partial import Contents
from weather_hpc.dataset.store import Store, is_store
from weather_hpc.eda import charts, kernels, sheets, tables
from weather_hpc.eda.benchmark import time_kernels
from weather_hpc.eda.exploration import measure, timed
from weather_hpc.eda.page import write_page
from weather_hpc.errors import UserError
from weather_hpc.files import write_json
from weather_hpc.preprocess.backends.local import open_workers
from weather_hpc.runs.proc import memory_peak_mb
from weather_hpc.study.spec import PreprocessTask

STORE = "store"
ADVICE = "run the same command again"
"""Where a worker is lost."""


@dataclass(frozen=True)
class Request:
    """What the verb was asked for."""

    data: Path
    out: Path
    task: PreprocessTask
    """Backend, workers, image size and how many images: of the packing and of every pass."""
    seed: int = 0
    store: Path | None = None
    """A packed store to use, or to make; None: one in ``out``."""
    rounds: int = 5
    """Of the race of the kernels; 0: none."""


def explore(request: Request) -> dict[str, Any]:
    """Look at everything and write it into ``request.out``; what ``eda.json`` holds.

    Raises UserError for bad input and FailedError where a worker is lost.
    """
    kernels.load_opencv()  # missing: said before anything is packed
    started = time.perf_counter()
    store, reused = packed(request)
    packed_s = time.perf_counter() - started
    with open_workers(request.task.backend, request.task.workers, ADVICE) as workers:
        found = measure(store, request.data, request.out, workers)
    found.time_s = {"packing": round(packed_s, 4), **found.time_s}
    with timed(found.time_s, "kernels"):
        race = time_kernels(store, request.rounds) if request.rounds else None
    result = tables.summary(found) | {
        "store": {"path": printable(str(store.path)), "reused": reused, "side": store.size},
        "backend": str(request.task.backend),
        "workers": request.task.workers,
        "kernels": race,
    }
    with timed(found.time_s, "drawing"):
        tables.write_tables(request.out, found)
        drawn = charts.write_charts(request.out / "figures", found)
        pictures = sheets.write_sheets(request.out / "figures", found, request.seed)
    result["memory_peak_mb"] = memory_peak_mb()
    result["time_s"] = found.time_s | {"total": round(time.perf_counter() - started, 4)}
    write_json(request.out / "eda.json", result)
    write_page(request.out / "eda.html", printable(request.data.name), result, drawn, pictures)
    return result


def packed(request: Request) -> tuple[Store, bool]:
    """The store of the folder's images as they are now, and whether it was there already.

    One in ``out`` that no longer fits the folder is made anew; one that the user named is not
    touched: UserError.
    """
    path = request.store or request.out / STORE
    catalogue = scan(request.data)
    if request.task.images is not None:
        catalogue = catalogue.subset(request.task.images, request.seed)
    if is_store(path):
        store = Store.open(path)
        split = make_split(catalogue, request.seed)
        wanted = Contents(catalogue, split, request.task.image_size, "").identity()
        differing = [k for k in ("catalogue", "shape", "split") if store.header.get(k) != wanted[k]]
        if not differing:
            return store, True
        if request.store is not None:
            raise UserError(
                f"--store {path}: was not made from {request.data} with these settings "
                f"({', '.join(differing)} differs); leave --store away to have one made"
            )
        shutil.rmtree(path)
    _pack(request, path)
    return Store.open(path), False


def _pack(request: Request, path: Path) -> None:
    from weather_hpc.preprocess.stage import preprocess
    from weather_hpc.runs.writer import RunWriter
    from weather_hpc.study.plan import preprocess_resources
    from weather_hpc.study.spec import RunSpec, Stage

    spec = RunSpec(
        study="eda",
        stage=Stage.PREPROCESS,
        task=request.task,
        resources=preprocess_resources(request.task),
        data=printable(str(request.data.absolute())),
    )
    with RunWriter(spec, None) as writer:
        preprocess(request.task, request.data, path, writer, seed=request.seed)
