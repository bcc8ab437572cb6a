"""The array operations in plain NumPy, image by image: what all other engines are compared with.

Channels are taken one by one: a reduction over all axes but the last, of three, is five times
slower.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from weather_hpc.eda.kernels import CELL, CELLS, GREY, LEVELS, ORIENTATIONS, THUMBNAIL, Bytes

Doubles = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

CHANNELS = range(3)
_GREY_BITS = 15
"""Weights of the grey value are in units of 2^-15."""


def image_moments(images: Bytes) -> Doubles:
    """Mean and variance of each channel of each image: float64 (images, 2, 3)."""
    return np.array(
        [
            [[image[..., c].mean() for c in CHANNELS], [image[..., c].var() for c in CHANNELS]]
            for image in images
        ]
    ).reshape(-1, 2, 3)


def mean_std_of(moments: Doubles) -> Doubles:
    """Mean and standard deviation of each channel over all images, in 0..1: float64 (2, 3).

    ``moments`` are their :func:`image_moments`; images have equal sizes.
    """
    mean, variance = moments.mean(axis=0)
    variance = variance + moments[:, 0].var(axis=0)
    return np.stack([mean, np.sqrt(variance)]) / (LEVELS - 1)


def mean_std(images: Bytes) -> Doubles:
    """As :func:`mean_std_of`, of the images themselves."""
    return mean_std_of(image_moments(images))


def histograms(images: Bytes) -> Integers:
    """Counts of each level in each channel, int64 (3, 256), by ``numpy.bincount``, the fastest
    function of NumPy for it."""
    return sum_of(
        [np.bincount(image[..., c].ravel(), minlength=LEVELS) for c in CHANNELS] for image in images
    )


def histograms_by_histogram(images: Bytes) -> Integers:
    """As :func:`histograms`, by ``numpy.histogram``."""
    return sum_of(
        [np.histogram(image[..., c], LEVELS, (0, LEVELS))[0] for c in CHANNELS] for image in images
    )


def sum_of(parts: Iterable[Any]) -> Integers:
    """The sum of arrays of shape (3, 256)."""
    total: Integers = np.zeros((len(CHANNELS), LEVELS), dtype=np.int64)
    for part in parts:
        total += part
    return total


def equalized(images: Bytes) -> Bytes:
    """Each image with the histogram of its luminance equalized, uint8 as ``images``.

    Luminance is that of ITU-R BT.601, rounded to 8 bits, and equalized as OpenCV's
    ``equalizeHist`` does. Chrominance is kept: the change of a pixel's luminance is added to its
    three channels, which are clipped to 0..255.
    """
    changed = np.empty_like(images)
    for image, new in zip(images, changed, strict=True):
        grey = _grey(image)
        change = _equalizing(grey) - np.arange(LEVELS, dtype=np.int16)
        np.clip(image + change[grey][..., None], 0, LEVELS - 1, out=new, casting="unsafe")
    return changed


def equalized_sums(images: Bytes) -> Integers:
    """The sum of each channel of each :func:`equalized` image: int64 (images, 3)."""
    # rows first, along which the sum is fast
    rows = equalized(images).reshape(len(images), images.shape[1], -1).sum(axis=1, dtype=np.int64)
    sums: Integers = rows.reshape(len(images), -1, 3).sum(axis=1)
    return sums


def _grey(image: Bytes) -> Bytes:
    """The luminance of one image. Its sums are integers that 32-bit floats hold exactly."""
    weighted = image.astype(np.float32) @ np.array(GREY, dtype=np.float32)
    rounded = (weighted + (1 << (_GREY_BITS - 1))) * np.float32(2.0**-_GREY_BITS)
    return rounded.astype(np.uint8)


def _equalizing(grey: Bytes) -> npt.NDArray[np.int16]:
    """The new level of each level of one image's luminance, int16 (256,)."""
    counts = np.bincount(grey.ravel(), minlength=LEVELS)
    lowest = int(np.flatnonzero(counts)[0])
    above = grey.size - int(counts[lowest])
    if not above:
        return np.arange(LEVELS, dtype=np.int16)
    # in 32-bit floats, as OpenCV, whose rounding would otherwise differ in single levels
    scale = np.float32(LEVELS - 1) / np.float32(above)
    levels = np.rint((counts.cumsum() - counts[lowest]).astype(np.float32) * scale)
    levels[:lowest] = 0
    changed: npt.NDArray[np.int16] = levels.astype(np.int16)
    return changed


def features(images: Bytes) -> Doubles:
    """Colour moments and HOG, (images, 333). The side must be a multiple of 64."""
    return np.array([_features_of(image) for image in images])


def _features_of(image: Bytes) -> Doubles:
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
    small = _grey(image).reshape(THUMBNAIL, step, THUMBNAIL, step).mean(axis=(1, 3))
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
