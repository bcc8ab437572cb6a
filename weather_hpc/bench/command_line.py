"""What all subjects share at the command line: their options, and how a race is told."""

import argparse
import importlib.util
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weather_hpc import cli
from weather_hpc.errors import UserError

if TYPE_CHECKING:
    from rich.console import Console

    from weather_hpc.bench.benchmark import Result

WIDTH = 110
"""Characters of a line where stderr is no terminal."""


def add_race_options(parser: argparse.ArgumentParser, rounds: int = 5) -> None:
    """Add ``--rounds``, ``--out`` and ``--json``."""
    parser.add_argument(
        "--rounds", type=int, default=rounds, metavar="N",
        help="how often each contestant runs; from 3 on there are intervals",
    )  # fmt: skip
    parser.add_argument("--out", type=Path, metavar="DIR", help="write bench-SUBJECT.json here")
    parser.add_argument("--json", action="store_true", help="print one JSON object as last line")


def add_only(parser: argparse.ArgumentParser) -> None:
    """Add ``--only``, for subjects with goals between few of many contestants."""
    parser.add_argument(
        "--only", action="append", default=[], metavar="TEXT",
        help="race only contestants with this in their names; may be repeated",
    )  # fmt: skip


def check_race_options(args: argparse.Namespace) -> None:
    """Raise UserError where they make no sense: call it before anything that takes time."""
    if args.rounds < 1:
        raise UserError(f"--rounds {args.rounds}: at least 1 is wanted")
    if args.out is not None and args.out.exists() and not args.out.is_dir():
        raise UserError(f"--out {args.out}: is a file; a folder is wanted")


def finish(result: "Result", args: argparse.Namespace, **more: Any) -> int:
    """Tell a person on stderr, write and print the JSON; the exit code: 1 where one failed.

    ``more`` is added to the JSON object.
    """
    from weather_hpc.files import write_json

    value = {**result.as_dict(), **more}
    path = None if args.out is None else args.out / f"bench-{result.subject}.json"
    if path is not None:
        write_json(path, value)
    if importlib.util.find_spec("rich") is None:
        print_lines(value)
    else:
        print_table(value)
    if path is not None:
        print(f"results: {path}", file=sys.stderr)
    if args.json:
        cli.print_json(value)
    return cli.EXIT_FAILED if result.failed else cli.EXIT_OK


def print_table(value: dict[str, Any]) -> None:
    """Print a race, as Result.as_dict tells it, as a table on stderr."""
    from rich.markup import escape
    from rich.table import Table

    reference = escape(value["reference"])
    table = Table(
        title=f"bench {value['subject']}: {value['rounds']} interleaved rounds",
        caption=f"ratio: time over that of {reference} in the same round, the median of all rounds"
        " (95 % interval); above 1 is slower. other CPU: use by others meanwhile, % of one core",
    )
    headings = ("median s", "quartiles", "min s", "ratio", "CPU s", "peak MB", "other CPU")
    table.add_column("contestant")
    for heading in headings:
        table.add_column(heading, justify="right")
    for c in value["contestants"]:
        interval = _span(c["ratio_low"], c["ratio_high"])
        table.add_row(
            escape(c["name"]),
            _figure(c["median_s"]),
            _span(c["quartile_1_s"], c["quartile_3_s"]),
            _figure(c["min_s"]),
            f"{_figure(c['ratio'])} ({interval})" if interval else _figure(c["ratio"]),
            _figure(c["cpu_s"]),
            _figure(c["peak_memory_mb"]),
            _figure(c["foreign_cpu_percent"]),
        )
    to = console()
    to.print(table)
    for c in value["contestants"]:
        to.print(f"{escape(c['name'])}: {escape(c['what'])}")
        if c["reason"] is not None:
            state = "failed" if c["failed"] else "not run"
            to.print(f"  [bold]{state}[/bold]: {escape(c['reason'])}")


def print_lines(value: dict[str, Any]) -> None:
    """Print a race as :func:`print_table` does, a line for each contestant: without rich."""
    for c in value["contestants"]:
        told = f"{_figure(c['median_s'])} s, ratio {_figure(c['ratio'])}"
        if c["reason"] is not None:
            told = f"{'failed' if c['failed'] else 'not run'}: {c['reason']}"
        print(f"{c['name']}: {told}", file=sys.stderr)


def console() -> "Console":
    """Where people are told: stderr, wide enough for a table where it is no terminal."""
    from rich.console import Console

    width = None if sys.stderr.isatty() else WIDTH
    return Console(stderr=True, width=width, highlight=False, soft_wrap=False)


def _figure(value: float | None) -> str:
    from weather_hpc.text import significant

    return "" if value is None else significant(value)


def _span(low: float | None, high: float | None) -> str:
    return "" if low is None else f"{_figure(low)}–{_figure(high)}"
