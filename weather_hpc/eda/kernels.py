"""The inner loops, on OpenCV.

:mod:`weather_hpc.eda.numpy_operations` and :mod:`weather_hpc.eda.dask_operations` compute the same
without OpenCV, and :mod:`weather_hpc.eda.benchmark` compares and times them.
"""

from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from weather_hpc.errors import UserError

Bytes = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]
Counts = npt.NDArray[np.int64]

CHANNELS = ("red", "green", "blue")
LEVELS = 256
EXACT = 1 << 24
"""OpenCV counts in 32-bit floats, which are exact up to here."""

THUMBNAIL = 64
"""Side of the thumbnails, pixels, that gradients and hashes are computed from."""
CELL = 16
"""Side of a HOG cell, pixels of the thumbnail."""
ORIENTATIONS = 9
CELLS = THUMBNAIL // CELL
HOG_LENGTH = (CELLS - 1) ** 2 * 4 * ORIENTATIONS
FEATURES = 9 + HOG_LENGTH
"""Length of an image's features: colour moments and HOG."""
GREY = (9798, 19235, 3735)
"""ITU-R BT.601 luma of red, green and blue, in 1/32768, as OpenCV rounds it."""


def histograms(images: Bytes) -> Counts:
    """How often each level occurs in each channel: ``images`` uint8 (images, side, side, 3) ->
    int64 (3, 256).

    Neighbouring pixels of a channel are counted in pairs, as one 16-bit number: half as many
    steps. Low and high bytes are separated at the end.
    """
    cv2 = load_opencv()
    counts = np.zeros((len(CHANNELS), LEVELS), dtype=np.int64)
    rows = max(1, EXACT // images[0].size) if len(images) else 1
    for first in range(0, len(images), rows):
        part = images[first : first + rows]
        # OpenCV needs two dimensions and at most 2^31 rows
        for channel, plane in enumerate(cv2.split(part.reshape(-1, part.shape[2], 3))):
            counts[channel] += _count(cv2, plane.reshape(-1))
    return counts


def _count(cv2: Any, values: Bytes) -> Counts:
    paired = len(values) & ~1
    counts = np.bincount(values[paired:], minlength=LEVELS)
    if paired:
        pairs = values[:paired].view(np.uint16)
        table = cv2.calcHist([pairs[None]], [0], None, [LEVELS**2], [0, LEVELS**2])
        table = table.reshape(LEVELS, LEVELS).astype(np.int64)
        counts = counts + table.sum(axis=0) + table.sum(axis=1)
    return counts.astype(np.int64, copy=False)


def mean_std(counts: Counts) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Mean and standard deviation of the pixels of each channel, in 0..1, from their histograms.

    ``counts`` int64 (..., 256) -> two float64 (...). The sums are integers, so the result is exact
    to rounding for any number of images and workers.
    """
    levels = np.arange(LEVELS, dtype=np.int64)
    pixels = counts.sum(axis=-1).astype(np.float64)
    mean = (counts @ levels) / pixels
    # around the mean: the difference of two large sums would lose digits
    squares = (counts * (levels - mean[..., None]) ** 2).sum(axis=-1)
    return mean / 255, np.sqrt(squares / pixels) / 255


def looks(images: Bytes, greys: Bytes) -> npt.NDArray[np.float64]:
    """Brightness and sharpness of ``images``, uint8 (images, side, side, 3): float64 (images, 2).

    Brightness is the mean luma, 0..255, of the thumbnails ``greys``; sharpness the variance of the
    Laplacian of the luma, which blur makes small.
    """
    cv2 = load_opencv()
    found = np.empty((len(images), 2))
    found[:, 0] = greys.mean(axis=(1, 2))
    for number, image in enumerate(images):
        edges = cv2.Laplacian(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.CV_16S)
        found[number, 1] = float(cv2.meanStdDev(edges)[1][0, 0]) ** 2
    return found


def equalized(image: Bytes) -> Bytes:
    """``image``, uint8 (side, side, 3), with its luminance equalized and its chrominance kept.

    To the last bit as :func:`weather_hpc.eda.numpy_operations.equalized` defines it.
    """
    cv2 = load_opencv()
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    change = cv2.subtract(cv2.equalizeHist(grey), grey, dtype=cv2.CV_16S)
    changed: Bytes = cv2.add(image, cv2.merge((change, change, change)), dtype=cv2.CV_8U)
    return changed


def equalized_sums(images: Bytes) -> Counts:
    """The sum of each channel of each :func:`equalized` image: int64 (images, 3)."""
    cv2 = load_opencv()
    sums = [cv2.sumElems(equalized(image))[:3] for image in images]
    return np.array(sums, dtype=np.int64).reshape(-1, 3)


def normalization_table(
    mean: npt.NDArray[np.float64], std: npt.NDArray[np.float64]
) -> npt.NDArray[np.float32]:
    """The normalised value of every level in each channel, float32 (1, 256, 3).

    ``mean`` and ``std``, (3,), as :func:`mean_std` returns them. A channel whose pixels are all
    equal, with a ``std`` of 0, is only centred.
    """
    levels = np.arange(LEVELS)[:, None] / 255
    return ((levels - mean) / np.where(std > 0, std, 1.0)).astype(np.float32)[None]


def normalized(image: Bytes, table: npt.NDArray[np.float32]) -> Floats:
    """``image``, uint8 (side, side, 3), by a :func:`normalization_table`: float32, same shape.

    Only 256 levels exist, and to look them up is cheaper than a difference and a quotient.
    """
    looked_up: Floats = load_opencv().LUT(image, table)
    return looked_up


def features(images: Bytes, greys: Bytes) -> Floats:
    """Colour moments and HOG of each image, float32 (images, 9 + 324).

    ``greys`` are its :func:`grey_thumbnails`.
    """
    return np.concatenate([colour_moments(images), hog(greys)], axis=1)


def colour_moments(images: Bytes) -> Floats:
    """Mean, standard deviation and cube root of the third central moment of each channel, in
    0..1: float32 (images, 9), after Stricker and Orengo (1995)."""
    cv2 = load_opencv()
    counts = np.stack(
        [
            [cv2.calcHist([image], [channel], None, [LEVELS], [0, LEVELS]) for channel in range(3)]
            for image in images
        ]
    ).reshape(len(images), 3, LEVELS)
    shares = counts / np.float64(images[0, :, :, 0].size)
    levels = np.arange(LEVELS) / 255
    mean = shares @ levels
    around = levels - mean[..., None]
    variance = (shares * around**2).sum(axis=-1)
    third = (shares * around**3).sum(axis=-1)
    return np.concatenate([mean, np.sqrt(variance), np.cbrt(third)], axis=1, dtype=np.float32)


def grey_thumbnails(images: Bytes) -> Bytes:
    """Each image turned grey and averaged down to 64 x 64: uint8 (images, 64, 64)."""
    cv2 = load_opencv()
    side = (THUMBNAIL, THUMBNAIL)
    greys = (cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) for image in images)
    return np.stack([cv2.resize(grey, side, interpolation=cv2.INTER_AREA) for grey in greys])


def hog(greys: Bytes) -> Floats:
    """Histograms of oriented gradients, float32 (images, 324), after Dalal and Triggs (2005).

    Cells of 16 x 16 pixels, 9 unsigned orientations, each gradient counted by its length in its
    own bin; blocks of 2 x 2 cells, each brought to length 1.
    """
    images = len(greys)
    values = greys.astype(np.int32)
    across, down = np.zeros_like(values), np.zeros_like(values)
    across[:, :, 1:-1] = values[:, :, 2:] - values[:, :, :-2]
    down[:, 1:-1] = values[:, 2:] - values[:, :-2]
    gradient = (down + 255) * 511 + (across + 255)
    orientation, length = _gradients()
    cell = np.arange(THUMBNAIL) // CELL
    cells = np.arange(images)[:, None, None] * CELLS**2 + cell[:, None] * CELLS + cell
    bins = (cells * ORIENTATIONS + orientation[gradient]).reshape(-1)
    weights = length[gradient].reshape(-1)
    size = images * CELLS**2 * ORIENTATIONS
    energy = np.bincount(bins, weights, size).reshape(images, CELLS, CELLS, ORIENTATIONS)
    blocks = np.concatenate(
        [energy[:, :-1, :-1], energy[:, :-1, 1:], energy[:, 1:, :-1], energy[:, 1:, 1:]], axis=-1
    )
    blocks /= np.sqrt((blocks**2).sum(axis=-1, keepdims=True) + 1)
    return blocks.reshape(images, HOG_LENGTH).astype(np.float32)


@cache
def _gradients() -> tuple[npt.NDArray[np.int32], Floats]:
    """Orientation bin and length of every gradient of 8-bit greys: only 511 x 511 exist, and a
    table is cheaper than an arc tangent per pixel."""
    steps = np.arange(-255, 256)
    down, across = steps[:, None], steps[None, :]
    turned = np.arctan2(down, across) % np.pi / np.pi * ORIENTATIONS
    orientation = turned.astype(np.int32) % ORIENTATIONS
    return orientation.reshape(-1), np.hypot(down, across).astype(np.float32).reshape(-1)


def load_opencv() -> Any:
    """The module ``cv2`` on one thread: workers are processes.

    Raises UserError where it is not installed.
    """
    try:
        import cv2
    except ImportError as error:
        raise UserError(
            f"OpenCV cannot be loaded ({error}); install it with pip install 'weather_hpc[eda]'"
        ) from None
    cv2.setNumThreads(1)
    return cv2
