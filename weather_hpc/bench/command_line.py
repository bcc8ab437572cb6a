"""What all subjects share at the command line: common options, and how results are printed."""

import argparse
import importlib.util
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO, TypeVar

from weather_hpc import cli
from weather_hpc.bench.benchmark import BenchmarkResult, GoalResult
from weather_hpc.errors import UserError
from weather_hpc.files import named

if TYPE_CHECKING:
    from rich.console import Console

WIDTH = 110
"""Characters of a line where it is not printed on a terminal."""


@dataclass(frozen=True)
class BenchOptions:
    """The options that every subject has."""

    rounds: int
    out: Path | None
    """Folder for bench-SUBJECT.json."""
    json: bool


SubjectOptions = TypeVar("SubjectOptions", bound=BenchOptions)


def add_options(parser: cli.Parser, rounds: int = 5) -> None:
    """Add ``--rounds``, ``--out``, and what every verb has."""
    add = parser.add_argument
    add("--rounds", type=int, default=rounds, metavar="N",
        help="runs of each implementation; from 3 on ratios have an interval")  # fmt: skip
    add("--out", type=Path, metavar="DIR", help="write bench-SUBJECT.json here")
    parser.add_output()


def add_only(parser: argparse.ArgumentParser) -> None:
    """Add ``--only``, for subjects with many implementations."""
    parser.add_argument(
        "--only", action="append", default=[], metavar="TEXT",
        help="run only implementations with this in their names; may be repeated",
    )  # fmt: skip


def options_from(args: argparse.Namespace, kind: type[SubjectOptions]) -> SubjectOptions:
    """The parsed options as a ``kind``, whose fields are named like them.

    Raises UserError where a common option makes no sense.
    """
    if args.rounds < 1:
        raise UserError(f"--rounds {args.rounds}: must be at least 1")
    if args.out is not None and args.out.exists() and not args.out.is_dir():
        raise UserError(f"--out {args.out}: is a file; expected a folder")
    if args.out is not None:  # before hours of measuring
        args.out.mkdir(parents=True, exist_ok=True)
        with named(args.out):
            tempfile.TemporaryFile(dir=args.out).close()
    return kind(**{field.name: getattr(args, field.name) for field in fields(kind)})


def finish(
    result: BenchmarkResult,
    options: BenchOptions,
    judged: Sequence[GoalResult] | None = None,
    **more: Any,
) -> int:
    """Print ``result`` and its goals, write and print the JSON object with ``more``.

    Returns the exit code: 1 if an implementation failed, else 0.
    """
    value = {**result.as_dict(), **more}
    if judged is not None:
        value["goals"] = [goal.as_dict() for goal in judged]
    if importlib.util.find_spec("rich") is None:
        print_lines(value, cli.words(options.json))
    else:
        print_table(value, cli.words(options.json))
    for goal in judged or []:
        print(goal, file=cli.words(options.json))
    write_results(value, options)
    return cli.EXIT_FAILED if result.failed else cli.EXIT_OK


def write_results(value: dict[str, Any], options: BenchOptions) -> None:
    """Write bench-SUBJECT.json into ``--out`` and print the object with ``--json``."""
    from weather_hpc.files import write_json

    if options.out is not None:
        path = options.out / f"bench-{value['subject']}.json"
        write_json(path, value)
        print(f"results: {path}", file=sys.stderr)
    if options.json:
        cli.print_json(value)


def print_table(value: dict[str, Any], stream: TextIO) -> None:
    """Print ``value``, from BenchmarkResult.as_dict, as a table."""
    from rich.markup import escape
    from rich.table import Table

    from weather_hpc.analysis.statistics import interval_name

    interval = interval_name(value["rounds"], "rounds")
    table = Table(
        title=f"bench {value['subject']}: {value['rounds']} interleaved rounds",
        caption=f"ratio: time divided by that of {escape(value['reference'])} in the same round, "
        f"median of all rounds ({interval}); above 1 is slower. other CPU: "
        "use by other processes meanwhile, % of one core",
    )
    headings = ("median s", "quartiles", "min s", "ratio", "CPU s", "peak MB", "other CPU")
    table.add_column("implementation")
    for heading in headings:
        table.add_column(heading, justify="right")
    for one in value["contestants"]:
        interval = _range(one["ratio_low"], one["ratio_high"])
        table.add_row(
            escape(one["name"]),
            _number(one["median_s"]),
            _range(one["quartile_1_s"], one["quartile_3_s"]),
            _number(one["min_s"]),
            f"{_number(one['ratio'])} ({interval})" if interval else _number(one["ratio"]),
            _number(one["cpu_s"]),
            _number(one["peak_memory_mb"]),
            _number(one["foreign_cpu_percent"]),
        )
    to = console(stream)
    to.print(table)
    for one in value["contestants"]:
        to.print(f"{escape(one['name'])}: {escape(one['what'])}")
        if one["reason"] is not None:
            state = "failed" if one["failed"] else "not run"
            to.print(f"  [bold]{state}[/bold]: {escape(one['reason'])}")


def print_lines(value: dict[str, Any], to: TextIO) -> None:
    """Print ``value`` with a line for each implementation, where rich is not installed."""
    for one in value["contestants"]:
        text = f"{_number(one['median_s'])} s, ratio {_number(one['ratio'])}"
        if one["reason"] is not None:
            text = f"{'failed' if one['failed'] else 'not run'}: {one['reason']}"
        print(f"{one['name']}: {text}", file=to)


def console(to: TextIO) -> "Console":
    """A console wide enough for a table where it is no terminal."""
    from rich.console import Console

    width = None if to.isatty() else WIDTH
    return Console(file=to, width=width, highlight=False, soft_wrap=False)


def _number(value: float | None) -> str:
    from weather_hpc.text import significant

    return "" if value is None else significant(value)


def _range(low: float | None, high: float | None) -> str:
    return "" if low is None else f"{_number(low)}–{_number(high)}"
