"""Everything measured about a folder of images: tables, figures and page are made from it."""

import contextlib
import csv
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from weather_hpc import cli
from weather_hpc.dataset.image_file import printable
from weather_hpc.dataset.store import Store
from weather_hpc.eda import kernels
from weather_hpc.eda.headers import COLUMNS, FileHeader, HeaderCounts, file_batches, read_headers
from weather_hpc.eda.near_duplicates import SIDE, Pair, near_duplicates
from weather_hpc.eda.pixels import PixelCounts, measure_block, principal_map, store_blocks
from weather_hpc.files import atomic_path, check_space
from weather_hpc.preprocess.backends.local import OrderedMap

CENSUS, FEATURES = "census.csv", "features.npy"


GROUPS = (9, kernels.HOG_LENGTH)
"""Columns of the features: colour moments, HOG."""


@dataclass
class Exploration:
    """All figures. Images are counted by position: the ``i``-th valid row of the store."""

    store: Store
    census: HeaderCounts
    tally: PixelCounts
    positions: npt.NDArray[np.float64]
    """On the map, (images, 2)."""
    explained: npt.NDArray[np.float64]
    """Share of the variance on each of its axes, (2,)."""
    pairs: list[Pair]
    time_s: dict[str, float] = field(default_factory=dict)

    @cached_property
    def classes(self) -> list[str]:
        """The classes' names, fit to be shown."""
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
        """What the store says of an image."""
        return self.store.items[int(self.rows[position])]

    def image(self, position: int) -> kernels.Bytes:
        """Its pixels, uint8 (side, side, 3)."""
        return np.array(self.store.images[self.rows[position]])

    def typical(self, label: int) -> int:
        """The image of a class that lies nearest to the class's centre on the map."""
        members = np.nonzero(self.labels == label)[0]
        if not len(members):
            raise ValueError(f"class {label} has no valid image")
        places = self.positions[members]
        distance = ((places - np.median(places, axis=0)) ** 2).sum(axis=1)
        return int(members[distance.argmin()])

    def present(self) -> list[int]:
        """The labels of which there is an image that could be decoded."""
        return sorted(self.tally.images)


def measure(store: Store, data: Path, out: Path, workers: OrderedMap) -> Exploration:
    """Run every pass over ``store`` and the files it was made from, by ``workers``.

    Writes ``census.csv`` and ``features.npy`` into ``out`` as it goes; holds only what does not
    have pixels in it.
    """
    clock: dict[str, float] = {}
    images = len(store.rows())
    check_space(out, images * (4 * sum(GROUPS) + SIDE**2))
    with timed(clock, "census"):
        counted = _census(store, data, out / CENSUS, workers)
    with (
        atomic_path(out / FEATURES) as features_file,
        tempfile.TemporaryFile(dir=out) as pictures_file,
    ):
        features = np.lib.format.open_memmap(
            features_file, "w+", np.float32, shape=(images, sum(GROUPS))
        )
        pictures: kernels.Bytes = np.memmap(
            pictures_file, np.uint8, "w+", shape=(images, SIDE, SIDE)
        )
        hashes = np.empty((images, 2, 2), dtype=np.uint64)
        with timed(clock, "pixels"):
            tally = _pixels(store, workers, features, hashes, pictures)
        with timed(clock, "map"):
            positions, explained = principal_map(features, GROUPS)
        with timed(clock, "near_duplicates"):
            pairs = near_duplicates(hashes, pictures)
        features.flush()
    return Exploration(store, counted, tally, positions, explained, pairs, clock)


def _census(store: Store, data: Path, path: Path, workers: OrderedMap) -> HeaderCounts:
    paths, labels = [item["path"] for item in store.items], store.labels.tolist()
    names = [printable(name) for name in store.classes]
    counted = HeaderCounts()
    with (
        cli.progress("reading headers", total=len(paths)) as advance,
        atomic_path(path) as temporary,
        temporary.open("w", encoding="utf-8", newline="") as file,
    ):
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for handful in workers(read_headers, file_batches(data, paths, labels)):
            for facts in handful:
                counted.add(facts)
                writer.writerow(_census_row(facts, names))
            advance(len(handful))
    return counted


def _census_row(facts: FileHeader, names: list[str]) -> Iterable[Any]:
    return (
        printable(facts.path), names[facts.label], facts.format, facts.mode, facts.width,
        facts.height, facts.bytes, facts.orientation, facts.frames, int(facts.name_fits),
    )  # fmt: skip


def _pixels(
    store: Store,
    workers: OrderedMap,
    features: npt.NDArray[np.float32],
    hashes: npt.NDArray[np.uint64],
    pictures: kernels.Bytes,
) -> PixelCounts:
    """The one pass over the pixels; fills the three arrays, one row per image."""
    tally = PixelCounts()
    at = 0
    with cli.progress("measuring pixels", total=len(features)) as advance:
        for measured in workers(measure_block, store_blocks(store, store.rows())):
            tally.add(measured.tally)
            here = slice(at, at + len(measured.hashes))
            features[here] = measured.features
            hashes[here] = measured.hashes
            pictures[here] = measured.pictures
            at = here.stop
            advance(len(measured.hashes))
    return tally


@contextlib.contextmanager
def timed(clock: dict[str, float], name: str) -> Iterator[None]:
    """Note the seconds that the block takes."""
    start = time.perf_counter()
    yield
    clock[name] = round(time.perf_counter() - start, 4)
