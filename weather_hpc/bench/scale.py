"""Preprocessing as the number of images grows: seconds and memory of the parent, with goals.

The images are tiny, so bookkeeping dominates, not decoding. Sets of several sizes are packed. Then
a store of many more images is planned, packed in part, and reopened as an interrupted run does.
"""

import argparse
import io
import json
import math
import statistics
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, TextIO

from weather_hpc import cli
from weather_hpc.bench.command_line import (
    BenchOptions,
    add_options,
    console,
    options_from,
    write_results,
)
from weather_hpc.bench.measurement import Implementation, Outcome, measure
from weather_hpc.bench.timed_function import Timed, function_command
from weather_hpc.errors import FailedError, UserError
from weather_hpc.files import named, temporary_folder
from weather_hpc.runs.clock import Clock

EXPONENT_GOAL = 1.1
"""Largest exponent with which seconds may grow with the number of images."""

BYTES_GOAL = 2000
"""Bytes that each further image may add to the parent's peak memory."""

SMALLEST = 100
"""With fewer images only start-up would be measured."""

PLANNED_CHUNKS = 100
"""Chunks of the planned store that are packed."""

CLASSES, PICTURES = 11, 64
SIDES = (48, 40)
"""Width and height of the images, pixels."""


@dataclass(frozen=True)
class ScaleOptions(BenchOptions):
    """The options of ``bench scale``."""

    sizes: str
    """Numbers separated by commas."""
    size: int
    planned: int


def add_arguments(parser: cli.Parser) -> None:
    """Add this subject's options."""
    add = parser.add_argument
    add("--sizes", default="1000,4000,16000", metavar="N,N", help="numbers of images to pack")
    add("--size", type=int, default=32, metavar="PIXELS", help="height and width stored")
    add("--planned", type=int, default=100_000, metavar="N",
        help="images of the store that is planned and packed in part; 0: skip")  # fmt: skip
    add_options(parser, rounds=3)


def run(args: argparse.Namespace) -> int:
    """Measure. Exit code: 0; 1 if a goal is missed or something failed."""
    from weather_hpc.runs.provenance import collect_provenance

    options = options_from(args, ScaleOptions)
    sizes = _check(options)
    provenance = collect_provenance().model_dump(mode="json")
    with temporary_folder("bench") as scratch:
        _make_images(scratch, {*sizes, options.planned} - {0})
        rounds = [_round(scratch, sizes, options.size, n) for n in range(options.rounds)]
        planned = _planned(scratch, options.planned, options.size) if options.planned else None
    rows = [_median([measured[images] for measured in rounds]) for images in sizes]
    growth = growth_of(rows)
    goals = judge(growth)
    value = {
        "subject": "scale", "size": options.size, "rounds": options.rounds,
        "rows": [asdict(row) for row in rows], "growth": growth,
        "goals": [asdict(goal) for goal in goals], "planned": planned, "provenance": provenance,
    }  # fmt: skip
    to = cli.words(options.json)
    title = f"bench scale: {options.size} px, one worker, {options.rounds} rounds"
    _print_rows(rows, title, to)
    _print_goals(goals, planned, to)
    write_results(value, options)
    met = all(goal.met for goal in goals)
    return cli.EXIT_OK if met else cli.EXIT_FAILED


@dataclass(frozen=True)
class Packed:
    """Packing one number of images: seconds, and the peak memory of the parent process."""

    images: int
    scan_s: float
    pack_s: float
    parent_peak_mb: float
    cpu_s: float


@dataclass(frozen=True)
class GrowthGoal:
    """A value of the growth with the largest value allowed."""

    figure: str
    value: float
    goal: float
    met: bool


def growth_of(rows: Sequence[Packed]) -> dict[str, float]:
    """Exponents of the growth of seconds; bytes that an image adds to the parent's peak memory.

    An exponent is the slope of the least-squares line through log(images), log(seconds).
    """
    images = [math.log(row.images) for row in rows]
    first, last = rows[0], rows[-1]

    def exponent(seconds: Iterable[float]) -> float:
        return statistics.linear_regression(images, [math.log(s) for s in seconds]).slope

    return {
        "scan_exponent": exponent(row.scan_s for row in rows),
        "pack_exponent": exponent(row.pack_s for row in rows),
        "bytes_per_image": (last.parent_peak_mb - first.parent_peak_mb)
        * 1e6
        / (last.images - first.images),
    }


