"""``python -m weather_hpc.eda``: look at a folder of images before training on it.

python -m weather_hpc.eda --data photos --out looked --backend multiprocessing --workers 4
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
    """Write figures, tables and eda.html. Exit code: 0; 1 where two kernels disagreed."""
    args = _parser().parse_args(argv)
    from weather_hpc.preprocess.chunk import ONE_THREAD

    os.environ.update(ONE_THREAD)  # before NumPy comes, here and in the workers that inherit it
    task = _task(args)
    _check(args)
    from weather_hpc.eda.stage import Request, explore

    try:
        result = explore(
            Request(args.data, args.out, task, seed=args.seed, store=args.store, rounds=args.rounds)
        )
    except OSError as error:  # the disk is full, or the file system went away
        raise FailedError(f"{error.filename or args.out}: {error.strerror or error}") from None
    if args.json:
        cli.print_json(result)
    else:
        _tell(args.out, result)
    laps = result["kernels"]["laps"] if result["kernels"] else []
    return cli.EXIT_OK if all(lap["agrees"] for lap in laps) else cli.EXIT_FAILED


def _parser() -> cli.Parser:
    parser = cli.Parser("eda", description="Look at a folder of images before training on it.")
    add = parser.add_argument
    add("--data", type=Path, required=True, metavar="DIR", help="folder of class folders")
    add("--out", type=Path, required=True, metavar="DIR",
        help="where eda.html, tables and figures go")  # fmt: skip
    add("--store", type=Path, metavar="STORE", help="packed store to use (default: OUT/store)")
    add_flags(parser, "preprocess", {"backend": "sequential"}, without=["decoder"])
    add("--seed", type=int, default=0, help="of that choice, the split and the augmentations")
    add("--rounds", type=int, default=5, metavar="N",
        help="rounds of timing our kernels beside NumPy and dask.array; 0: none")  # fmt: skip
    parser.add_json()
    return parser


def _check(args: argparse.Namespace) -> None:
    if args.rounds < 0:
        raise UserError(f"--rounds {args.rounds}: at least 0 wanted")
    if args.seed < 0:
        raise UserError(f"--seed {args.seed}: at least 0 wanted")
    for flag, path in (("--out", args.out), ("--store", args.store)):
        if path is not None and path.resolve().is_relative_to(args.data.resolve()):
            raise UserError(f"{flag} {path}: lies in --data, whose folders are taken for classes")
    if args.out.exists() and not args.out.is_dir():
        raise UserError(f"--out {args.out}: is a file; a folder is wanted")
    try:
        args.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"--out {args.out}: cannot be made: {error.strerror}") from None
    if not os.access(args.out, os.W_OK):
        raise UserError(f"--out {args.out}: cannot be written to")


def _task(args: argparse.Namespace) -> "PreprocessTask":
    """What the flags ask for. Raises UserError naming the flag that is out of range."""
    from weather_hpc.eda.spread import BACKENDS
    from weather_hpc.study.spec import PreprocessTask

    values = {"backend": "sequential"} | given(args, "preprocess")
    if values["backend"] not in BACKENDS:
        known = nearest(values["backend"], [str(name) for name in BACKENDS])
        raise UserError(f"--backend {values['backend']}: no such backend{known}")
    return make_task(PreprocessTask, values)


def _tell(out: Path, result: dict[str, Any]) -> None:
    from weather_hpc.eda.page import findings

    print(f"{out / 'eda.html'}: {result['images']} images in {len(result['classes'])} classes")
    for sentence in findings(result):
        print(f"  {sentence}")
    for lap in result["kernels"]["laps"] if result["kernels"] else []:
        if lap["way"] != "ours":
            print(
                f"  {lap['subject']}: {lap['way']} takes {lap['ratio']:.1f} times as long as ours"
            )


if __name__ == "__main__":
    cli.run("eda", main, sys.argv[1:])
