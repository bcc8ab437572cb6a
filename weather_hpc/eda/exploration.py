"""All measurements of a folder of images, from which tables, figures and page are made."""

import contextlib
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from weather_hpc import cli
from weather_hpc.dataset.image_file import printable
from weather_hpc.dataset.space import check_space, reserve
from weather_hpc.dataset.store import Store
from weather_hpc.eda import kernels
from weather_hpc.eda.headers import HeaderCounts, write_headers
from weather_hpc.eda.near_duplicates import SIDE, NearDuplicatePair, near_duplicates
from weather_hpc.eda.pixels import PixelCounts, measure_block, principal_map, store_blocks
from weather_hpc.files import atomic_path
from weather_hpc.preprocess.backends.workers import OrderedMap

CENSUS, FEATURES = "census.csv", "features.npy"

FEATURE_GROUPS = (9, kernels.HOG_LENGTH)
"""Columns of the features: colour moments, then HOG."""

AXES = 16
"""Principal components of the features, by which images are compared."""


@dataclass
class Exploration:
    """All measurements. Images are numbered by position: the ``i``-th valid row of the store."""

    store: Store
    headers: HeaderCounts
    pixels: PixelCounts
    looks: npt.NDArray[np.float64]
    """Brightness and sharpness of each image, (images, 2)."""
    components: npt.NDArray[np.float64]
    """Principal components of the features of each image, (images, AXES)."""
    explained: npt.NDArray[np.float64]
    """Share of the variance on each axis of the map, (2,)."""
    pairs: list[NearDuplicatePair]

    @property
    def positions(self) -> npt.NDArray[np.float64]:
        """On the map, (images, 2)."""
        return self.components[:, :2]

    @cached_property
    def classes(self) -> list[str]:
        """The classes' names, printable."""
        return [printable(name) for name in self.store.classes]

    @cached_property
    def rows(self) -> npt.NDArray[np.int64]:
        """The store's row of each image."""
        return self.store.rows()

    @cached_property
    def labels(self) -> npt.NDArray[np.int64]:
        """The label of each image."""
        return self.store.labels[self.rows]

    @cached_property
    def splits(self) -> list[str]:
        """The split of each image."""
        return [self.store.items[row]["split"] for row in self.rows.tolist()]

    def item(self, position: int) -> dict[str, str]:
        """The row of an image in items.csv, its names printable."""
        row = self.store.items[int(self.rows[position])]
        return {column: printable(value) for column, value in row.items()}

    def size_of(self, position: int) -> tuple[int, int] | None:
        """Width and height of an image's file as it is seen, pixels; None where it is gone."""
        return self.headers.seen.get(self.store.items[int(self.rows[position])]["path"])

    def image(self, position: int) -> kernels.Bytes:
        """The pixels of an image, uint8 (side, side, 3)."""
        return np.array(self.store.images[self.rows[position]])

    def typical(self, label: int) -> int:
        """The image of a class nearest to the class's centre on the map."""
        members = np.nonzero(self.labels == label)[0]
        if not len(members):
            raise ValueError(f"class {label} has no valid image")
        points = self.positions[members]
        distance = ((points - np.median(points, axis=0)) ** 2).sum(axis=1)
        return int(members[distance.argmin()])

    def present(self) -> list[int]:
        """The labels with at least one image that could be decoded."""
        return sorted(self.pixels.images)


def check_room(store: Store, out: Path) -> None:
    """Raise UserError where ``out`` has no room for what :func:`measure` writes."""
    check_space(out, len(store.rows()) * (4 * sum(FEATURE_GROUPS) + SIDE**2))


def measure(
    store: Store, data: Path, out: Path, workers: OrderedMap, clock: dict[str, float]
) -> Exploration:
    """Measure the images of ``store`` and its original files under ``data``, by ``workers``.

    Writes ``census.csv`` and ``features.npy`` into ``out``; keeps nothing of the size of the pixels
    in memory. ``clock`` gets the seconds of each step.
    """
    images = len(store.rows())
    with timed(clock, "census"):
        headers = write_headers(out / CENSUS, store, data, workers)
    with (
        atomic_path(out / FEATURES) as features_file,
        tempfile.TemporaryFile(dir=out) as pictures_file,
    ):
        features = np.lib.format.open_memmap(
            features_file, "w+", np.float32, shape=(images, sum(FEATURE_GROUPS))
        )
        pictures: kernels.Bytes = np.memmap(
            pictures_file, np.uint8, "w+", shape=(images, SIDE, SIDE)
        )
        reserve(features_file, out / FEATURES)
        reserve(pictures_file.fileno(), out)
        hashes = np.empty((images, 2, 2), dtype=np.uint64)
        looks = np.empty((images, 2))
        with timed(clock, "pixels"):
            pixels = _measure_pixels(store, workers, features, hashes, looks, pictures)
        with timed(clock, "map"):
            components, explained = principal_map(features, FEATURE_GROUPS, AXES)
        with timed(clock, "near_duplicates"):
            pairs = near_duplicates(hashes, pictures)
        features.flush()
    return Exploration(store, headers, pixels, looks, components, explained[:2], pairs)


def _measure_pixels(
    store: Store,
    workers: OrderedMap,
    features: npt.NDArray[np.float32],
    hashes: npt.NDArray[np.uint64],
    looks: npt.NDArray[np.float64],
    pictures: kernels.Bytes,
) -> PixelCounts:
    """Read all pixels once; fill the four arrays, one row per image."""
    counts = PixelCounts()
    first = 0
    with cli.progress("measuring pixels", total=len(features)) as advance:
        for block in workers(measure_block, store_blocks(store, store.rows())):
            counts.add(block.counts)
            rows = slice(first, first + len(block.hashes))
            features[rows] = block.features
            hashes[rows] = block.hashes
            looks[rows] = block.looks
            pictures[rows] = block.pictures
            first = rows.stop
            advance(len(block.hashes))
    return counts


@contextlib.contextmanager
def timed(clock: dict[str, float], name: str) -> Iterator[None]:
    """Record the seconds that the block takes."""
    start = time.perf_counter()
    yield
    clock[name] = round(time.perf_counter() - start, 4)
