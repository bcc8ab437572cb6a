"""A packed store with one image that could not be decoded, and one that is larger than chunks."""

import json
from pathlib import Path

import numpy as np

from tests.dataset.nasty import plain_folder
from tests.eda.explored import pack
from weather_hpc.dataset.store import HEADER, IMAGES, ITEM_COLUMNS, ITEMS, Store

SIDE = 64


def small_store(folder: Path) -> Store:
    """23 valid images of 64 x 64 pixels, of 24: the row of one is black."""
    data = plain_folder(folder / "images", per_class=8)
    broken = data / "b" / "003.jpg"
    content = broken.read_bytes()
    broken.write_bytes(content[: len(content) * 3 // 4])
    return pack(data, folder / "store", SIDE)


def large_store(folder: Path, images: int, side: int) -> Store:
    """``images`` images of random pixels, written without decoding any."""
    store = small_store(folder)
    header = store.header | {"shape": [images, side, side, 3]}
    (store.path / HEADER).write_text(json.dumps(header))
    rows = [f"{row},a/{row}.jpg,a,train,{row:064},,1," for row in range(images)]
    (store.path / ITEMS).write_text("\n".join([",".join(ITEM_COLUMNS), *rows]) + "\n")
    pixels = np.lib.format.open_memmap(
        store.path / IMAGES, "w+", np.uint8, shape=(images, side, side, 3)
    )
    noise = np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)
    for row in range(images):
        pixels[row] = np.roll(noise, row, axis=0)
    pixels.flush()
    return Store.open(store.path)
