"""What the tests of eda share: a packed store, its measurements, random pixels."""

from pathlib import Path

import numpy as np

from weather_hpc.dataset.store import Store
from weather_hpc.eda.exploration import Exploration, measure
from weather_hpc.eda.kernels import Bytes
from weather_hpc.preprocess.__main__ import main as preprocess
from weather_hpc.preprocess.backends.workers import open_workers
from weather_hpc.study.tasks import Backend


def pack(data: Path, out: Path, size: int = 64) -> Store:
    """The folder ``data``, packed to ``out``."""
    assert preprocess(["--data", str(data), "--out", str(out), "--size", str(size)]) == 0
    return Store.open(out)


def explore(data: Path, folder: Path, size: int = 64) -> Exploration:
    """All measurements of ``data``, made by this process."""
    store = pack(data, folder / "store", size)
    with open_workers(Backend.SEQUENTIAL, 1, "run it again") as here:
        return measure(store, data, folder, here, {})


def noise(images: int, side: int, seed: int = 0) -> Bytes:
    """Random pixels, uint8 (images, side, side, 3)."""
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (images, side, side, 3), dtype=np.uint8)