def judge(growth: dict[str, float]) -> list[GrowthGoal]:
    """Compare every value of the growth with its goal."""
    goals = {name: EXPONENT_GOAL if name.endswith("exponent") else BYTES_GOAL for name in growth}
    return [GrowthGoal(n, growth[n], goal, growth[n] <= goal) for n, goal in goals.items()]


def _check(options: ScaleOptions) -> list[int]:
    """The sizes in rising order. Raises UserError where an option makes no sense."""
    try:
        sizes = sorted({int(word) for word in options.sizes.split(",")})
    except ValueError:
        raise UserError(f"--sizes {options.sizes}: expected numbers separated by commas") from None
    if len(sizes) < 2 or sizes[0] < SMALLEST:
        raise UserError(
            f"--sizes {options.sizes}: expected at least two different numbers from {SMALLEST} up"
        )
    if not 8 <= options.size <= 4096:
        raise UserError(f"--size {options.size}: must be 8 to 4096")
    if options.planned < 0:
        raise UserError(f"--planned {options.planned}: must be 0 or more")
    return sizes


def _make_images(scratch: Path, counts: set[int]) -> None:

    with cli.progress("making images", total=sum(counts)) as advance:
        for images in counts:
            try:
                make_tiny_images(scratch / str(images), images)
            except OSError as error:
                raise FailedError(f"{scratch}: cannot be written: {error.strerror}") from None
            advance(images)


def _round(scratch: Path, sizes: Sequence[int], size: int, number: int) -> dict[int, Packed]:
    """Pack every number of images once, each in a process of its own."""
    measured = {}
    with cli.progress(f"round {number + 1}: packing", total=sum(sizes)) as advance:
        for images in sizes:
            arguments = {"data": str(scratch / str(images)), "run_dir": "run", "size": size}
            measured[images] = Packed(**_measure("pack_all", images, arguments))
            advance(images)
    return measured


