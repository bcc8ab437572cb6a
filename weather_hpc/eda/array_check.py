"""Whether the result of an array operation is right: checked after every run, outside its time."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from weather_hpc import cli
from weather_hpc.eda import numpy_operations
from weather_hpc.eda.array_chunks import Bytes, ImageChunk
from weather_hpc.eda.kernels import FEATURES, LEVELS
from weather_hpc.errors import FailedError
from weather_hpc.study.tasks import Operation

TOLERANCE = {
    Operation.MEAN_STD: 1e-9,
    Operation.HISTOGRAM: 0.0,
    Operation.EQUALIZATION: 0.0,
    Operation.FEATURES: 1e-6,
}
"""Largest absolute difference between the results of two engines, or of one and the reference."""

SAMPLE = 16
"""Images whose own result is computed again, evenly spaced."""


def check_result(
    operation: Operation, result: npt.NDArray[Any], chunks: Sequence[ImageChunk]
) -> None:
    """Raise FailedError where ``result`` is not that of ``operation`` on the images of ``chunks``.

    Mean and deviation are compared with those that follow from exact sums of all pixels and their
    squares; histograms must have these sums too. Of the operations with a result for each image,
    :data:`SAMPLE` images are computed again by NumPy.
    """
    images = sum(chunk.images for chunk in chunks)
    shape = _SHAPES[operation]
    shape = shape if operation in _OF_ALL else (images, *shape)
    if result.shape != shape:
        raise _wrong(operation, f"its shape is {result.shape}, expected {shape}")
    if not np.isfinite(result).all():
        raise _wrong(operation, "it has values that are no numbers")
    if operation is Operation.MEAN_STD:
        _compare(operation, result, _exact_mean_std(*exact_sums(chunks)))
    elif operation is Operation.HISTOGRAM:
        levels = np.arange(LEVELS, dtype=np.int64)
        moments = np.stack([result @ levels**power for power in range(3)])
        _compare(operation, moments, np.stack(exact_sums(chunks)))
    else:
        function = _OF_IMAGES[operation]
        rows = np.unique(np.linspace(0, images - 1, SAMPLE).round().astype(np.int64))
        pixels = np.concatenate([_image(chunks, int(row)) for row in rows])
        _compare(operation, result[rows], function(pixels))


_OF_ALL = (Operation.MEAN_STD, Operation.HISTOGRAM)
_OF_IMAGES = {
    Operation.EQUALIZATION: numpy_operations.equalized_sums,
    Operation.FEATURES: numpy_operations.features,
}
_SHAPES = {
    Operation.MEAN_STD: (2, 3),
    Operation.HISTOGRAM: (3, LEVELS),
    Operation.EQUALIZATION: (3,),
    Operation.FEATURES: (FEATURES,),
}
"""Of the result, or of one image's part of it."""


def exact_sums(chunks: Sequence[ImageChunk]) -> tuple[npt.NDArray[np.int64], ...]:
    """The number of pixels, their sum and the sum of their squares, of each channel: int64 (3,)."""
    number, total, squares = (np.zeros(3, dtype=np.int64) for _ in range(3))
    with cli.progress("checking the result", total=len(chunks)) as advance:
        for chunk in chunks:
            pixels = chunk.read()
            number += pixels[..., 0].size
            total += _channel_sums(pixels)
            squares += _channel_sums(pixels.astype(np.uint16) ** 2)
            advance()
    return number, total, squares


def _channel_sums(pixels: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    # over the images first, along which the sum is fast
    sums = pixels.reshape(len(pixels), -1).sum(axis=0, dtype=np.int64)
    channels: npt.NDArray[np.int64] = sums.reshape(-1, 3).sum(axis=0)
    return channels


def _exact_mean_std(
    number: npt.NDArray[np.int64], total: npt.NDArray[np.int64], squares: npt.NDArray[np.int64]
) -> npt.NDArray[np.float64]:
    mean, variance = [], []
    for n, s, q in zip(number.tolist(), total.tolist(), squares.tolist(), strict=True):
        mean.append(s / n)
        variance.append((n * q - s * s) / n**2)  # integers of any length until divided
    return np.stack([np.array(mean), np.sqrt(variance)]) / (LEVELS - 1)


def _image(chunks: Sequence[ImageChunk], row: int) -> Bytes:
    """One image by its number among all, uint8 (1, side, side, 3)."""
    first = 0
    for chunk in chunks:
        if row < first + chunk.images:
            return chunk.part(row - first).read()
        first += chunk.images
    raise IndexError(row)


def _compare(operation: Operation, result: npt.NDArray[Any], expected: npt.NDArray[Any]) -> None:
    difference = float(np.abs(result.astype(expected.dtype) - expected).max())
    if difference > TOLERANCE[operation]:
        raise _wrong(
            operation,
            f"it differs from the reference by {difference:.3g}, more than "
            f"{TOLERANCE[operation]:g}",
        )


def _wrong(operation: Operation, why: str) -> FailedError:
    return FailedError(f"the result of {operation} is wrong: {why}")
