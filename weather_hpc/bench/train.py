"""Train the paper's network: compared with naive student code and Lightning Fabric, with goals.

All train on the same images in the same order from the same weights and must reach the same loss.
On the CPU everything is float32; implementations with one process are compared by CPU seconds,
those with several ranks by wall-clock seconds. On GPUs (``--device cuda``) precisions, memory
formats, executions and ranks on up to all GPUs are compared too, by wall-clock seconds, and the
fastest variant on one GPU then trains for 20 epochs.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from weather_hpc import cli
from weather_hpc.bench.benchmark import judge_goals, run_benchmark, select
from weather_hpc.bench.command_line import (
    BenchOptions,
    add_only,
    add_options,
    finish,
    options_from,
)
from weather_hpc.errors import UserError
from weather_hpc.files import temporary_folder

if TYPE_CHECKING:
    from weather_hpc.bench.train_implementations import Workload

PAINTED_PER_CLASS = 4

SIZE = 256
"""Height and width of an image, pixels: the goals are for this size."""

ON_CPU, ON_CUDA = 128, 6862
"""Images of an epoch: four steps of one rank, two of two ranks together; WEAPD has 6,862."""


@dataclass(frozen=True)
class TrainBenchOptions(BenchOptions):
    """The options of ``bench train``."""

    device: str
    store: Path | None
    images: int | None
    batch_size: int
    epochs: int
    only: list[str]


def add_arguments(parser: cli.Parser) -> None:
    """Add this subject's options."""
    add = parser.add_argument
    add("--device", default="cpu", choices=["cpu", "cuda"], help="what computes")
    add("--store", type=Path, metavar="DIR",
        help="packed store to train from (default: one of synthetic images)")  # fmt: skip
    add("--images", type=int, metavar="N",
        help=f"images of an epoch (default: {ON_CPU} on the CPU, {ON_CUDA} on a GPU)")  # fmt: skip
    add("--batch-size", type=int, default=32, metavar="B", help="images of a step and process")
    add("--epochs", type=int, default=10, metavar="E", help="measured epochs")
    add_only(parser)
    add_options(parser)


def run(args: argparse.Namespace) -> int:
    """Run the benchmark. Exit code: 0; 1 if an implementation failed or reached another loss."""
    options = options_from(args, TrainBenchOptions)
    on_gpu = options.device == "cuda"
    images = options.images
    if images is None:
        images = ON_CUDA if on_gpu else ON_CPU
    if options.batch_size < 2:
        raise UserError(f"--batch-size {options.batch_size}: must be at least 2")
    if images < 2 * options.batch_size:
        raise UserError(f"--images {images}: must be at least {2 * options.batch_size}")
    if options.epochs < 1:
        raise UserError(f"--epochs {options.epochs}: must be at least 1")
    gpus = _count_gpus() if on_gpu else 0
    with temporary_folder("bench") as scratch:
        if options.store is None:
            store = make_store(scratch, images)
        else:
            store = given_store(options.store, images)
        from weather_hpc.bench.train_implementations import Workload

        work = Workload(
            str(store), images, options.batch_size, options.epochs, device=options.device
        )
        return _run(options, work, gpus)


def _run(options: TrainBenchOptions, work: "Workload", gpus: int) -> int:
    """The benchmark on ``gpus`` GPUs, or on the CPU if it is 0; its exit code."""
    from weather_hpc.bench import train_implementations as train

    available = train.gpu_implementations(work, gpus) if gpus else train.cpu_implementations(work)
    selected, reference = select(available, options.only, train.NAIVE)
    result = run_benchmark("train", selected, options.rounds, reference)
    inputs = {"images": work.images, "batch_size": work.batch, "epochs": work.epochs}
    if not gpus:
        judged = judge_goals(train.CPU_GOALS, result)
        return finish(result, options, judged, device="cpu", **inputs)
    variant = train.fastest(result)
    judged = judge_goals(train.gpu_goals(variant), result)
    whole = train.whole_training(work, variant, options.rounds) if variant else None
    code = finish(result, options, judged, device="cuda", gpus=gpus, **inputs, whole_training=whole)
    if whole:
        print(train.whole_training_goal(whole), file=cli.words(options.json))
    return code


def _count_gpus() -> int:
    """GPUs that torch can compute on. Raises UserError, which says why, if there is none."""
    from weather_hpc.train.cuda import usable_gpus, why_no_cuda

    why = why_no_cuda()
    if why is not None:
        raise UserError(f"--device cuda: {why}")
    return usable_gpus()


def given_store(path: Path, images: int) -> Path:
    """The absolute path of a usable store. Raises UserError if ``path`` is not one."""
    from weather_hpc.dataset.store import Store

    store = Store.open(path)
    if store.size != SIZE:
        raise UserError(f"--store {path}: its images have {store.size} px; expected {SIZE} px")
    available = len(store.rows("train"))
    if available < images:
        raise UserError(
            f"--store {path}: has {available} training images; --images {images} asks for more"
        )
    return path.absolute()


def make_store(folder: Path, images: int, size: int = SIZE) -> Path:
    """A packed store of synthetic images, at least ``images`` of them to train on.

    A few are painted and repeated: their content does not change the time.
    """
    from weather_hpc.bench.preprocess import link_images, pack
    from weather_hpc.dataset.synthetic import make_synthetic

    made, linked = folder / "synthetic", folder / "images"
    make_synthetic(made, PAINTED_PER_CLASS)
    link_images([made], linked, images * 3 // 2, None)  # a fifth is held out
    pack(linked, folder / "store", size)
    return folder / "store"
