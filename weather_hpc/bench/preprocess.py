"""Image preprocessing: compared with Pillow, OpenCV, torchvision and naive Dask, with goals.

The images are linked as often as needed into one folder, which all implementations read from the
page cache. Those on one core are compared by CPU seconds, the others by wall-clock seconds.
"""

import argparse
import importlib.util
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from weather_hpc import cli
from weather_hpc.bench.benchmark import Goal, judge_goals, run_benchmark, select
from weather_hpc.bench.command_line import (
    BenchOptions,
    add_only,
    add_options,
    finish,
    options_from,
)
from weather_hpc.bench.measurement import Implementation, Outcome
from weather_hpc.bench.timed_function import function_command
from weather_hpc.errors import FailedError, UserError
from weather_hpc.files import temporary_folder
from weather_hpc.runs.environment import ALLOCATOR

SYNTHETIC_PER_CLASS = 12

REFERENCE = "Pillow"
FAST, EXACT, EPOCH = "ours, fast", "ours, exact", "epoch from the store"
ONE, TWO = "ours, multiprocessing, 1 worker", "ours, multiprocessing, 2 workers"
DASK, NAIVE = "ours, dask, 2 workers", "dask.delayed per image, 2 workers"


@dataclass(frozen=True)
class PreprocessOptions(BenchOptions):
    """The options of ``bench preprocess``."""

    data: list[Path] | None
    max_mpx: float | None
    images: int
    size: int
    only: list[str]


def add_arguments(parser: cli.Parser) -> None:
    """Add this subject's options."""
    add = parser.add_argument
    add("--data", type=Path, action="append", metavar="DIR",
        help="folder of class folders; may be repeated (default: synthetic images)")  # fmt: skip
    add("--max-mpx", type=float, metavar="MPX", help="leave out images with more megapixels")
    add("--images", type=int, default=640, metavar="N",
        help="repeat the images, by links, until there are at least N")  # fmt: skip
    add("--size", type=int, default=256, metavar="PIXELS", help="height and width of the result")
    add_only(parser)
    add_options(parser)


def run(args: argparse.Namespace) -> int:
    """Run the benchmark. Exit code: 0; 1 if an implementation failed or had a wrong result."""
    options = options_from(args, PreprocessOptions)
    if options.images < 1:
        raise UserError(f"--images {options.images}: must be at least 1")
    with temporary_folder("bench") as scratch:
        folder, store = scratch / "images", scratch / "store"
        sources = _sources(options.data, scratch)
        images = link_images(sources, folder, options.images, options.max_mpx)
        available = implementations(folder, store, images, options.size)
        selected, reference = select(available, options.only, REFERENCE)
        pack(folder, store, options.size)
        result = run_benchmark("preprocess", selected, options.rounds, reference)
    judged = judge_goals(goals(options.max_mpx), result)
    return finish(result, options, judged, images=images, max_mpx=options.max_mpx)


def pack(folder: Path, store: Path, size: int) -> None:
    """Pack the images in ``folder`` into a store, on all CPUs. Raises FailedError if that fails."""
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
    """Link the usable images of ``sources`` into ``folder``, repeated until there are ``at_least``.

    Returns the number of links. Raises UserError if no image is left.
    """
    from weather_hpc.dataset.catalogue import scan

    images = [
        (source.resolve(), item)
        for source in sources
        for item in scan(source).items
        if max_mpx is None or item.width * item.height <= max_mpx * 1e6
    ]
    if not images:
        raise UserError(f"--max-mpx {max_mpx}: every image is larger")
    times = -(-at_least // len(images))
    for number in range(times):
        for index, (source, item) in enumerate(images):
            original = source / item.path
            link = folder / original.parent.name / f"{number:03}-{index:06}{original.suffix}"
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(original)
    return times * len(images)


def goals(max_mpx: float | None) -> list[Goal]:
    """The package's goals; large photographs, which decode reduced, have a goal of their own."""
    large = max_mpx is None or max_mpx > 3
    return [
        Goal(FAST, REFERENCE, 3.5 if large else 2.4, cpu=True),
        Goal(EPOCH, REFERENCE, 150.0, cpu=True),
        Goal(TWO, ONE, 1.9, cpu=False),
        Goal(TWO, REFERENCE, 4.0, cpu=False),
        Goal(DASK, TWO, 1.0, cpu=False),
    ]


def implementations(folder: Path, store: Path, images: int, size: int) -> list[Implementation]:
    """All, each with one thread per process and the same allocator settings."""

    def check(outcome: Outcome) -> None:
        if outcome.facts["images"] != images:
            raise FailedError(f"{outcome.facts['images']} of {images} images were produced")

    def make(
        name: str, what: str, function: str, needs: str = "", **arguments: Any
    ) -> Implementation:
        lacks = needs and not _is_installed(needs)
        return Implementation(
            name,
            what,
            function_command(f"weather_hpc.bench.preprocess_functions:{function}", **arguments),
            environment=ALLOCATOR,
            missing=f"{needs} is not installed" if lacks else None,
            check=check,
        )

    images_of: dict[str, Any] = {"folder": str(folder), "size": size}
    packing: dict[str, Any] = {**images_of, "decoder": "fast"}
    return [
        make(REFERENCE, "full decode, bicubic resize; one core", "pillow", **images_of),
        make(FAST, "this package's decoder; one core", "ours", "simplejpeg", **packing),
        make(EXACT, "Pillow under this package's rules; one core", "ours",
             **images_of, decoder="exact"),
        make("OpenCV", "imread, resize by area; one core", "cv2_area", "cv2", **images_of),
        make("torchvision", "ImageFolder, DataLoader; one core", "torchvision_loader",
             "torchvision", **images_of),
        make("DALI", "on the CPU, with Pillow for GIFs, which it cannot read; one core", "dali",
             "nvidia.dali", **images_of),
        make("FFCV", "JPEGs in its own file, decode, resize by area; one core", "ffcv_decode",
             "ffcv", **images_of),
        make(EPOCH, "shuffled batches of 32 by memory map; one core", "epoch", store=str(store)),
        make("epoch by FFCV", "the same from its own file; one core", "ffcv_epoch", "ffcv",
             store=str(store)),
        make("ours, sequential", "the stage: store written and checksummed", "pack",
             **packing, backend="sequential", workers=1),
        make(ONE, "the stage", "pack", **packing, backend="multiprocessing", workers=1),
        make(TWO, "the stage", "pack", **packing, backend="multiprocessing", workers=2),
        make(DASK, "the stage", "pack", "distributed", **packing, backend="dask", workers=2),
        make(NAIVE, "Dask with its own settings, Pillow's decoder, pixels sent back", "pack",
             "distributed", **images_of, decoder="exact", backend="dask-naive", workers=2),
        make("Pillow, Pool.map, 2 workers", "pixels sent back", "pool_map", **images_of, workers=2),
    ]  # fmt: skip


def _is_installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # the package around it is missing
        return False
