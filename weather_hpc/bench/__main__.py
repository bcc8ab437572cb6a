"""Benchmark this package against other implementations of the same work, as ratios."""

import importlib
from collections.abc import Sequence
from typing import Any

from weather_hpc import cli

SUBJECTS = {
    "preprocess": "image preprocessing, compared with Pillow, OpenCV, torchvision and naive Dask",
    "scale": "time and memory of preprocessing as the number of images grows",
    "train": "training the paper's network, compared with naive code and Lightning Fabric",
    "collect": "reading run records and foreign logs, compared with JUBE and others",
}
"""Each is a module of this package with ``add_arguments(parser)`` and ``run(args) -> int``."""


class _SubjectParser(cli.Parser):
    """The parser of a subject; argparse passes ``prog`` with the part that cli.Parser adds."""

    def __init__(self, prog: str, **options: Any) -> None:
        super().__init__(prog.removeprefix("python -m weather_hpc."), **options)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the verb. Exit code: 0; 1: an implementation failed; 2: wrong input."""
    parser = cli.Parser(
        "bench", description=__doc__, epilog="Every SUBJECT takes --rounds N, --out DIR and --json."
    )
    subjects = parser.add_subparsers(
        dest="subject", required=True, metavar="SUBJECT", parser_class=_SubjectParser
    )
    modules = {name: importlib.import_module(f"weather_hpc.bench.{name}") for name in SUBJECTS}
    for name, text in SUBJECTS.items():
        subject = subjects.add_parser(name, help=text, description=modules[name].__doc__)
        modules[name].add_arguments(subject)
    args = parser.parse_args(argv)
    code: int = modules[args.subject].run(args)
    return code


if __name__ == "__main__":
    cli.run("bench", main)
