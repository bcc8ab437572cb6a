"""Read run records and foreign logs: time beside JUBE and others, memory as inputs grow.

Makes run folders and logs in the reproduced study's print format, both by rule. Races all who
read the logs, each checked against what was printed; then collects a tenth of everything and all
of it, for the peak memory of each.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from weather_hpc import cli
from weather_hpc.bench.collect_implementations import collect_command
from weather_hpc.bench.collect_inputs import PARTS, PATTERN, STUDIES, part_folder, study_folder
from weather_hpc.bench.command_line import add_race_options, check_race_options, console, finish
from weather_hpc.bench.measurement import Contestant, Measurement, Outcome, measure
from weather_hpc.errors import FailedError, UserError
from weather_hpc.files import check_space
from weather_hpc.text import one_line

MB = 2**20
RECORD_BYTES = 16384
"""Of disk, for the folder and the three files of a run."""
SPARE = 1.1
"""Of the space that inputs need, for what the contestants write."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this subject's options."""
    parser.add_argument("--records", type=int, default=10_000, metavar="N", help="run folders")
    parser.add_argument("--log-mb", type=int, default=1024, metavar="MB", help="of logs in all")
    parser.add_argument("--logs", type=int, default=200, metavar="N", help="number of logs")
    parser.add_argument(
        "--dir", type=Path, metavar="DIR",
        help="keep what is made here and use it again (default: a temporary folder)",
    )  # fmt: skip
    parser.add_argument(
        "--peer-python", default=sys.executable, metavar="PYTHON",
        help="an interpreter that holds ReFrame, or JUBE if that is not on PATH (default: "
        "this one)",
    )  # fmt: skip
    add_race_options(parser, rounds=3)


def run(args: argparse.Namespace) -> int:
    """Race and measure. Exit code: 0; 1 where a contestant failed or was wrong."""
    from weather_hpc.bench.benchmark import race
    from weather_hpc.bench.collect_implementations import OURS, contestants, expected_figures
    from weather_hpc.bench.collect_inputs import make_logs, make_once, make_records

    size = _check(args)
    with _folder(args.dir) as folder:
        records, logs = folder / f"records-{args.records}", folder / f"logs-{args.logs}x{size}"
        sizes = {records: args.records * RECORD_BYTES, logs: args.logs * size}
        needed = SPARE * sum(size for path, size in sizes.items() if not path.exists())
        check_space(folder, round(needed), "choose another --dir, or fewer --records and --log-mb")
        make_once(records, lambda path: make_records(path, args.records))
        make_once(logs, lambda path: make_logs(path, args.logs, size))
        expected = expected_figures(args.logs, size)
        racing = contestants(logs, expected, logs.with_name(f"{logs.name}-jube"), args.peer_python)
        result = race("collect", racing, args.rounds, OURS)
        growth = measure_growth(records, args.records, logs, args.logs)
    made = {"records": args.records, "logs": args.logs, "log_bytes": args.logs * size}
    print_growth(growth)
    code = finish(result, args, inputs=made, growth=[g.as_dict() for g in growth])
    return cli.EXIT_FAILED if any(g.reason for g in growth) else code


def _check(args: argparse.Namespace) -> int:
    """Check the options; the bytes of one log."""
    from weather_hpc.bench.collect_inputs import PARTS, SMALLEST_LOG

    check_race_options(args)
    for flag, value in (("records", args.records), ("logs", args.logs)):
        if value < PARTS:
            raise UserError(f"--{flag} {value}: at least {PARTS} are wanted")
    size: int = args.log_mb * MB // args.logs
    if size < SMALLEST_LOG:
        raise UserError(
            f"--log-mb {args.log_mb}: leaves {size} bytes for each of {args.logs} logs,"
            f" {SMALLEST_LOG} are wanted; take fewer --logs"
        )
    if args.dir is not None and args.dir.exists() and not args.dir.is_dir():
        raise UserError(f"--dir {args.dir}: is a file; a folder is wanted")
    return size


@contextmanager
def _folder(kept: Path | None) -> Iterator[Path]:
    if kept is not None:
        kept.mkdir(parents=True, exist_ok=True)
        yield kept.resolve()
        return
    with tempfile.TemporaryDirectory(prefix="weather-hpc-bench-") as name:
        yield Path(name).resolve()


