"""The one pass over the packed store: block by block, by any number of workers.

A worker maps the store, copies the rows of its block, and gives back what can be added up; so
the memory it takes depends on the block and never on the number of images.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from weather_hpc.dataset.store import IMAGES, Store
from weather_hpc.eda import kernels
from weather_hpc.eda.hashes import difference_hashes
from weather_hpc.eda.near_duplicates import pictures

BLOCK = 64
"""Images of a block: 13 MB at 256 pixels."""


@dataclass(frozen=True)
class Block:
    """Some rows of the store. ``labels`` and ``train`` have one entry per row."""

    pixels: Path
    rows: npt.NDArray[np.int64]
    labels: npt.NDArray[np.int64]
    train: npt.NDArray[np.bool_]


@dataclass
class Tally:
    """What adds up over images. All numbers are whole, so the order of adding is no matter."""

    histograms: dict[tuple[int, bool], kernels.Counts] = field(default_factory=dict)
    """(label, in the training split) -> int64 (3, 256)."""
    sums: dict[int, npt.NDArray[np.uint64]] = field(default_factory=dict)
    """Label -> the sum of its images, (side, side, 3)."""
    images: dict[int, int] = field(default_factory=dict)
    """Label -> how many images that sum has."""

    def add(self, other: "Tally") -> None:
        """Take in what another block counted."""
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
class Measured:
    """What one block gives: sums, and what there is of each image."""

    tally: Tally
    features: kernels.Floats
    """(images, 333)."""
    hashes: npt.NDArray[np.uint64]
    """(images, 2, 2), see :func:`weather_hpc.eda.hashes.difference_hashes`."""
    pictures: kernels.Bytes
    """(images, 32, 32), to compare pictures by."""


def blocks(store: Store, rows: npt.NDArray[np.int64], size: int | None = None) -> Iterator[Block]:
    """The given rows of ``store``, ``size`` at a time (:data:`BLOCK` unless told)."""
    size = size or BLOCK
    labels = store.labels
    train = np.array([item["split"] == "train" for item in store.items], dtype=np.bool_)
    pixels = (store.path / IMAGES).absolute()
    for first in range(0, len(rows), size):
        part = rows[first : first + size]
        yield Block(pixels, part, labels[part], train[part])


def measure(block: Block) -> Measured:
    """Everything that a look at the pixels gives; runs in a worker."""
    # mapped anew for each block, so that what was read does not stay
    images = np.load(block.pixels, mmap_mode="r")[block.rows]
    tally = Tally()
    for label in np.unique(block.labels).tolist():
        of_class = block.labels == label
        for train in (True, False):
            chosen = images[of_class & (block.train == train)]
            if len(chosen):
                tally.histograms[label, train] = kernels.histograms(chosen)
        tally.sums[label] = images[of_class].sum(axis=0, dtype=np.uint64)
        tally.images[label] = int(of_class.sum())
    greys = kernels.grey_thumbnails(images)
    features = kernels.features(images, greys)
    return Measured(tally, features, difference_hashes(greys), pictures(greys))
