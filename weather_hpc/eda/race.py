"""Dask Array, NumPy image by image, and our kernels: the same figures, compared and timed.

One thread each, the same images in memory, warmed up, taking turns round by round; CPU time, so
that other load on the machine does not count.
"""

import os
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from weather_hpc.dataset.store import Store
from weather_hpc.eda import kernels, reference
from weather_hpc.eda.kernels import Bytes

IMAGES = 64
"""Images that are raced on."""
TOLERANCE = 1e-6
"""Largest difference between two ways that compute the same."""

Way = Callable[[Bytes], npt.NDArray[Any]]
OURS = "ours"


def _mean_std(images: Bytes) -> npt.NDArray[np.float64]:
    return np.stack(kernels.mean_std(kernels.histograms(images)))


def _features(images: Bytes) -> npt.NDArray[np.float32]:
    return kernels.features(images, kernels.grey_thumbnails(images))


def _delayed(function: Way, images: Bytes) -> list[npt.NDArray[Any]]:
    """``function`` of each block of ``images`` by dask.delayed."""
    import dask

    tasks = [
        dask.delayed(function)(images[first : first + reference.DASK_ROWS])
        for first in range(0, len(images), reference.DASK_ROWS)
    ]
    return list(dask.compute(*tasks, scheduler="single-threaded"))


SUBJECTS: dict[str, dict[str, Way]] = {
    "mean and std": {
        "dask.array": reference.mean_std_dask,
        "NumPy, image by image": reference.mean_std_numpy,
        "ours in dask.delayed": lambda images: np.stack(
            kernels.mean_std(np.sum(_delayed(kernels.histograms, images), axis=0))
        ),
        OURS: _mean_std,
    },
    "histograms": {
        "dask.array": reference.histograms_dask,
        "NumPy, image by image": reference.histograms_numpy,
        "NumPy bincount, image by image": reference.histograms_bincount,
        "ours in dask.delayed": lambda images: np.sum(_delayed(kernels.histograms, images), axis=0),
        OURS: kernels.histograms,
    },
    "features": {
        "dask.array": reference.features_dask,
        "NumPy, image by image": reference.features_numpy,
        "ours in dask.delayed": lambda images: np.concatenate(_delayed(_features, images)),
        OURS: _features,
    },
}


@dataclass(frozen=True)
class Lap:
    """How one way of computing one thing did."""

    subject: str
    way: str
    ms_per_image: float
    """CPU time, median over the rounds."""
    ratio: float
    """Its time over that of our kernel: the median of the rounds' ratios."""
    difference: float
    """Largest absolute difference to our kernel's result."""
    agrees: bool


def race_kernels(store: Store, rounds: int, images: int = IMAGES) -> dict[str, Any]:
    """Race all ways on ``images`` rows of ``store``, spread evenly; JSON-able.

    Features are left out where the store's side is no multiple of 64, and what needs Dask where
    it is not installed; ``left_out`` says so.
    """
    rows = store.rows()
    chosen = rows[np.linspace(0, len(rows) - 1, min(images, len(rows))).astype(np.int64)]
    pixels = np.ascontiguousarray(store.images[chosen])
    subjects, left_out = _possible(store)
    laps = [lap for name, ways in subjects.items() for lap in _race(name, ways, pixels, rounds)]
    return {
        "images": len(pixels),
        "side": store.size,
        "rounds": rounds,
        "threads": 1,
        "cpus": len(os.sched_getaffinity(0)),
        "left_out": left_out,
        "laps": [asdict(lap) for lap in laps],
    }


def _possible(store: Store) -> tuple[dict[str, dict[str, Way]], list[str]]:
    subjects, left_out = dict(SUBJECTS), []
    if store.size % kernels.THUMBNAIL:
        del subjects["features"]
        left_out.append(f"features: {store.size} pixels are no multiple of {kernels.THUMBNAIL}")
    try:
        import dask.array  # noqa: F401
    except ImportError:
        left_out.append("Dask: not installed")
        subjects = {
            name: {way: call for way, call in ways.items() if "dask" not in way}
            for name, ways in subjects.items()
        }
    return subjects, left_out


def _race(subject: str, ways: dict[str, Way], images: Bytes, rounds: int) -> list[Lap]:
    results = {way: np.asarray(call(images), dtype=np.float64) for way, call in ways.items()}
    times: dict[str, list[float]] = {way: [] for way in ways}
    order = list(ways)
    for _ in range(rounds):
        for way in order:
            start = time.process_time()
            ways[way](images)
            times[way].append(time.process_time() - start)
        order.append(order.pop(0))  # nobody always comes first
    laps = []
    for way, spent in times.items():
        difference = float(np.abs(results[way] - results[OURS]).max())
        ratios = [theirs / ours for theirs, ours in zip(spent, times[OURS], strict=True)]
        laps.append(
            Lap(
                subject,
                way,
                statistics.median(spent) / len(images) * 1e3,
                statistics.median(ratios),
                difference,
                difference <= TOLERANCE,
            )
        )
    return laps
