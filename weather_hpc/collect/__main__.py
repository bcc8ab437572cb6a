"""Turn the results of runs into rows, rejects, an audit, tables, plots and a report.

python -m weather_hpc.collect results/quick
python -m weather_hpc.collect logs/ --pattern 'ddp_{gpus}gpu_bs{batch_size}.log' --out collected
python -m weather_hpc.collect results/tonight --reference results/good-day --tolerance 0.1
"""

import argparse
import math
from collections.abc import Sequence
from pathlib import Path

from weather_hpc import cli
from weather_hpc.errors import FailedError, UserError
from weather_hpc.runs.paths import StudyPaths


def parser() -> cli.Parser:
    """The command line."""
    result = cli.Parser("collect", description=__doc__)
    result.add_argument(
        "paths", type=Path, nargs="+", metavar="PATH",
        help="results folder of a study, a folder of several, or one run's folder; text logs or "
        "a folder of them; a file with the output of sacct",
    )  # fmt: skip
    result.add_argument(
        "--out", type=Path, metavar="DIR",
        help="folder for the output (optional for one study; default: its own folder)",
    )  # fmt: skip
    add = result.add_argument
    add("--pattern", metavar="NAME", help="pattern of the names of text logs, such as "
        "'ddp_{gpus}gpu_bs{batch_size}.log'; logs with other names are rejected")  # fmt: skip
    add("--format", action="append", default=[], metavar="NAME|FILE", help="format of the logs: "
        "a known format, or a YAML file of regular expressions; may be repeated "
        "(default: the known format that fits best)")  # fmt: skip
    add("--reference", type=Path, metavar="DIR|FILE", help="tables to compare with: an earlier "
        "collection, or a table of configurations and times; exit code 1 on a "
        "regression")  # fmt: skip
    add("--tolerance", default="0.1", metavar="T", help="difference from the reference that is "
        "not a regression: a fraction, or time_s=0.1,test_accuracy=0.02")  # fmt: skip
    add("--deadline", type=_amount, metavar="SECONDS",
        help="recommend a configuration that finishes within this time")  # fmt: skip
    add("--budget", type=_amount, metavar="NODE_HOURS",
        help="recommend a configuration whose run costs no more than this")  # fmt: skip
    add("--claims", type=Path, metavar="FILE", help="YAML file of claims to test on the runs "
        "(default: the conclusions of the reproduced study)")  # fmt: skip
    add("--allocation", metavar="nodes=N,cpus=C,gpus=G",
        help="recommend preprocessing and training for this allocation: so many nodes, with so "
        "many CPUs and GPUs each (default: as large as what was measured)")  # fmt: skip
    result.add_output()
    return result


def _amount(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value >= 0):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of at least 0")
    return value


def main(argv: Sequence[str] | None = None) -> int:
    """Run the verb.

    Exit code 0: collected, whatever the audit found; 1: a regression against the reference, or
    no configuration could be compared with it, or the output cannot be written; 2: wrong input.
    """
    args = parser().parse_args(argv)
    from weather_hpc.collect.pipeline import CollectOptions, collect
    from weather_hpc.collect.summary import summary_text

    out = args.out or _own_folder(args.paths)
    if out.exists() and not out.is_dir():
        raise UserError(f"--out {out}: is a file; expected a folder")
    options = CollectOptions(
        pattern=args.pattern,
        formats=tuple(args.format),
        reference=args.reference,
        tolerance=args.tolerance,
        deadline_s=args.deadline,
        budget_node_hours=args.budget,
        claims=args.claims,
        allocation=args.allocation,
    )
    try:
        summary = collect(args.paths, out, options)
    except OSError as error:
        if args.out is not None:
            raise
        why = f"{error.filename or out}: {error.strerror}"
        raise FailedError(f"{why}; choose another folder for the output with --out") from None
    if args.json:
        cli.print_json(summary)
    else:
        print(summary_text(summary))
    reference = summary["reference"]
    return cli.EXIT_FAILED if reference and reference["failed"] else cli.EXIT_OK


def _own_folder(paths: Sequence[Path]) -> Path:
    path = paths[0]
    if len(paths) == 1 and (StudyPaths(path).runs.is_dir() or not path.is_dir()):
        return path
    raise UserError("--out: is needed unless PATH is one study's results folder, with runs/")


if __name__ == "__main__":
    cli.run("collect", main)
