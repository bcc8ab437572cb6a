"""Benchmark this package against other implementations of the same work, as ratios."""

import importlib
from collections.abc import Sequence

from weather_hpc import cli

SUBJECTS = {
    "preprocess": "image preprocessing, compared with Pillow, OpenCV, torchvision and naive Dask",
    "scale": "time and memory of preprocessing as the number of images grows",
    "train": "training the paper's network, compared with naive code and Lightning Fabric",
    "collect": "reading run records and foreign logs, compared with JUBE and others",
}
"""Each is a module of this package with ``add_arguments(parser)`` and ``run(args) -> int``."""


def parser() -> cli.Parser:
    """The command line."""
    result = cli.Parser(
        "bench", description=__doc__, epilog="Every SUBJECT takes --rounds N, --out DIR and --json."
    )
    subjects = result.add_actions("SUBJECT", dest="subject")
    for name, text in SUBJECTS.items():
        module = importlib.import_module(f"weather_hpc.bench.{name}")
        subject = subjects.add_parser(name, help=text, description=module.__doc__)
        module.add_arguments(subject)
        subject.set_defaults(run=module.run)
    return result


def main(argv: Sequence[str] | None = None) -> int:
    """Run the verb. Exit code: 0; 1: an implementation failed; 2: wrong input."""
    args = parser().parse_args(argv)
    code: int = args.run(args)
    return code


if __name__ == "__main__":
    cli.run("bench", main)
