"""Stores of random pixels, written at the disk's speed: what is in them changes no time."""

import hashlib
from pathlib import Path

import numpy as np

from weather_hpc.dataset.catalogue import Catalogue, Item, Split
from weather_hpc.dataset.partial import Contents, Finished, PartialStore
from weather_hpc.dataset.store import CHUNK_ROWS

CLASSES = 11
"""As many as WEAPD has."""

TEST_IMAGES = 11


def random_store(path: Path, images: int, side: int) -> Path:
    """A store of ``images`` to train on and a few held out, ``side`` px; each call the same.

    Every class has a colour of its own, so that there is something to learn.
    """
    count = images + TEST_IMAGES
    items = tuple(
        Item(f"{row}.png", row % CLASSES, 0, f"{row:064x}", "PNG", side, side)
        for row in range(count)
    )
    names = tuple(f"class{label:02}" for label in range(CLASSES))
    split = [Split.TRAIN] * images + [Split.TEST] * TEST_IMAGES
    contents = Contents(Catalogue(path, names, items, ()), split, side, "none: random pixels")
    random = np.random.default_rng(0)
    colours = random.integers(0, 128, (CLASSES, 1, 1, 3), dtype=np.uint8)
    with PartialStore(path, contents, fresh=True) as partial:
        pixels = np.lib.format.open_memmap(partial.images, mode="r+")
        for chunk in partial.missing():
            rows = np.arange(count)[chunk * CHUNK_ROWS : (chunk + 1) * CHUNK_ROWS]
            shape = (len(rows), side, side, 3)
            values = random.integers(0, 128, shape, dtype=np.uint8) + colours[rows % CLASSES]
            pixels[rows] = values
            partial.finish(Finished(chunk, hashlib.sha256(values.data).hexdigest()))
        del pixels
        partial.commit()
    return path
