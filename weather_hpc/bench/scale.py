"""How preprocessing grows with the number of images: seconds, and the parent's memory, with goals.

Packs tiny images, a small set and larger ones, so that it is the cost of an image's bookkeeping
that grows, not of its decoding. Then plans a store of many more, packs a part of it and takes it
up again.
"""

import argparse
import math
import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from weather_hpc import cli
from weather_hpc.bench.telling import add_race_options, check_race_options, console
from weather_hpc.errors import FailedError, UserError

EXPONENT_GOAL = 1.1
"""Seconds may grow with no more than this power of the number of images."""

BYTES_GOAL = 2000
"""What each further image may add to the parent's peak memory."""

SMALLEST = 100
"""Of fewer images nothing but start-up would be measured."""

PLANNED_CHUNKS = 100
"""How many chunks of the planned store are made."""

TIMES = ("scan_s", "pack_s")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this subject's options."""
    add = parser.add_argument
    add("--sizes", default="1000,4000,16000", metavar="N,N", help="numbers of images to pack")
    add("--size", type=int, default=32, metavar="PIXELS", help="height and width stored")
    add("--planned", type=int, default=100_000, metavar="N",
        help="images of the store that is planned and packed in part; 0: none")  # fmt: skip
    add_race_options(parser, rounds=3)


def run(args: argparse.Namespace) -> int:
    """Measure. Exit code: 0; 1 where a goal is missed or something failed."""
    from weather_hpc.files import write_json
    from weather_hpc.runs.provenance import collect_provenance

    sizes = _check(args)
    provenance = collect_provenance().model_dump(mode="json")
    with tempfile.TemporaryDirectory(prefix="weather-hpc-bench-") as name:
        scratch = Path(name)
        _make_images(scratch, {*sizes, args.planned} - {0})
        rounds = [_round(scratch, sizes, args.size, number) for number in range(args.rounds)]
        planned = _planned(scratch, args.planned, args.size) if args.planned else None
    rows = [_median([measured[images] for measured in rounds]) for images in sizes]
    growth = growth_of(rows)
    value = {
        "subject": "scale", "size": args.size, "rounds": args.rounds, "rows": rows,
        "growth": growth, "goals": judge(growth), "planned": planned, "provenance": provenance,
    }  # fmt: skip
    _print(value)
    if args.out is not None:
        write_json(args.out / "bench-scale.json", value)
        print(f"results: {args.out / 'bench-scale.json'}", file=sys.stderr)
    if args.json:
        cli.print_json(value)
    met = all(goal["met"] for goal in value["goals"])
    return cli.EXIT_OK if met else cli.EXIT_FAILED


def growth_of(rows: Sequence[dict[str, float]]) -> dict[str, float]:
    """Exponents of the growth of seconds, and what an image adds to the parent's memory, bytes.

    An exponent is the slope of the least-squares line through log(images), log(seconds).
    """
    images = [math.log(row["images"]) for row in rows]
    first, last = rows[0], rows[-1]
    grown_mb = last["parent_peak_mb"] - first["parent_peak_mb"]
    exponents = {
        f"{name.removesuffix('_s')}_exponent": statistics.linear_regression(
            images, [math.log(row[name]) for row in rows]
        ).slope
        for name in TIMES
    }
    return exponents | {"bytes_per_image": grown_mb * 1e6 / (last["images"] - first["images"])}


def judge(growth: dict[str, float]) -> list[dict[str, Any]]:
    """Every figure of the growth beside the largest value wanted."""
    goals = {name: EXPONENT_GOAL if name.endswith("exponent") else BYTES_GOAL for name in growth}
    return [
        {"figure": name, "value": growth[name], "goal": goal, "met": growth[name] <= goal}
        for name, goal in goals.items()
    ]


