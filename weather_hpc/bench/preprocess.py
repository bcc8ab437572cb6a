"""Turn images into pixels: beside Pillow, OpenCV, torchvision and naive Dask, with goals.

The images are linked as often as needed into one folder, which all contestants read from the page
cache. Ratios of one-core contestants are of CPU seconds, the others' of the clock's.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from weather_hpc.bench.goals import judge_all, print_goals
from weather_hpc.bench.telling import add_only, add_race_options, check_race_options, finish
from weather_hpc.errors import FailedError, UserError

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
    from weather_hpc.bench.harness import chosen, race
    from weather_hpc.bench.preprocess_contestants import (
        REFERENCE,
        contestants,
        goals,
    )

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