@dataclass(frozen=True)
class Input:
    """Something to collect."""

    words: tuple[str, ...]
    """How the verb is told of it."""
    runs: int

    def __add__(self, other: "Input") -> "Input":
        return Input(self.words + other.words, self.runs + other.runs)


@dataclass(frozen=True)
class Growth:
    """What collect took for a tenth of something and for all of it."""

    what: str
    runs: tuple[int, int]
    seconds: tuple[float, float] | None = None
    peak_memory_mb: tuple[float, float] | None = None
    """MB (1e6 bytes)."""
    reason: str | None = None
    """How collect failed, or that it found another number of runs than there are."""

    @property
    def kb_per_run(self) -> float | None:
        """What each further run added to the peak, KB (1e3 bytes)."""
        if self.peak_memory_mb is None:
            return None
        (tenth_mb, all_mb), (tenth, whole) = self.peak_memory_mb, self.runs
        return (all_mb - tenth_mb) * 1000 / (whole - tenth)

    def as_dict(self) -> dict[str, Any]:
        """All figures, JSON-able."""
        return {**asdict(self), "kb_per_run": self.kb_per_run}


def measure_growth(records: Path, record_count: int, logs: Path, log_count: int) -> list[Growth]:
    """Collect run records, logs, and both, once each: a tenth, then all."""
    pattern = ("--pattern", PATTERN)
    some_records = Input((str(records / study_folder(0)),), _share(record_count, STUDIES))
    some_logs = Input((str(logs / part_folder(0)), *pattern), _share(log_count, PARTS))
    all_records = Input((str(records),), record_count)
    all_logs = Input((str(logs), *pattern), log_count)
    pairs = {
        "run records": (some_records, all_records),
        "logs": (some_logs, all_logs),
        "both together": (some_records + some_logs, all_records + all_logs),
    }
    with cli.progress("collecting a tenth, then all", total=len(pairs)) as advance:
        grown = []
        for what, pair in pairs.items():
            advance(0, text=f"collecting a tenth, then all: {what}")
            grown.append(_grow(what, *pair))
            advance()
    return grown


def _grow(what: str, tenth: Input, whole: Input) -> Growth:
    runs = (tenth.runs, whole.runs)
    try:
        few, many = _collect(tenth), _collect(whole)
    except FailedError as error:
        return Growth(what, runs, reason=one_line(error))
    peaks = (few.peak_memory_mb or 0.0, many.peak_memory_mb or 0.0)
    return Growth(what, runs, (few.wall_s, many.wall_s), peaks)


def print_growth(growth: list[Growth]) -> None:
    """Print it as a table on stderr."""
    from rich.markup import escape
    from rich.table import Table

    from weather_hpc.text import significant

    table = Table(
        title="weather_hpc collect as its input grows tenfold: process time and peak memory",
        caption="KB per run: what each further run added to the peak",
    )
    for heading in ("collected", "runs", "s", "peak MB", "KB per run"):
        table.add_column(heading, justify="left" if heading == "collected" else "right")
    for g in growth:
        if g.seconds is None or g.peak_memory_mb is None or g.kb_per_run is None:
            table.add_row(g.what, "failed")
            continue
        table.add_row(
            g.what,
            f"{g.runs[0]} → {g.runs[1]}",
            f"{significant(g.seconds[0])} → {significant(g.seconds[1])}",
            f"{g.peak_memory_mb[0]:.0f} → {g.peak_memory_mb[1]:.0f}",
            significant(g.kb_per_run),
        )
    to = console()
    to.print(table)
    for g in growth:
        if g.reason is not None:
            to.print(f"{g.what}: [bold]failed[/bold]: {escape(g.reason)}")


def _share(count: int, parts: int) -> int:
    """How many of ``count``, dealt out in turn, are in the first of ``parts``."""
    return -(-count // parts)


def _collect(wanted: Input) -> Measurement:
    def check(outcome: Outcome) -> None:
        told = json.loads(outcome.stdout.read_text().splitlines()[-1])
        if (told["runs"], told["in_tables"]) != (wanted.runs, wanted.runs):
            raise FailedError(
                f"collect found {told['runs']} runs, {told['in_tables']} in tables;"
                f" {wanted.runs} were made"
            )

    command = collect_command(*wanted.words)
    return measure(Contestant("collect", "the whole verb", command, check=check))
