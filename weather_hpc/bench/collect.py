"""Read run records and foreign logs: time compared with JUBE and others, memory as inputs grow.

Makes synthetic run folders and logs in the print format of the reproduced study. Every
implementation reads the logs, and its result is checked against what was printed. Then the verb
collects a tenth of the inputs and all of them, for the growth of its time and peak memory.
"""

import argparse
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TextIO

from weather_hpc import cli
from weather_hpc.bench.benchmark import run_benchmark
from weather_hpc.bench.collect_implementations import (
    OURS,
    collect_command,
    expected_values,
    implementations,
)
from weather_hpc.bench.collect_inputs import (
    PARTS,
    PATTERN,
    SMALLEST_LOG,
    STUDIES,
    make_logs,
    make_once,
    make_records,
    part_folder,
    study_folder,
)
from weather_hpc.bench.command_line import (
    BenchOptions,
    add_options,
    console,
    finish,
    options_from,
)
from weather_hpc.bench.measurement import Implementation, Measurement, Outcome, measure
from weather_hpc.dataset.space import check_space
from weather_hpc.errors import FailedError, UserError
from weather_hpc.files import temporary_folder
from weather_hpc.text import one_line

MB = 2**20
RECORD_BYTES = 16384
"""Disk space of the folder and the three files of a run."""
SPARE = 1.1
"""Factor on the space of the inputs, for what the implementations write."""


@dataclass(frozen=True)
class CollectBenchOptions(BenchOptions):
    """The options of ``bench collect``."""

    records: int
    logs: int
    log_mb: int
    dir: Path | None
    peer_python: str


def add_arguments(parser: cli.Parser) -> None:
    """Add this subject's options."""
    add = parser.add_argument
    add("--records", type=int, default=10_000, metavar="N", help="run folders")
    add("--log-mb", type=int, default=1024, metavar="MB", help="MiB of logs in total")
    add("--logs", type=int, default=200, metavar="N", help="number of logs")
    add("--dir", type=Path, metavar="DIR",
        help="keep the inputs here and reuse them (default: a temporary folder)")  # fmt: skip
    add("--peer-python", default=sys.executable, metavar="PYTHON",
        help="interpreter with ReFrame installed, and JUBE if that is not on PATH (default: "
        "this one)")  # fmt: skip
    add_options(parser, rounds=3)


def run(args: argparse.Namespace) -> int:
    """Run the benchmark. Exit code: 0; 1 if an implementation failed or had a wrong result."""

    options = options_from(args, CollectBenchOptions)
    log_bytes = _check(options)
    with _folder(options.dir) as folder:
        records = folder / f"records-{options.records}"
        logs = folder / f"logs-{options.logs}x{log_bytes}"
        sizes = {records: options.records * RECORD_BYTES, logs: options.logs * log_bytes}
        needed = SPARE * sum(size for path, size in sizes.items() if not path.exists())
        check_space(folder, round(needed), "choose another --dir, or fewer --records and --log-mb")
        make_once(records, lambda path: make_records(path, options.records))
        make_once(logs, lambda path: make_logs(path, options.logs, log_bytes))
        expected = expected_values(options.logs, log_bytes)
        jube_folder = logs.with_name(f"{logs.name}-jube")
        available = implementations(logs, expected, jube_folder, options.peer_python)
        result = run_benchmark("collect", available, options.rounds, OURS)
        growth = measure_growth(records, options.records, logs, options.logs)
    inputs = {"records": options.records, "logs": options.logs}
    inputs["log_bytes"] = options.logs * log_bytes
    print_growth(growth, cli.words(options.json))
    code = finish(result, options, inputs=inputs, growth=[g.as_dict() for g in growth])
    return cli.EXIT_FAILED if any(g.reason for g in growth) else code


def _check(options: CollectBenchOptions) -> int:
    """The bytes of one log. Raises UserError where an option makes no sense."""
    for flag, value in (("records", options.records), ("logs", options.logs)):
        if value < PARTS:
            raise UserError(f"--{flag} {value}: must be at least {PARTS}")
    log_bytes = options.log_mb * MB // options.logs
    if log_bytes < SMALLEST_LOG:
        raise UserError(
            f"--log-mb {options.log_mb}: leaves {log_bytes} bytes for each of {options.logs} logs,"
            f" {SMALLEST_LOG} are needed; take fewer --logs"
        )
    if options.dir is not None and options.dir.exists() and not options.dir.is_dir():
        raise UserError(f"--dir {options.dir}: is a file; expected a folder")
    return log_bytes


@contextmanager
def _folder(kept: Path | None) -> Iterator[Path]:
    if kept is not None:
        kept.mkdir(parents=True, exist_ok=True)
        yield kept.resolve()
        return
    with temporary_folder("bench") as scratch:
        yield scratch.resolve()


@dataclass(frozen=True)
class Input:
    """Something to collect."""

    arguments: tuple[str, ...]
    """Of the verb."""
    runs: int

    def __add__(self, other: "Input") -> "Input":
        return Input(self.arguments + other.arguments, self.runs + other.runs)


@dataclass(frozen=True)
class Growth:
    """Time and peak memory of collect for a tenth of an input and for all of it."""

    what: str
    runs: tuple[int, int]
    seconds: tuple[float, float] | None = None
    peak_memory_mb: tuple[float, float] | None = None
    """MB (1e6 bytes)."""
    reason: str | None = None
    """How collect failed, or that it found a wrong number of runs."""

    @property
    def kb_per_run(self) -> float | None:
        """Growth of the peak for each further run, KB (1e3 bytes)."""
        if self.peak_memory_mb is None:
            return None
        (tenth_mb, all_mb), (tenth, whole) = self.peak_memory_mb, self.runs
        return (all_mb - tenth_mb) * 1000 / (whole - tenth)

    def as_dict(self) -> dict[str, Any]:
        """JSON-able."""
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


def print_growth(growth: list[Growth], stream: TextIO) -> None:
    """Print a table."""
    from rich.markup import escape
    from rich.table import Table

    from weather_hpc.text import significant

    table = Table(
        title="weather_hpc collect as its input grows tenfold: process time and peak memory",
        caption="KB per run: growth of the peak memory for each further run",
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
    to = console(stream)
    to.print(table)
    for g in growth:
        if g.reason is not None:
            to.print(f"{g.what}: [bold]failed[/bold]: {escape(g.reason)}")


def _share(count: int, parts: int) -> int:
    """How many of ``count``, distributed round-robin, are in the first of ``parts``."""
    return -(-count // parts)


def _collect(inputs: Input) -> Measurement:
    def check(outcome: Outcome) -> None:
        summary = json.loads(outcome.stdout.read_text().splitlines()[-1])
        if (summary["runs"], summary["in_tables"]) != (inputs.runs, inputs.runs):
            raise FailedError(
                f"collect found {summary['runs']} runs, {summary['in_tables']} in tables;"
                f" expected {inputs.runs}"
            )

    command = collect_command(*inputs.arguments)
    return measure(Implementation("collect", "the whole verb", command, check=check))
