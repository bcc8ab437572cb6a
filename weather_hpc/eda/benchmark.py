"""The kernels compared and timed against NumPy, image by image, and Dask Array, as in its manual.

One thread each, the same images in memory, warmed up, interleaved in rounds; CPU time, so that
other load on the machine does not count.
"""

import os
import statistics
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from weather_hpc.dataset.store import Store
from weather_hpc.eda import kernels
from weather_hpc.eda.kernels import (
    CELL,
    CELLS,
    GREY,
    LEVELS,
    ORIENTATIONS,
    THUMBNAIL,
    Bytes,
)

Doubles = npt.NDArray[np.float64]


DASK_ROWS = 32
"""Images in a chunk of the Dask array."""


def mean_std_numpy(images: Bytes) -> Doubles:
    """Mean and standard deviation of each channel, in 0..1: float64 (2, 3)."""
    means = np.array([image.mean(axis=(0, 1)) for image in images])
    squares = np.array([image.std(axis=(0, 1)) ** 2 for image in images])
    mean = means.mean(axis=0)
    variance = squares.mean(axis=0) + ((means - mean) ** 2).mean(axis=0)
    return np.stack([mean, np.sqrt(variance)]) / 255


def mean_std_dask(images: Bytes) -> Doubles:
    """As :func:`mean_std_numpy`, by ``mean`` and ``std`` of one Dask array."""
    array = _dask_array(images)
    return _computed(array.mean(axis=(0, 1, 2)), array.std(axis=(0, 1, 2))) / 255


def histograms_numpy(images: Bytes) -> Doubles:
    """Counts of each level in each channel, (3, 256), by ``numpy.histogram``."""
    return sum_of(
        [np.histogram(image[..., c], LEVELS, (0, LEVELS))[0] for c in range(3)] for image in images
    )


def histograms_bincount(images: Bytes) -> Doubles:
    """As :func:`histograms_numpy`, by ``numpy.bincount``, the fastest function of NumPy for it."""
    return sum_of(
        [np.bincount(image[..., c].ravel(), minlength=LEVELS) for c in range(3)] for image in images
    )


def histograms_dask(images: Bytes) -> Doubles:
    """As :func:`histograms_numpy`, by ``dask.array.histogram``."""
    import dask.array as da

    array = _dask_array(images)
    return _computed(
        *(da.histogram(array[..., c], bins=LEVELS, range=(0, LEVELS))[0] for c in range(3))
    )


def features_numpy(images: Bytes) -> Doubles:
    """Colour moments and HOG, (images, 333). The side must be a multiple of 64."""
    features: Doubles = np.stack([features_of(image) for image in images])
    return features


def features_dask(images: Bytes) -> Doubles:
    """As :func:`features_numpy`, mapped over the images by Dask."""
    import dask.array as da

    array = da.from_array(images, chunks=(1, *images.shape[1:]))
    mapped = array.map_blocks(features_numpy, drop_axis=(2, 3), dtype=np.float64, meta=np.empty(0))
    computed: Doubles = _computed(mapped)[0]
    return computed


def features_of(image: Bytes) -> Doubles:
    """Colour moments and HOG of one image."""
    pixels = image.reshape(-1, 3) / 255
    mean = pixels.mean(axis=0)
    deviation = pixels - mean
    square = deviation * deviation
    third = np.cbrt((square * deviation).mean(axis=0))
    moments = [mean, np.sqrt(square.mean(axis=0)), third]
    return np.concatenate([*moments, _hog(_thumbnail(image))])


def _thumbnail(image: Bytes) -> npt.NDArray[np.int64]:
    step = len(image) // THUMBNAIL
    grey = (image @ np.array(GREY) + (1 << 14)) >> 15
    small = grey.reshape(THUMBNAIL, step, THUMBNAIL, step).mean(axis=(1, 3))
    # OpenCV rounds halves up in the mean of 2 x 2 pixels, otherwise to even
    rounded = np.floor(small + 0.5) if step == 2 else np.rint(small)
    thumbnail: npt.NDArray[np.int64] = rounded.astype(np.int64)
    return thumbnail


def _hog(grey: npt.NDArray[np.int64]) -> Doubles:
    across, down = np.zeros(grey.shape), np.zeros(grey.shape)
    across[:, 1:-1] = grey[:, 2:] - grey[:, :-2]
    down[1:-1] = grey[2:] - grey[:-2]
    length = np.hypot(down, across)
    bins = (np.arctan2(down, across) % np.pi / np.pi * ORIENTATIONS).astype(int) % ORIENTATIONS
    cells = np.empty((CELLS, CELLS, ORIENTATIONS))
    for row in range(CELLS):
        for column in range(CELLS):
            cell = np.s_[row * CELL : (row + 1) * CELL, column * CELL : (column + 1) * CELL]
            weights = length[cell].ravel()
            cells[row, column] = np.bincount(bins[cell].ravel(), weights, ORIENTATIONS)
    blocks = [
        cells[row : row + 2, column : column + 2].ravel()
        for row in range(CELLS - 1)
        for column in range(CELLS - 1)
    ]
    return np.concatenate([block / np.sqrt((block**2).sum() + 1) for block in blocks])


def sum_of(parts: Iterable[Any]) -> Doubles:
    """The sum of arrays of shape (3, 256)."""
    total: Doubles = np.zeros((3, LEVELS))
    for part in parts:
        total += part
    return total


def _dask_array(images: Bytes) -> Any:
    import dask.array as da

    return da.from_array(images, chunks=(DASK_ROWS, *images.shape[1:]))


def _computed(*arrays: Any) -> Doubles:
    """The Dask ``arrays``, computed in this thread and stacked."""
    import dask

    computed: Doubles = np.stack(dask.compute(*arrays, scheduler="single-threaded"))
    return computed


BENCHMARK_IMAGES = 64
"""Images that are computed on."""


TOLERANCE = 1e-6
"""Largest difference to our kernel's result that counts as equal."""


Implementation = Callable[[Bytes], npt.NDArray[Any]]


OURS = "ours"


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
        "NumPy, image by image": mean_std_numpy,
        "ours in dask.delayed": lambda images: np.stack(
            kernels.mean_std(np.sum(_delayed(kernels.histograms, images), axis=0))
        ),
        OURS: _mean_std,
    },
    "histograms": {
        "dask.array": histograms_dask,
        "NumPy, image by image": histograms_numpy,
        "NumPy bincount, image by image": histograms_bincount,
        "ours in dask.delayed": lambda images: np.sum(_delayed(kernels.histograms, images), axis=0),
        OURS: kernels.histograms,
    },
    "features": {
        "dask.array": features_dask,
        "NumPy, image by image": features_numpy,
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
