"""The pixels of a packed store, measured block by block, and a map of the images.

A worker maps the store, copies the rows of its block, and returns sums and features, so its memory
depends on the block and not on the number of images.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from weather_hpc.dataset.store import IMAGES, Store
from weather_hpc.eda import kernels
from weather_hpc.eda.near_duplicates import difference_hashes, pictures

BLOCK_IMAGES = 64
"""Images per block: 13 MB at 256 pixels."""

Doubles = npt.NDArray[np.float64]
MAP_ROWS = 1024


@dataclass(frozen=True)
class Block:
    """Some rows of the store. ``labels`` and ``train`` have one entry per row."""

    pixels: Path
    rows: npt.NDArray[np.int64]
    labels: npt.NDArray[np.int64]
    train: npt.NDArray[np.bool_]

    def __str__(self) -> str:
        return f"rows {self.rows[0]} to {self.rows[-1]} of {self.pixels}"


@dataclass
class PixelCounts:
    """Sums over images. All are integers, so the order of adding does not matter."""

    histograms: dict[tuple[int, bool], kernels.Counts] = field(default_factory=dict)
    """(label, in the training split) -> int64 (3, 256)."""
    sums: dict[int, npt.NDArray[np.uint64]] = field(default_factory=dict)
    """Label -> the sum of its images, (side, side, 3)."""
    images: dict[int, int] = field(default_factory=dict)
    """Label -> number of images in that sum."""

    def add(self, other: "PixelCounts") -> None:
        """Add the sums of another block."""
        for key, counts in other.histograms.items():
            self.histograms[key] = self.histograms.get(key, 0) + counts
        for label, total in other.sums.items():
            self.sums[label] = self.sums.get(label, 0) + total
            self.images[label] = self.images.get(label, 0) + other.images[label]

    def class_histogram(self, label: int) -> kernels.Counts:
        """All images of a class, int64 (3, 256)."""
        return self._sum(key for key in self.histograms if key[0] == label)

    def split_histogram(self, *, train: bool) -> kernels.Counts:
        """All images of the training split, or all others, int64 (3, 256)."""
        return self._sum(key for key in self.histograms if key[1] is train)

    def mean_image(self, label: int) -> kernels.Bytes:
        """The mean of a class's images, rounded: uint8 (side, side, 3)."""
        return np.rint(self.sums[label] / self.images[label]).astype(np.uint8)

    def _sum(self, keys: Iterator[tuple[int, bool]]) -> kernels.Counts:
        zero = np.zeros((len(kernels.CHANNELS), kernels.LEVELS), dtype=np.int64)
        return sum((self.histograms[key] for key in keys), start=zero)


@dataclass(frozen=True)
class BlockResult:
    """The measurements of one block: sums, and arrays with one row per image."""

    counts: PixelCounts
    features: kernels.Floats
    """(images, 333)."""
    hashes: npt.NDArray[np.uint64]
    """(images, 2, 2), see :func:`weather_hpc.eda.near_duplicates.difference_hashes`."""
    looks: Doubles
    """(images, 2), see :func:`weather_hpc.eda.kernels.looks`."""
    pictures: kernels.Bytes
    """(images, 32, 32), see :func:`weather_hpc.eda.near_duplicates.pictures`."""


def store_blocks(
    store: Store, rows: npt.NDArray[np.int64], size: int | None = None
) -> Iterator[Block]:
    """The given rows of ``store``, ``size`` at a time (default: :data:`BLOCK_IMAGES`)."""
    size = size or BLOCK_IMAGES
    labels = store.labels
    train = np.array([item["split"] == "train" for item in store.items], dtype=np.bool_)
    pixels = (store.path / IMAGES).absolute()
    for first in range(0, len(rows), size):
        part = rows[first : first + size]
        yield Block(pixels, part, labels[part], train[part])


def measure_block(block: Block) -> BlockResult:
    """On a worker: all measurements of a block."""
    # mapped again for each block, so that pages of earlier blocks are released
    images = np.load(block.pixels, mmap_mode="r")[block.rows]
    counts = PixelCounts()
    for label in np.unique(block.labels).tolist():
        of_class = block.labels == label
        for train in (True, False):
            chosen = images[of_class & (block.train == train)]
            if len(chosen):
                counts.histograms[label, train] = kernels.histograms(chosen)
        counts.sums[label] = images[of_class].sum(axis=0, dtype=np.uint64)
        counts.images[label] = int(of_class.sum())
    greys = kernels.grey_thumbnails(images)
    features = kernels.features(images, greys)
    looks = kernels.looks(images, greys)
    return BlockResult(counts, features, difference_hashes(greys), looks, pictures(greys))


def principal_map(
    features: npt.NDArray[np.float32], groups: tuple[int, ...], axes: int = 2
) -> tuple[Doubles, Doubles]:
    """Place each row of ``features``, float32 (images, columns), which may be a memory map.

    Columns are standardized, then weighted so that each of the ``groups`` of columns (their
    lengths, in order) has the same weight. Returns the positions on the first principal axes,
    (images, axes), and the share of the variance on each of them, (axes,).
    """
    centre, scale, covariance = _moments(features)
    weight = np.concatenate([np.full(length, length**-0.5) for length in groups]) / scale
    values, vectors = np.linalg.eigh(covariance * np.outer(weight, weight))
    first = vectors[:, : -axes - 1 : -1]
    # an eigenvector's sign is arbitrary: its largest entry is made positive
    first = first * np.sign(first[np.abs(first).argmax(axis=0), np.arange(axes)])
    positions = np.concatenate([(rows - centre) * weight @ first for rows in _row_blocks(features)])
    total = values.sum()
    return positions, values[: -axes - 1 : -1] / total if total > 0 else np.zeros(axes)


def _moments(features: npt.NDArray[np.float32]) -> tuple[Doubles, Doubles, Doubles]:
    """Mean and standard deviation of each column (1 where it is constant), and covariances."""
    columns = features.shape[1]
    sums, products = np.zeros(columns), np.zeros((columns, columns))
    # about the first block's mean, so that no digits are lost in the difference below
    origin = next(_row_blocks(features)).mean(axis=0)
    for rows in _row_blocks(features):
        rows -= origin
        sums += rows.sum(axis=0)
        products += rows.T @ rows
    mean = sums / len(features)
    covariance = products / len(features) - np.outer(mean, mean)
    deviation = np.sqrt(covariance.diagonal().clip(min=0))
    return origin + mean, np.where(deviation > 1e-9, deviation, 1.0), covariance


def _row_blocks(features: npt.NDArray[np.float32]) -> Iterator[Doubles]:
    for first in range(0, len(features), MAP_ROWS):
        yield features[first : first + MAP_ROWS].astype(np.float64)
