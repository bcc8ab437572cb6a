"""Read run records and foreign logs: time beside JUBE and others, memory as inputs grow.

Makes run folders and logs in the reproduced study's print format, both by rule. Races all who
read the logs, each checked against what was printed; then collects a tenth of everything and all
of it, for the peak memory of each.
"""

import argparse
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from weather_hpc import cli
from weather_hpc.bench.telling import add_race_options, check_race_options, finish
from weather_hpc.errors import UserError
from weather_hpc.files import check_space

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
    from weather_hpc.bench.collect_contestants import OURS, contestants, expected_figures
    from weather_hpc.bench.collect_growth import measure_growth, print_growth
    from weather_hpc.bench.harness import race
    from weather_hpc.bench.made_records import make_records
    from weather_hpc.bench.once import once
    from weather_hpc.bench.study_logs import make_logs

    size = _check(args)
    with _folder(args.dir) as folder:
        records, logs = folder / f"records-{args.records}", folder / f"logs-{args.logs}x{size}"
        sizes = {records: args.records * RECORD_BYTES, logs: args.logs * size}
        needed = SPARE * sum(size for path, size in sizes.items() if not path.exists())
        check_space(folder, round(needed), "choose another --dir, or fewer --records and --log-mb")
        once(records, lambda path: make_records(path, args.records))
        once(logs, lambda path: make_logs(path, args.logs, size))
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
    from weather_hpc.bench.study_logs import PARTS, SMALLEST_LOG

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
