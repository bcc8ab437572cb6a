"""Turn images into pixels: beside Pillow, OpenCV, torchvision and naive Dask, with goals.

The images are linked as often as needed into one folder, which all contestants read from the page
cache. Ratios of one-core contestants are of CPU seconds, the others' of the clock's.
"""

import argparse
import importlib.util
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from weather_hpc.bench.benchmark import Goal, judge_all, print_goals
from weather_hpc.bench.command_line import add_only, add_race_options, check_race_options, finish
from weather_hpc.bench.measurement import Contestant, Outcome
from weather_hpc.bench.timed_function import python_function
from weather_hpc.errors import FailedError, UserError
from weather_hpc.runs.environment import ALLOCATOR

SYNTHETIC_PER_CLASS = 12


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this subject's options."""
    add = parser.add_argument
    add("--data", type=Path, action="append", metavar="DIR",
        help="folder of class folders; may be repeated (default: synthetic images)")  # fmt: skip
    add("--max-mpx", type=float, metavar="MPX", help="leave out images of more megapixels")
    add("--images", type=int, default=640, metavar="N",
        help="link images again until there are at least so many")  # fmt: skip
    add("--size", type=int, default=256, metavar="PIXELS", help="height and width wanted")
    add_only(parser)
    add_race_options(parser)


def run(args: argparse.Namespace) -> int:
    """Race. Exit code: 0; 1 where a contestant failed or was wrong."""
    from weather_hpc.bench.benchmark import chosen, race

    check_race_options(args)
    if args.images < 1:
        raise UserError(f"--images {args.images}: at least 1 is wanted")
    with tempfile.TemporaryDirectory(prefix="weather-hpc-bench-") as name:
        folder, store = Path(name, "images"), Path(name, "store")
        images = link_images(_sources(args.data, Path(name)), folder, args.images, args.max_mpx)
        everybody = contestants(folder, store, images, args.size)
        racing, reference = chosen(everybody, args.only, REFERENCE)
        pack(folder, store, args.size)
        result = race("preprocess", racing, args.rounds, reference)
    judged = judge_all(goals(args.max_mpx), result)
    code = finish(result, args, images=images, max_mpx=args.max_mpx, goals=judged)
    print_goals(judged)
    return code


def pack(folder: Path, store: Path, size: int) -> None:
    """A store of the images in ``folder``, by all CPUs. Raises FailedError where none is made."""
    workers = str(len(os.sched_getaffinity(0)))
    packed = subprocess.run(
        [sys.executable, "-m", "weather_hpc.preprocess", "--data", str(folder),
         "--out", str(store), "--size", str(size),
         "--backend", "multiprocessing", "--workers", workers],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if packed.returncode != 0:
        raise FailedError(packed.stderr.strip())


def _sources(data: Sequence[Path] | None, scratch: Path) -> Sequence[Path]:
    if data:
        return data
    from weather_hpc.dataset.synthetic import make_synthetic

    make_synthetic(scratch / "synthetic", SYNTHETIC_PER_CLASS)
    return [scratch / "synthetic"]


def link_images(sources: Sequence[Path], folder: Path, at_least: int, max_mpx: float | None) -> int:
    """Link the usable images of ``sources`` into ``folder``, all of them as often as needed for
    ``at_least``; how many links there are. Raises UserError where no image is left."""
    from weather_hpc.dataset.catalogue import scan

    found = [
        (source.resolve(), item)
        for source in sources
        for item in scan(source).items
        if max_mpx is None or item.width * item.height <= max_mpx * 1e6
    ]
    if not found:
        raise UserError(f"--max-mpx {max_mpx}: no image is that small")
    times = -(-at_least // len(found))
    for number in range(times):
        for index, (source, item) in enumerate(found):
            original = source / item.path
            link = folder / original.parent.name / f"{number:03}-{index:06}{original.suffix}"
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(original)
    return times * len(found)


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
        lacks = needs and not _is_installed(needs)
        return Contestant(
            name,
            what,
            python_function(f"weather_hpc.bench.preprocess_functions:{function}", **arguments),
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