def _check(args: argparse.Namespace) -> list[int]:
    """Check the options; the sizes in rising order."""
    check_race_options(args)
    try:
        sizes = sorted({int(word) for word in args.sizes.split(",")})
    except ValueError:
        raise UserError(f"--sizes {args.sizes}: numbers with commas between are wanted") from None
    if len(sizes) < 2 or sizes[0] < SMALLEST:
        raise UserError(
            f"--sizes {args.sizes}: at least two different ones, none below {SMALLEST}, are wanted"
        )
    if not 8 <= args.size <= 4096:
        raise UserError(f"--size {args.size}: 8 to 4096 is wanted")
    if args.planned < 0:
        raise UserError(f"--planned {args.planned}: 0 or more is wanted")
    return sizes


def _make_images(scratch: Path, counts: set[int]) -> None:
    from weather_hpc.bench.scale_work import make_tiny_images

    with cli.progress("making images", total=sum(counts)) as advance:
        for images in counts:
            try:
                make_tiny_images(scratch / str(images), images)
            except OSError as error:
                raise FailedError(f"{scratch}: cannot be written: {error.strerror}") from None
            advance(images)


def _round(
    scratch: Path, sizes: Sequence[int], size: int, number: int
) -> dict[int, dict[str, float]]:
    """Every number of images packed once, in a process of its own."""
    measured = {}
    with cli.progress(f"round {number + 1}: packing", total=sum(sizes)) as advance:
        for images in sizes:
            arguments = {"data": str(scratch / str(images)), "run_dir": "run", "size": size}
            measured[images] = _measure("pack_all", images, arguments)
            advance(images)
    return measured


def _planned(scratch: Path, images: int, size: int) -> dict[str, float]:
    chunks = min(PLANNED_CHUNKS, images // 64)
    arguments = {"data": str(scratch / str(images)), "out": "store", "size": size}
    facts = _measure("pack_partly", images, arguments | {"chunks": chunks})
    if facts["chunks_found_again"] != chunks:
        raise FailedError(f"{facts['chunks_found_again']} of {chunks} chunks were found again")
    return facts


def _measure(work: str, images: int, arguments: dict[str, Any]) -> dict[str, float]:
    """Call a function of scale_work in a fresh process and an empty folder."""
    from weather_hpc.bench.contestant import Contestant, Outcome, python_function
    from weather_hpc.bench.process import measure

    def check(outcome: Outcome) -> None:
        if outcome.facts["images"] != images:
            raise FailedError(f"{outcome.facts['images']} of {images} images were packed")

    command = python_function(f"weather_hpc.bench.scale_work:{work}", **arguments)
    measured = measure(Contestant(work, "", command, check=check))
    return {**measured.facts, "cpu_s": measured.cpu_s}


def _median(rows: Sequence[dict[str, float]]) -> dict[str, float]:
    return {name: statistics.median(row[name] for row in rows) for name in rows[0]}


def _print(value: dict[str, Any]) -> None:
    """Tell a person on stderr."""
    from rich.table import Table

    from weather_hpc.text import significant

    table = Table(title=f"bench scale: {value['size']} px, one worker, {value['rounds']} rounds")
    for heading in ("images", "scan s", "ms/image", "pack s", "ms/image", "CPU s", "parent MB"):
        table.add_column(heading, justify="right")
    for row in value["rows"]:
        images = row["images"]
        times = [part for name in TIMES for part in (row[name], row[name] / images * 1000)]
        figures = [*times, row["cpu_s"], row["parent_peak_mb"]]
        table.add_row(str(images), *map(significant, figures))
    console().print(table)
    for goal in value["goals"]:
        state = "met" if goal["met"] else "missed"
        figure = goal["figure"].replace("_", " ")
        text = f"{significant(goal['value'])}, at most {goal['goal']:g} wanted"
        print(f"goal {state}: {figure}: {text}", file=sys.stderr)
    if (planned := value["planned"]) is not None:
        print(
            f"{planned['images']} images planned, {planned['store_bytes'] / 1e9:.2f} GB: "
            f"read in {planned['scan_s']:.1f} s, planned in {planned['plan_s']:.2f} s, "
            f"{planned['chunks_made']} chunks packed in {planned['pack_s']:.2f} s, taken up again "
            f"in {planned['resume_s']:.2f} s with {planned['chunks_missing']} chunks to go; "
            f"{planned['parent_peak_mb']:.0f} MB at the most",
            file=sys.stderr,
        )
