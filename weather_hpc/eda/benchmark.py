"""The kernels compared and timed against NumPy, image by image, and Dask Array, as in its manual.

One thread each, the same images in memory, warmed up, interleaved in rounds; CPU time, so that
other load on the machine does not count.
"""

import os
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from weather_hpc.dataset.store import Store
from weather_hpc.eda import kernels, numpy_operations
from weather_hpc.eda.kernels import Bytes
from weather_hpc.study.tasks import Operation

if TYPE_CHECKING:
    from weather_hpc.eda.dask_operations import DaskOperation

DASK_ROWS = 32
"""Images in a chunk of the Dask array."""

BENCHMARK_IMAGES = 64
"""Images that are computed on."""
TOLERANCE = 1e-6
"""Largest difference to our kernel's result that counts as equal."""
Implementation = Callable[[Bytes], npt.NDArray[Any]]
OURS = "ours"


def by_dask(operation: "DaskOperation", images: Bytes) -> npt.NDArray[Any]:
    """``operation`` on a Dask array of the ``images``, computed in this thread."""
    import dask
    import dask.array as da

    array = da.from_array(images, chunks=(DASK_ROWS, *images.shape[1:]))
    computed = dask.compute(*operation.arrays(array), scheduler="single-threaded")
    return operation.result(computed)


def mean_std_dask(images: Bytes) -> npt.NDArray[Any]:
    """Mean and standard deviation of each channel, in 0..1: float64 (2, 3)."""
    from weather_hpc.eda import dask_operations

    return by_dask(dask_operations.OPERATIONS[Operation.MEAN_STD], images)


def histograms_dask(images: Bytes) -> npt.NDArray[Any]:
    """Counts of each level in each channel, (3, 256), by ``dask.array.histogram``."""
    from weather_hpc.eda import dask_operations

    return by_dask(dask_operations.BY_HISTOGRAM, images)


def histograms_dask_bincount(images: Bytes) -> npt.NDArray[Any]:
    """As :func:`histograms_dask`, by ``dask.array.bincount``."""
    from weather_hpc.eda import dask_operations

    return by_dask(dask_operations.OPERATIONS[Operation.HISTOGRAM], images)


def features_dask(images: Bytes) -> npt.NDArray[Any]:
    """Colour moments and HOG, (images, 333). The side must be a multiple of 64."""
    from weather_hpc.eda import dask_operations

    return by_dask(dask_operations.OPERATIONS[Operation.FEATURES], images)


def _mean_std(images: Bytes) -> npt.NDArray[np.float64]:
    return np.stack(kernels.mean_std(kernels.histograms(images)))


def _features(images: Bytes) -> npt.NDArray[np.float32]:
    return kernels.features(images, kernels.grey_thumbnails(images))


def _delayed(function: Implementation, images: Bytes) -> list[npt.NDArray[Any]]:
    """``function`` of each block of ``images`` by dask.delayed."""
    import dask

    tasks = [
        dask.delayed(function)(images[first : first + DASK_ROWS])
        for first in range(0, len(images), DASK_ROWS)
    ]
    return list(dask.compute(*tasks, scheduler="single-threaded"))


SUBJECTS: dict[str, dict[str, Implementation]] = {
    "mean and std": {
        "dask.array": mean_std_dask,
        "NumPy, image by image": numpy_operations.mean_std,
        "ours in dask.delayed": lambda images: np.stack(
            kernels.mean_std(np.sum(_delayed(kernels.histograms, images), axis=0))
        ),
        OURS: _mean_std,
    },
    "histograms": {
        "dask.array": histograms_dask,
        "dask.array bincount": histograms_dask_bincount,
        "NumPy, image by image": numpy_operations.histograms_by_histogram,
        "NumPy bincount, image by image": numpy_operations.histograms,
        "ours in dask.delayed": lambda images: np.sum(_delayed(kernels.histograms, images), axis=0),
        OURS: kernels.histograms,
    },
    "features": {
        "dask.array": features_dask,
        "NumPy, image by image": numpy_operations.features,
        "ours in dask.delayed": lambda images: np.concatenate(_delayed(_features, images)),
        OURS: _features,
    },
}


@dataclass(frozen=True)
class Timing:
    """The time of one implementation (``way``) of one kernel (``subject``)."""

    subject: str
    way: str
    ms_per_image: float
    """CPU time, median over the rounds."""
    ratio: float
    """Its time divided by our kernel's: median of the rounds' ratios."""
    difference: float
    """Largest absolute difference to our kernel's result."""
    agrees: bool


def time_kernels(store: Store, rounds: int, images: int = BENCHMARK_IMAGES) -> dict[str, Any]:
    """Compare and time all implementations on ``images`` evenly spaced rows of ``store``.

    JSON-able. ``left_out`` names features where the store's side is not a multiple of 64, and Dask
    where it is not installed.
    """
    rows = store.rows()
    chosen = rows[np.linspace(0, len(rows) - 1, min(images, len(rows))).astype(np.int64)]
    pixels = np.ascontiguousarray(store.images[chosen])
    subjects, left_out = _available(store)
    timings = []
    for name, ways in subjects.items():
        timings += _time_all(name, ways, pixels, rounds)
    return {
        "images": len(pixels),
        "side": store.size,
        "rounds": rounds,
        "threads": 1,
        "cpus": len(os.sched_getaffinity(0)),
        "left_out": left_out,
        "laps": [asdict(timing) for timing in timings],
    }


def _available(store: Store) -> tuple[dict[str, dict[str, Implementation]], list[str]]:
    subjects, left_out = dict(SUBJECTS), []
    if store.size % kernels.THUMBNAIL:
        del subjects["features"]
        left_out.append(f"features: {store.size} pixels are not a multiple of {kernels.THUMBNAIL}")
    try:
        import dask.array  # noqa: F401
    except ImportError:
        left_out.append("Dask: not installed")
        subjects = {
            name: {way: call for way, call in ways.items() if "dask" not in way}
            for name, ways in subjects.items()
        }
    return subjects, left_out


def _time_all(
    subject: str, ways: dict[str, Implementation], images: Bytes, rounds: int
) -> list[Timing]:
    results = {way: np.asarray(call(images), dtype=np.float64) for way, call in ways.items()}
    times: dict[str, list[float]] = {way: [] for way in ways}
    order = list(ways)
    for _ in range(rounds):
        for way in order:
            start = time.process_time()
            ways[way](images)
            times[way].append(time.process_time() - start)
        order.append(order.pop(0))  # another one is first in each round
    timings = []
    for way, spent in times.items():
        difference = float(np.abs(results[way] - results[OURS]).max())
        ratios = [time_s / ours_s for time_s, ours_s in zip(spent, times[OURS], strict=True)]
        timings.append(
            Timing(
                subject,
                way,
                statistics.median(spent) / len(images) * 1e3,
                statistics.median(ratios),
                difference,
                difference <= TOLERANCE,
            )
        )
    return timings
