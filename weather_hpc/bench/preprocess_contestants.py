"""Who takes part in ``bench preprocess``, and which ratios this package has set itself."""

import importlib.util
from pathlib import Path
from typing import Any

from weather_hpc.bench.contestant import Contestant, Outcome, python_function
from weather_hpc.bench.goals import Goal
from weather_hpc.errors import FailedError
from weather_hpc.runs.environment import ALLOCATOR

REFERENCE = "Pillow"
FAST, EXACT, EPOCH = "ours, fast", "ours, exact", "epoch from the store"
ONE, TWO = "ours, multiprocessing, 1 worker", "ours, multiprocessing, 2 workers"
DASK, NAIVE = "ours, dask, 2 workers", "dask.delayed per image, 2 workers"


def goals(max_mpx: float | None) -> list[Goal]:
    """The package's goals; large photographs, which can be reduced, have one of their own."""
    large = max_mpx is None or max_mpx > 3
    return [
        Goal(FAST, REFERENCE, 3.5 if large else 2.4, cpu=True),
        Goal(EPOCH, REFERENCE, 150.0, cpu=True),
        Goal(TWO, ONE, 1.9, cpu=False),
        Goal(TWO, REFERENCE, 4.0, cpu=False),
        Goal(DASK, TWO, 1.0, cpu=False),
    ]


def contestants(folder: Path, store: Path, images: int, size: int) -> list[Contestant]:
    """All, each with one thread per process and the same settings of the allocator."""

    def check(outcome: Outcome) -> None:
        if outcome.facts["images"] != images:
            raise FailedError(f"{outcome.facts['images']} of {images} images came out")

    def make(name: str, what: str, function: str, needs: str = "", **arguments: Any) -> Contestant:
        module = "ffcv_work" if needs == "ffcv" else "preprocess_work"
        lacks = needs and not _is_installed(needs)
        return Contestant(
            name,
            what,
            python_function(f"weather_hpc.bench.{module}:{function}", **arguments),
            environment=ALLOCATOR,
            missing=f"{needs} is not installed" if lacks else None,
            check=check,
        )

    given: dict[str, Any] = {"folder": str(folder), "size": size}
    packing: dict[str, Any] = {**given, "decoder": "fast"}
    return [
        make(REFERENCE, "full decode, bicubic resize; one core", "pillow", **given),
        make(FAST, "this package's decoder; one core", "ours", "simplejpeg", **packing),
        make(EXACT, "Pillow under this package's rules; one core", "ours",
             **given, decoder="exact"),
        make("OpenCV", "imread, resize by area; one core", "cv2_area", "cv2", **given),
        make("torchvision", "ImageFolder, DataLoader; one core", "torchvision_loader",
             "torchvision", **given),
        make("DALI", "on the CPU, with Pillow for GIFs, which it cannot read; one core", "dali",
             "nvidia.dali", **given),
        make("FFCV", "JPEGs in its own file, decode, resize by area; one core", "ffcv_decode",
             "ffcv", **given),
        make(EPOCH, "shuffled batches of 32 by memory map; one core", "epoch", store=str(store)),
        make("epoch by FFCV", "the same from its own file; one core", "ffcv_epoch", "ffcv",
             store=str(store)),
        make("ours, sequential", "the stage: store written and checksummed", "pack",
             **packing, backend="sequential", workers=1),
        make(ONE, "the stage", "pack", **packing, backend="multiprocessing", workers=1),
        make(TWO, "the stage", "pack", **packing, backend="multiprocessing", workers=2),
        make(DASK, "the stage", "pack", "distributed", **packing, backend="dask", workers=2),
        make(NAIVE, "Dask with its own settings, Pillow's decoder, pixels sent back", "pack",
             "distributed", **given, decoder="exact", backend="dask-naive", workers=2),
        make("Pillow, Pool.map, 2 workers", "pixels sent back", "pool_map", **given, workers=2),
    ]  # fmt: skip


def _is_installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # the package around it is missing
        return False
