"""Train the paper's network: beside naive student code and Lightning Fabric, with goals.

All see the same images in the same order from the same weights and must come to the same loss. On
the CPU all is float32; ratios of one-process contestants are of CPU seconds, those of ranks of the
clock's. On GPUs (``--device cuda``) precisions, memory formats, ways of execution and ranks on up
to all GPUs race as well, by the clock, and the fastest on one then trains for 20 epochs.
"""

import argparse
import sys
import tempfile
from pathlib import Path

from weather_hpc.bench.benchmark import judge_all, print_goals
from weather_hpc.bench.command_line import add_only, add_race_options, check_race_options, finish
from weather_hpc.errors import UserError

PAINTED_PER_CLASS = 4

SIZE = 256
"""Height and width of an image, pixels: the goals are for this one."""

ON_CPU, ON_CUDA = 128, 6862
"""Images of an epoch: four steps of one rank, two of two ranks together; WEAPD has 6,862."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this subject's options."""
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"], help="what computes")
    parser.add_argument(
        "--store", type=Path, metavar="DIR",
        help="packed store to train from (default: one of synthetic images, made for the race)",
    )  # fmt: skip
    parser.add_argument(
        "--images", type=int, metavar="N",
        help=f"images of an epoch (default: {ON_CPU} on the CPU, {ON_CUDA} on a GPU)",
    )  # fmt: skip
    parser.add_argument(
        "--batch-size", type=int, default=32, metavar="B", help="images of a step and process"
    )
    parser.add_argument("--epochs", type=int, default=10, metavar="E", help="measured epochs")
    add_only(parser)
    add_race_options(parser)


def run(args: argparse.Namespace) -> int:
    """Race. Exit code: 0; 1 where a contestant failed or came to another loss."""
    check_race_options(args)
    on_gpu = args.device == "cuda"
    images = (ON_CUDA if on_gpu else ON_CPU) if args.images is None else args.images
    if args.batch_size < 2:
        raise UserError(f"--batch-size {args.batch_size}: at least 2 are wanted")
    if images < 2 * args.batch_size:
        raise UserError(f"--images {images}: at least {2 * args.batch_size} are wanted")
    if args.epochs < 1:
        raise UserError(f"--epochs {args.epochs}: at least 1 is wanted")
    gpus = _count_gpus() if on_gpu else 0
    if args.store is not None:
        return _race(args, given_store(args.store, images), images, gpus)
    with tempfile.TemporaryDirectory(prefix="weather-hpc-bench-") as name:
        return _race(args, make_store(Path(name), images), images, gpus)


def _race(args: argparse.Namespace, store: Path, images: int, gpus: int) -> int:
    if gpus:
        return _race_on_gpus(args, store, images, gpus)
    return _race_on_cpu(args, store, images)


def _race_on_cpu(args: argparse.Namespace, store: Path, images: int) -> int:
    from weather_hpc.bench.benchmark import chosen, race
    from weather_hpc.bench.train_implementations import CPU_GOALS, NAIVE, cpu_contestants

    batch, epochs = args.batch_size, args.epochs
    racing, reference = chosen(cpu_contestants(store, images, batch, epochs), args.only, NAIVE)
    result = race("train", racing, args.rounds, reference)
    judged = judge_all(CPU_GOALS, result)
    code = finish(
        result, args, device="cpu", images=images, batch_size=batch, epochs=epochs, goals=judged
    )
    print_goals(judged)
    return code


def _race_on_gpus(args: argparse.Namespace, store: Path, images: int, gpus: int) -> int:
    from weather_hpc.bench.benchmark import chosen, race
    from weather_hpc.bench.train_implementations import (
        NAIVE,
        fastest,
        gpu_contestants,
        gpu_goals,
        whole_training,
    )

    batch, epochs = args.batch_size, args.epochs
    everybody = gpu_contestants(store, images, batch, epochs, gpus)
    racing, reference = chosen(everybody, args.only, NAIVE)
    result = race("train", racing, args.rounds, reference)
    way = fastest(result)
    judged = judge_all(gpu_goals(way), result) if way else []
    whole = whole_training(store, images, batch, way, args.rounds) if way else None
    code = finish(
        result, args, device="cuda", gpus=gpus, images=images, batch_size=batch, epochs=epochs,
        goals=judged, whole_training=whole,
    )  # fmt: skip
    print_goals(judged)
    if whole:
        state = {True: "met", False: "missed", None: "open (not its images)"}[whole["met"]]
        print(
            f"goal {state}: {whole['epochs']} epochs of {images} images in {whole['time_s']:.3g} s,"
            f" at most {whole['goal_s']:g} wanted, by weather_hpc.train {' '.join(whole['flags'])}",
            file=sys.stderr,
        )
    return code


def _count_gpus() -> int:
    """GPUs that torch can compute on. Raises UserError, which says why, where there is none."""
    from weather_hpc.train.cuda import usable_gpus, why_no_cuda

    why = why_no_cuda()
    if why is not None:
        raise UserError(f"--device cuda: {why}")
    return usable_gpus()


def given_store(path: Path, images: int) -> Path:
    """The absolute path of a store that will do. Raises UserError where ``path`` is none such."""
    from weather_hpc.dataset.store import Store

    store = Store.open(path)
    if store.size != SIZE:
        raise UserError(f"--store {path}: its images have {store.size} px; {SIZE} px are wanted")
    there = len(store.rows("train"))
    if there < images:
        raise UserError(
            f"--store {path}: has {there} training images; --images {images} asks for more"
        )
    return path.absolute()


def make_store(folder: Path, images: int, size: int = SIZE) -> Path:
    """A packed store of synthetic images, at least ``images`` of them to train on.

    A few are painted and used again and again: what is in them does not change the time.
    """
    from weather_hpc.bench.preprocess import link_images, pack
    from weather_hpc.dataset.synthetic import make_synthetic

    made, linked = folder / "synthetic", folder / "images"
    make_synthetic(made, PAINTED_PER_CLASS)
    link_images([made], linked, images * 3 // 2, None)  # a fifth is held out
    pack(linked, folder / "store", size)
    return folder / "store"
