"""``python -m weather_hpc.eda``: explore images before training on them, or time that work.

python -m weather_hpc.eda --data photos --out explored --backend multiprocessing --workers 4
python -m weather_hpc.eda --store photos.store --backend multiprocessing --workers 4
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weather_hpc import cli
from weather_hpc.errors import FailedError, UserError
from weather_hpc.study.flags import add_flags, given, make_task
from weather_hpc.text import counted

if TYPE_CHECKING:
    from weather_hpc.eda.stage import EdaOptions
    from weather_hpc.runs.record import RunRecord

SEED = 0


def main(argv: Sequence[str] | None = None) -> int:
    """Write the page, or time the work on a store's pixels.

    Exit code: 0; 1 where a kernel's result is wrong or a worker was lost.
    """
    args = parser().parse_args(argv)
    from weather_hpc.preprocess.chunk import ONE_THREAD

    os.environ.update(ONE_THREAD)  # before NumPy comes, here and in the workers that inherit it
    return _measure(args) if args.data is None else _explore(args)


def parser() -> cli.Parser:
    """The command line."""
    result = cli.Parser(
        "eda",
        description="Explore a folder of images before training on it: --data and --out write a "
        "page. Or time the work on the pixels of a packed store: --store alone.",
    )
    add = result.add_argument
    add("--data", type=Path, metavar="DIR", help="folder of class folders")
    add("--out", type=Path, metavar="DIR", help="where eda.html, tables and figures go")
    add("--store", type=Path, metavar="STORE", help="packed store to use (default: OUT/store)")
    add_flags(result, "eda", {"backend": "sequential"})
    add("--site", metavar="FILE", help="site YAML, or the name of a shipped one: the jobs of "
        "dask-jobqueue's workers (default: the cluster's defaults)")  # fmt: skip
    page = result.add_argument_group("for the page")
    page.add_argument("--seed", type=int, metavar="S", help="of the images, split and "
                      "augmentations chosen (default: 0)")  # fmt: skip
    page.add_argument("--rounds", type=int, metavar="N", help="compare the kernels "
                      "with NumPy and dask.array, in N rounds (default: none)")  # fmt: skip
    timed = result.add_argument_group("for timing")
    timed.add_argument("--run-dir", type=Path, metavar="DIR",
                       help="where to write record.json and events.jsonl")  # fmt: skip
    result.add_output()
    return result


def _refuse(args: argparse.Namespace, names: Sequence[str], why: str) -> None:
    """Raise UserError where one of the flags ``names`` was typed."""
    for name in names:
        if getattr(args, name) is not None:
            raise UserError(f"--{name.replace('_', '-')}: {why}")


def _measure(args: argparse.Namespace) -> int:
    """Time the work on the pixels of a store."""
    from weather_hpc.dataset.store import Store
    from weather_hpc.eda.measured_run import measure_work
    from weather_hpc.eda.request import spec_and_task
    from weather_hpc.runs.writer import RunWriter
    from weather_hpc.study.site import load_site
    from weather_hpc.study.tasks import EdaTask

    if args.store is None:
        raise UserError(
            "--data is missing: the folder of images to explore; or --store: a packed store whose "
            "exploration to time"
        )
    _refuse(args, ("out", "seed", "rounds"), "is for the page, which needs --data too")
    store = Store.open(args.store)
    if args.image_size not in (None, store.size):
        raise UserError(f"--size {args.image_size}: {args.store} has images of {store.size} pixels")
    typed, defaults = given(args, "eda"), {"backend": "sequential"}
    spec, task = spec_and_task(EdaTask, store, typed, defaults, args.run_dir)
    site = load_site(args.site)
    with RunWriter(spec, args.run_dir) as writer:
        record = measure_work(task, store, writer, args.run_dir or args.store.parent, site)
    if args.json:
        cli.print_json(_summary(record))
    else:
        print(_sentence(record, args.store))
    return cli.EXIT_OK


def _summary(record: "RunRecord") -> dict[str, object]:
    return {
        "run_id": record.run_id,
        "status": record.status.value,
        "store_checksum": record.quality.store_checksum,
        "images": record.counts.images,
        "time_s": record.time_s,
        "images_per_s": record.images_per_s,
        "parts_s": record.exploration.model_dump(),
    }


def _sentence(record: "RunRecord", store: Path) -> str:
    seconds = {name: value for name, value in record.exploration if value}
    whole = sum(seconds.values())
    shares = ", ".join(f"{name} {100 * value / whole:.0f} %" for name, value in seconds.items())
    return (
        f"{store}: {record.counts.images} images explored in {record.time_s:.2f} s, "
        f"{record.images_per_s:.1f} images/s; {shares}"
    )


def _explore(args: argparse.Namespace) -> int:
    """Write the page."""
    options = _options(args)
    _check(options)
    from weather_hpc.eda.stage import explore

    try:
        with cli.advice():  # what is packed of the store is kept
            result = explore(options)
    except OSError as error:  # the disk is full, or the file system was unmounted
        raise FailedError(f"{error.filename or args.out}: {error.strerror or error}") from None
    if args.json:
        cli.print_json(result)
    else:
        _print_summary(args.out, result)
    timings = result["kernels"]["laps"] if result["kernels"] else []
    return cli.EXIT_OK if all(timing["agrees"] for timing in timings) else cli.EXIT_FAILED


def _options(args: argparse.Namespace) -> "EdaOptions":
    """The options that the flags set. Raises UserError naming the flag that is wrong."""
    from weather_hpc.eda.stage import EdaOptions
    from weather_hpc.study.site import load_site
    from weather_hpc.study.tasks import EdaTask, PreprocessTask

    if args.out is None:
        raise UserError("--out is missing: the folder that the page goes to")
    timing = "is for timing a store, without --data; the page has every recipe's augmentations"
    _refuse(args, ("augmentation",), timing)
    _refuse(args, ("run_dir",), "is for timing a store, without --data")
    values = {"backend": "sequential"} | given(args, "eda")
    make_task(EdaTask, values)  # a backend that preprocessing alone has is refused
    return EdaOptions(
        args.data,
        args.out,
        make_task(PreprocessTask, values),
        seed=SEED if args.seed is None else args.seed,
        store=args.store,
        rounds=args.rounds or 0,
        site=load_site(args.site),
    )


def _check(options: "EdaOptions") -> None:
    if options.rounds < 0:
        raise UserError(f"--rounds {options.rounds}: must be 0 or more")
    if options.seed < 0:
        raise UserError(f"--seed {options.seed}: must be 0 or more")
    out = options.out
    for flag, path in (("--out", out), ("--store", options.store)):
        if path is not None and path.resolve().is_relative_to(options.data.resolve()):
            raise UserError(f"{flag} {path}: is inside --data, whose folders are classes")
    if out.exists() and not out.is_dir():
        raise UserError(f"--out {out}: is a file, not a folder")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"--out {out}: cannot be made: {error.strerror}") from None
    if not os.access(out, os.W_OK):
        raise UserError(f"--out {out}: cannot be written to")


def _print_summary(out: Path, result: dict[str, Any]) -> None:
    from weather_hpc.eda.page import findings

    classes = len(result["classes"])
    found = f"{counted(result['images'], 'image')} in {classes} class{'es' * (classes != 1)}"
    print(f"{out / 'eda.html'}: {found}")
    for sentence in findings(result):
        print(f"  {sentence}")
    for timing in result["kernels"]["laps"] if result["kernels"] else []:
        subject, way, ratio = timing["subject"], timing["way"], timing["ratio"]
        if way != "ours":
            print(f"  {subject}: {way} takes {ratio:.1f} times as long as ours")


if __name__ == "__main__":
    cli.run("eda", main, sys.argv[1:])
