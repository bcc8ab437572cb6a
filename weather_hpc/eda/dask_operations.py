"""The array operations on Dask arrays of images: what a chunk takes, Dask's functions compute.

``array`` is a dask.array.Array, uint8 (images, side, side, 3), in chunks of whole images. What no
function of dask.array computes, ``map_blocks`` maps a NumPy function over the chunks for. Channels
are taken one by one, as in NumPy, and for the same reason.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import dask.array as da
import numpy as np
import numpy.typing as npt

from weather_hpc.eda import numpy_operations
from weather_hpc.eda.kernels import FEATURES, LEVELS
from weather_hpc.study.tasks import Operation

CHANNELS = range(3)


@dataclass(frozen=True)
class DaskOperation:
    """An operation as Dask arrays that are computed together, and its result made of them."""

    arrays: Callable[[Any], list[Any]]
    result: Callable[[Sequence[npt.NDArray[Any]]], npt.NDArray[Any]]


def _moments(array: Any) -> list[Any]:
    channels = [array[..., c] for c in CHANNELS]
    return [c.mean() for c in channels] + [c.std() for c in channels]


def _mean_std(computed: Sequence[Any]) -> npt.NDArray[np.float64]:
    return np.array(computed).reshape(2, 3) / (LEVELS - 1)


def _counts(array: Any) -> list[Any]:
    return [da.bincount(array[..., c].ravel(), minlength=LEVELS) for c in CHANNELS]


def _counts_by_histogram(array: Any) -> list[Any]:
    return [da.histogram(array[..., c], bins=LEVELS, range=(0, LEVELS))[0] for c in CHANNELS]


def _equalized_sums(array: Any) -> list[Any]:
    equalized = array.map_blocks(numpy_operations.equalized, dtype=np.uint8)
    return [equalized[..., c].sum(axis=(1, 2), dtype=np.int64) for c in CHANNELS]


def _features(array: Any) -> list[Any]:
    chunks = (array.chunks[0], (FEATURES,))
    mapped = array.map_blocks(
        numpy_operations.features, drop_axis=(2, 3), chunks=chunks, dtype=np.float64,
        meta=np.empty((0, 0)),
    )  # fmt: skip
    return [mapped]


OPERATIONS = {
    Operation.MEAN_STD: DaskOperation(_moments, _mean_std),
    Operation.HISTOGRAM: DaskOperation(_counts, np.stack),
    Operation.EQUALIZATION: DaskOperation(
        _equalized_sums, lambda computed: np.stack(computed, axis=1)
    ),
    Operation.FEATURES: DaskOperation(_features, lambda computed: computed[0]),
}
"""Each with the fastest of Dask's functions for it."""

BY_HISTOGRAM = DaskOperation(_counts_by_histogram, np.stack)
"""Histograms by ``dask.array.histogram``, as Dask's manual has it."""
