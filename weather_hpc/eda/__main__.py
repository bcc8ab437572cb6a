"""``python -m weather_hpc.eda``: explore a folder of images before training on it.

python -m weather_hpc.eda --data photos --out explored --backend multiprocessing --workers 4
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weather_hpc import cli
from weather_hpc.errors import FailedError, UserError, nearest
from weather_hpc.study.flags import add_flags, given, make_task

if TYPE_CHECKING:
    from weather_hpc.study.spec import PreprocessTask


def main(argv: Sequence[str] | None = None) -> int:
    """Write tables, figures and eda.html. Exit code: 0; 1 where a kernel's result is wrong."""
    args = _parser().parse_args(argv)
    from weather_hpc.preprocess.chunk import ONE_THREAD

    os.environ.update(ONE_THREAD)  # before NumPy comes, here and in the workers that inherit it
    task = _task(args)
    _check(args)
    from weather_hpc.eda.stage import EdaOptions, explore

    try:
        result = explore(
            EdaOptions(
                args.data, args.out, task, seed=args.seed, store=args.store, rounds=args.rounds
            )
        )
    except OSError as error:  # the disk is full, or the file system was unmounted
        raise FailedError(f"{error.filename or args.out}: {error.strerror or error}") from None
    if args.json:
        cli.print_json(result)
    else:
        _print_summary(args.out, result)
    timings = result["kernels"]["laps"] if result["kernels"] else []
    return cli.EXIT_OK if all(timing["agrees"] for timing in timings) else cli.EXIT_FAILED


def _parser() -> cli.Parser:
    parser = cli.Parser("eda", description="Explore a folder of images before training on it.")
    add = parser.add_argument
    add("--data", type=Path, required=True, metavar="DIR", help="folder of class folders")
    add("--out", type=Path, required=True, metavar="DIR",
        help="where eda.html, tables and figures go")  # fmt: skip
    add("--store", type=Path, metavar="STORE", help="packed store to use (default: OUT/store)")
    add_flags(parser, "preprocess", {"backend": "sequential"}, without=["decoder"])
    add(
        "--seed",
        type=int,
        default=0,
        help="of the images, split and augmentations chosen",
    )
    add("--rounds", type=int, default=5, metavar="N",
        help="rounds of timing the kernels against NumPy and dask.array; 0: none")  # fmt: skip
    parser.add_json()
    return parser


def _check(args: argparse.Namespace) -> None:
    if args.rounds < 0:
        raise UserError(f"--rounds {args.rounds}: must be 0 or more")
    if args.seed < 0:
        raise UserError(f"--seed {args.seed}: must be 0 or more")
    for flag, path in (("--out", args.out), ("--store", args.store)):
        if path is not None and path.resolve().is_relative_to(args.data.resolve()):
            raise UserError(f"{flag} {path}: is inside --data, whose folders are classes")
    if args.out.exists() and not args.out.is_dir():
        raise UserError(f"--out {args.out}: is a file, not a folder")
    try:
        args.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"--out {args.out}: cannot be made: {error.strerror}") from None
    if not os.access(args.out, os.W_OK):
        raise UserError(f"--out {args.out}: cannot be written to")


def _task(args: argparse.Namespace) -> "PreprocessTask":
    """The task that the flags set. Raises UserError naming the flag that is wrong."""
    from weather_hpc.preprocess.backends.workers import LOCAL
    from weather_hpc.study.spec import PreprocessTask

    values = {"backend": "sequential"} | given(args, "preprocess")
    if values["backend"] not in LOCAL:
        known = nearest(values["backend"], [str(name) for name in LOCAL])
        raise UserError(f"--backend {values['backend']}: no such backend{known}")
    return make_task(PreprocessTask, values)


def _print_summary(out: Path, result: dict[str, Any]) -> None:
    from weather_hpc.eda.page import findings

    print(f"{out / 'eda.html'}: {result['images']} images in {len(result['classes'])} classes")
    for sentence in findings(result):
        print(f"  {sentence}")
    for timing in result["kernels"]["laps"] if result["kernels"] else []:
        subject, way, ratio = timing["subject"], timing["way"], timing["ratio"]
        if way != "ours":
            print(f"  {subject}: {way} takes {ratio:.1f} times as long as ours")


if __name__ == "__main__":
    cli.run("eda", main, sys.argv[1:])
