"""Train the paper's network on the CPU: beside naive student code and Lightning Fabric, with goals.

All see the same images in the same order from the same weights, in float32, and must come to the
same loss. Ratios of one-process contestants are of CPU seconds, those of ranks of the clock's.
"""

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from weather_hpc.bench.telling import add_race_options, check_race_options, finish
from weather_hpc.errors import FailedError, UserError

PAINTED_PER_CLASS = 4


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this subject's options."""
    parser.add_argument(
        "--images", type=int, default=320, metavar="N", help="images of the measured epoch"
    )
    add_race_options(parser)


def run(args: argparse.Namespace) -> int:
    """Race. Exit code: 0; 1 where a contestant failed or came to another loss."""
    from weather_hpc.bench.harness import race
    from weather_hpc.bench.preprocess_contestants import judge
    from weather_hpc.bench.train_contestants import BATCH, GOALS, NAIVE, contestants

    check_race_options(args)
    if args.images < 2 * BATCH:
        raise UserError(f"--images {args.images}: at least {2 * BATCH} are wanted")
    with tempfile.TemporaryDirectory(prefix="weather-hpc-bench-") as name:
        store = make_store(Path(name), args.images)
        result = race("train", contestants(store, args.images), args.rounds, NAIVE)
    judged = [judge(goal, result) for goal in GOALS]
    code = finish(result, args, images=args.images, batch_size=BATCH, goals=judged)
    _print_goals(judged)
    return code


def make_store(folder: Path, images: int, size: int = 256) -> Path:
    """A packed store of synthetic images, at least ``images`` of them to train on.

    A few are painted and used again and again: what is in them does not change the time.
    """
    from weather_hpc.bench.preprocess import link_images
    from weather_hpc.dataset.synthetic import make_synthetic

    made, linked = folder / "synthetic", folder / "images"
    make_synthetic(made, PAINTED_PER_CLASS)
    link_images([made], linked, images * 3 // 2, None)  # a fifth is held out
    command = [sys.executable, "-m", "weather_hpc.preprocess", "--data", str(linked)]
    command += ["--out", str(folder / "store"), "--size", str(size)]
    packed = subprocess.run(command, capture_output=True, text=True, check=False)
    if packed.returncode != 0:
        raise FailedError(packed.stderr.strip())
    return folder / "store"


def _print_goals(judged: Sequence[dict[str, Any]]) -> None:
    for goal in judged:
        ratio = "not measured" if goal["ratio"] is None else f"{goal['ratio']:.2f} times as fast"
        state = {True: "met", False: "missed", None: "open"}[goal["met"]]
        print(
            f"goal {state}: {goal['faster']} / {goal['slower']} ({goal['seconds']} s): {ratio}, "
            f"at least {goal['goal']:g} wanted",
            file=sys.stderr,
        )
