"""What a worker computes of the images of a store in a measured exploration, part by part.

Histograms come first: their sums over all workers give the mean and standard deviation by which
the second pass normalises.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from weather_hpc.dataset.store import IMAGES, Store
from weather_hpc.eda import kernels
from weather_hpc.eda.equalization import equalized
from weather_hpc.eda.near_duplicates import difference_hashes
from weather_hpc.errors import UserError
from weather_hpc.preprocess.worker import WorkerResult, check_shared, ready
from weather_hpc.runs.clock import Clock
from weather_hpc.runs.record import RankInfo
from weather_hpc.study.recipe import RECIPES

GROUP_IMAGES = 8
"""Images that are computed on together. Groups are the same whatever the workers, so that results
are equal to the last bit."""
BATCH_GROUPS = 8
"""The most groups in a batch."""
SEED, EPOCH = 0, 0
"""Of the random numbers that images are augmented by."""

Doubles = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Batch:
    """Some rows of the store, as many as one worker computes on at a time."""

    pixels: Path
    rows: npt.NDArray[np.int64]
    labels: npt.NDArray[np.int64]
    """(images,)."""

    def __str__(self) -> str:
        return f"rows {self.rows[0]} to {self.rows[-1]} of {self.pixels}"

    def read(self, group: slice) -> kernels.Bytes:
        """The pixels of some rows, copied from the file.

        Raises FailedError where there is no file: on another node, perhaps.
        """
        try:
            # mapped again for each group, so that pages of earlier groups are released
            return np.asarray(np.load(self.pixels, mmap_mode="r")[self.rows[group]])
        except FileNotFoundError:
            check_shared(self.pixels)
            raise

    def groups(self) -> Iterator[slice]:
        """The rows, :data:`GROUP_IMAGES` at a time."""
        for first in range(0, len(self.rows), GROUP_IMAGES):
            yield slice(first, first + GROUP_IMAGES)


@dataclass(frozen=True)
class Counted(WorkerResult):
    """First pass: label -> int64 (3, 256), and the seconds of each part."""

    histograms: dict[int, kernels.Counts]
    seconds: dict[str, float]


@dataclass(frozen=True)
class Computed(WorkerResult):
    """Second pass: arrays with one row per image, and the seconds of each part."""

    sums: Doubles
    """(images, 4, 3): of each channel the sum of equalized levels, mean and standard deviation of
    normalised values, sum of augmented levels."""
    features: kernels.Floats
    """(images, 333)."""
    hashes: npt.NDArray[np.uint64]
    """(images, 2, 2)."""
    seconds: dict[str, float]


@dataclass(frozen=True)
class Constants:
    """What the second pass needs besides its images."""

    table: npt.NDArray[np.float32]
    """See :func:`weather_hpc.eda.kernels.normalization_table`."""
    recipe: str
    store_images: int
    """Rows of the store: an image's random numbers depend on its row."""


def batches(store: Store, rows: npt.NDArray[np.int64], workers: int) -> list[Batch]:
    """``rows`` in order, as work for ``workers`` (guided self-scheduling, Polychronopoulos and
    Kuck 1987).

    The first batches are large, because each costs a scheduler milliseconds; the last are one
    group, so that workers end together.
    """
    pixels, labels = (store.path / IMAGES).resolve(), store.labels
    made: list[Batch] = []
    first = 0
    while first < len(rows):
        groups = -(-(len(rows) - first) // GROUP_IMAGES)
        size = GROUP_IMAGES * min(BATCH_GROUPS, max(1, groups // (2 * workers)))
        part = rows[first : first + size]
        made.append(Batch(pixels, part, labels[part]))
        first += size
    return made


def prepare(store_images: int, side: int, recipe: str, rank: int) -> RankInfo:
    """On a worker: import and run once what images of ``side`` need."""
    load_torch()
    black = np.zeros((1, side, side, 3), dtype=np.uint8)
    table = kernels.normalization_table(np.zeros(3), np.ones(3))
    kernels.histograms(black)
    _compute(black, np.zeros(1, dtype=np.int64), Constants(table, recipe, store_images), Clock())
    return ready(rank)


def load_torch() -> Any:
    """torch on one thread: workers are processes. Raises UserError where it is not installed."""
    try:
        import torch
    except ImportError as error:
        raise UserError(
            f"eda measures the augmentation of training, which needs torch ({error}); "
            "install it with pip install 'weather_hpc[train]'"
        ) from None
    torch.set_num_threads(1)
    return torch


def count(batch: Batch) -> Counted:
    """On a worker: the first pass over ``batch``."""
    clock = Clock()
    histograms: dict[int, kernels.Counts] = {}
    for group in batch.groups():
        with clock.phase("reading"):
            images = batch.read(group)
        with clock.phase("histograms"):
            for label in np.unique(batch.labels[group]).tolist():
                counts = kernels.histograms(images[batch.labels[group] == label])
                histograms[label] = histograms.get(label, 0) + counts
    busy_s = sum(clock.seconds.values())
    return Counted(histograms, clock.seconds, images=len(batch.rows), busy_s=busy_s)


def compute(constants: Constants, batch: Batch) -> Computed:
    """On a worker: the second pass over ``batch``."""
    clock = Clock()
    parts = []
    for group in batch.groups():
        with clock.phase("reading"):
            images = batch.read(group)
        parts.append(_compute(images, batch.rows[group], constants, clock))
    sums, features, hashes = map(np.concatenate, zip(*parts, strict=True))
    busy_s = sum(clock.seconds.values())
    return Computed(sums, features, hashes, clock.seconds, images=len(batch.rows), busy_s=busy_s)


def _compute(
    images: kernels.Bytes, rows: npt.NDArray[np.int64], constants: Constants, clock: Clock
) -> tuple[Doubles, kernels.Floats, npt.NDArray[np.uint64]]:
    """:class:`Computed`'s arrays for one group, ``images`` of the store's ``rows``."""
    import torch

    from weather_hpc.train.augmentation import augment

    numbers = _random_numbers(constants.store_images)[rows]
    cv2 = kernels.load_opencv()
    sums = np.empty((len(images), 4, 3))
    with clock.phase("equalization"):
        for image, of in zip(images, sums, strict=True):
            of[0] = cv2.sumElems(equalized(image))[:3]
    with clock.phase("normalization"):
        for image, of in zip(images, sums, strict=True):
            mean, std = cv2.meanStdDev(kernels.normalized(image, constants.table))
            of[1:3] = mean[:, 0], std[:, 0]
    with clock.phase("augmentation"):
        how = RECIPES[constants.recipe].augmentation
        changed = augment(torch.from_numpy(images), torch.from_numpy(numbers), how).numpy()
        for image, of in zip(changed, sums, strict=True):
            of[3] = cv2.sumElems(image)[:3]
    with clock.phase("features"):
        greys = kernels.grey_thumbnails(images)
        features, hashes = kernels.features(images, greys), difference_hashes(greys)
    return sums, features, hashes


@cache
def _random_numbers(store_images: int) -> npt.NDArray[np.float32]:
    """The random numbers of every row's augmentation, (store_images, 6)."""
    from weather_hpc.train.augmentation import random_numbers

    return random_numbers(store_images, SEED, EPOCH)
