"""Turn what runs left behind into rows, rejects, an audit, tables, plots and a report page."""

import sys
from collections.abc import Sequence
from pathlib import Path

from weather_hpc import cli
from weather_hpc.collect import collect, tell
from weather_hpc.errors import UserError
from weather_hpc.paths import StudyPaths


def parser() -> cli.Parser:
    """The command line."""
    result = cli.Parser("collect", description=__doc__)
    result.add_argument(
        "paths", type=Path, nargs="+", metavar="PATH",
        help="results folder of a study, a folder of several, or one run's folder",
    )  # fmt: skip
    result.add_argument(
        "--out", type=Path, metavar="DIR",
        help="where everything is written (may be left out for one study: then its own folder)",
    )  # fmt: skip
    result.add_json()
    return result


def main(argv: Sequence[str] | None = None) -> int:
    """Run the verb. Exit code 0: collected, whatever was found; 2: wrong input."""
    args = parser().parse_args(argv)
    out = args.out or _own_folder(args.paths)
    if out.exists() and not out.is_dir():
        raise UserError(f"--out {out}: is a file; a folder is wanted")
    try:
        summary = collect(args.paths, out)
    except OSError as error:
        raise UserError(f"{error.filename or out}: {error.strerror}") from None
    print(tell(summary), file=sys.stderr)
    if args.json:
        cli.print_json(summary)
    return cli.EXIT_OK


def _own_folder(paths: Sequence[Path]) -> Path:
    path = paths[0]
    if len(paths) == 1 and (StudyPaths(path).runs.is_dir() or not path.is_dir()):
        return path
    raise UserError("--out: is needed unless the one PATH is a study's folder, which holds runs/")


if __name__ == "__main__":
    cli.run("collect", main)