def _planned(scratch: Path, images: int, size: int) -> dict[str, Any]:
    chunks = min(PLANNED_CHUNKS, images // 64)
    arguments = {"data": str(scratch / str(images)), "out": "store", "size": size}
    facts = _measure("pack_partly", images, arguments | {"chunks": chunks})
    if facts["chunks_found_again"] != chunks:
        raise FailedError(f"{facts['chunks_found_again']} of {chunks} packed chunks were reused")
    return facts


def _measure(function: str, images: int, arguments: dict[str, Any]) -> dict[str, Any]:
    """Call a function of this module in a fresh process and an empty folder; its facts."""

    def check(outcome: Outcome) -> None:
        if outcome.facts["images"] != images:
            raise FailedError(f"{outcome.facts['images']} of {images} images were packed")

    command = function_command(f"weather_hpc.bench.scale:{function}", **arguments)
    measured = measure(Implementation(function, "", command, check=check))
    return {**measured.facts, "cpu_s": measured.cpu_s}


def _median(rows: Sequence[Packed]) -> Packed:
    names = [field.name for field in fields(Packed)]
    return Packed(**{name: statistics.median(getattr(row, name) for row in rows) for name in names})


def _print_rows(rows: Sequence[Packed], title: str, to: TextIO) -> None:
    from rich.table import Table

    from weather_hpc.text import significant

    table = Table(title=title)
    for heading in ("images", "scan s", "ms/image", "pack s", "ms/image", "CPU s", "parent MB"):
        table.add_column(heading, justify="right")
    for row in rows:
        per_image = 1000 / row.images
        numbers = [row.scan_s, row.scan_s * per_image, row.pack_s, row.pack_s * per_image,
                   row.cpu_s, row.parent_peak_mb]  # fmt: skip
        table.add_row(str(row.images), *map(significant, numbers))
    console(to).print(table)


def _print_goals(goals: Sequence[GrowthGoal], planned: dict[str, Any] | None, to: TextIO) -> None:
    from weather_hpc.text import significant

    for goal in goals:
        state = "met" if goal.met else "missed"
        name = goal.figure.replace("_", " ")
        text = f"{significant(goal.value)}, goal: at most {goal.goal:g}"
        print(f"goal {state}: {name}: {text}", file=to)
    if planned is not None:
        print(
            f"{planned['images']} images planned, {planned['store_bytes'] / 1e9:.2f} GB: "
            f"read in {planned['scan_s']:.1f} s, planned in {planned['plan_s']:.2f} s, "
            f"{planned['chunks_made']} chunks packed in {planned['pack_s']:.2f} s, reopened "
            f"in {planned['resume_s']:.2f} s with {planned['chunks_missing']} chunks missing; "
            f"peak memory {planned['parent_peak_mb']:.0f} MB",
            file=to,
        )


def make_tiny_images(folder: Path, images: int) -> None:
    """Write ``images`` JPEGs of 1 KB into class folders.

    There are few different pictures, but no two files are equal: each has its number appended
    after the end of the image, which decoders ignore.
    """
    import numpy as np
    from PIL import Image

    pictures = []
    for seed in range(PICTURES):
        rough = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
        file = io.BytesIO()
        Image.fromarray(rough).resize(SIDES, Image.Resampling.BICUBIC).save(file, "JPEG")
        pictures.append(file.getvalue())
    for label in range(CLASSES):
        (folder / f"class_{label:02}").mkdir(parents=True)
    for number in range(images):
        content = pictures[number % PICTURES] + number.to_bytes(8, "big")
        path = folder / f"class_{number % CLASSES:02}" / f"{number:07}.jpg"
        with named(path):
            path.write_bytes(content)


def pack_all(data: str, run_dir: str, size: int) -> Timed:
    """The whole preprocess stage with one worker process, and the peak memory of this process."""
    from weather_hpc.preprocess.stage import preprocess
    from weather_hpc.runs.paths import RunPaths
    from weather_hpc.runs.proc import memory_peak_mb
    from weather_hpc.runs.writer import RunWriter
    from weather_hpc.study.spec import RunSpec, Stage
    from weather_hpc.study.tasks import Backend, PreprocessTask

    task = PreprocessTask(backend=Backend.MULTIPROCESSING, workers=1, image_size=size)
    spec = RunSpec(study="bench", stage=Stage.PREPROCESS, task=task, data=data)
    paths = RunPaths(Path(run_dir))
    with RunWriter(spec, paths.root) as writer:
        start_at, start = time.time(), time.perf_counter()  # events have the time of day
        record = preprocess(task, Path(data), paths.store, writer)
        seconds = time.perf_counter() - start
    events = [json.loads(line) for line in paths.events.read_text().splitlines()]
    (scanned,) = (event["at"] for event in events if event["event"] == "catalogue")
    facts = {
        "images": record.counts.images,
        "scan_s": scanned - start_at,
        "pack_s": record.time_s,
        "parent_peak_mb": memory_peak_mb(),
    }
    return Timed(seconds, facts)


def pack_partly(data: str, out: str, size: int, chunks: int) -> Timed:
    """Plan a store of all images, pack its first ``chunks`` chunks, and reopen it."""
    from weather_hpc.dataset.catalogue import make_split, scan
    from weather_hpc.dataset.partial import Contents, PartialStore
    from weather_hpc.dataset.store import CHUNK_ROWS
    from weather_hpc.preprocess.chunk import Chunk, Target, pack_chunk
    from weather_hpc.runs.proc import memory_peak_mb
    from weather_hpc.study.tasks import Decoder

    clock = Clock()
    root = Path(data)
    with clock.phase("scan"):
        catalogue = scan(root)
    with clock.phase("plan"):
        contents = Contents(catalogue, make_split(catalogue), size, "bench")
        partial = PartialStore(Path(out), contents)
    paths = [item.path for item in catalogue.items]
    with clock.phase("pack"), partial:
        target = Target(root, partial.images, partial.data_offset, size, Decoder.EXACT)
        for index in partial.missing()[:chunks]:
            first = index * CHUNK_ROWS
            chunk = Chunk(index, first, paths[first : first + CHUNK_ROWS])
            partial.finish(pack_chunk(target, chunk).finished)
    with clock.phase("resume"), PartialStore(Path(out), contents) as partial:
        found, missing = len(partial.finished), len(partial.missing())
    facts = {
        "images": len(paths),
        "store_bytes": len(paths) * target.row_bytes,
        "chunks_made": chunks,
        "chunks_found_again": found,
        "chunks_missing": missing,
        **{f"{name}_s": clock.seconds[name] for name in ("scan", "plan", "pack", "resume")},
        "parent_peak_mb": memory_peak_mb(),
    }
    return Timed(sum(clock.seconds.values()), facts)
