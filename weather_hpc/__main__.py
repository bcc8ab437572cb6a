"""``weather-hpc <verb>`` and ``python -m weather_hpc <verb>``: find the verb and hand over."""

import importlib
import sys
from collections.abc import Sequence

from weather_hpc import __version__, cli
from weather_hpc.errors import nearest

VERBS = {
    "sweep": (
        "weather_hpc.sweep.__main__",
        "plan a study, run it, collect the results: the main verb",
    ),
    "data": ("weather_hpc.data.__main__", "make, check and describe image folders and stores"),
    "preprocess": ("weather_hpc.preprocess.__main__", "turn an image folder into a packed store"),
    "eda": ("weather_hpc.eda.__main__", "explore an image folder: plots, tables, one page"),
    "train": ("weather_hpc.train.__main__", "train a network from a packed store"),
    "predict": ("weather_hpc.predict.__main__", "classify new images with a trained network"),
    "collect": (
        "weather_hpc.collect.__main__",
        "turn the results of runs into tables and a report",
    ),
    "check": (
        "weather_hpc.check.__main__",
        "check that nodes compute correctly, and measure how fast",
    ),
    "bench": ("weather_hpc.bench.__main__", "compare this package with other implementations"),
    "completion": ("weather_hpc.completion", "print a script that completes commands in a shell"),
}


def usage() -> str:
    """The list of verbs, one line each."""
    width = max(map(len, VERBS))
    lines = [f"  {verb:<{width}}  {text}" for verb, (_, text) in VERBS.items()]
    return "\n".join(
        [
            "usage: weather-hpc VERB [options]   (weather-hpc VERB --help lists the options)",
            "",
            *lines,
        ]
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Dispatch to a verb. Exit code: the verb's; 2 for an unknown verb."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(usage())
        return cli.EXIT_OK
    verb, *rest = arguments
    if verb in ("-V", "--version"):
        print(f"weather_hpc {__version__}")
        return cli.EXIT_OK
    if verb not in VERBS:
        print(f"weather-hpc: unknown verb {verb!r}{nearest(verb, list(VERBS))}", file=sys.stderr)
        return cli.EXIT_USAGE
    if argv is None:
        cli.raise_on_signals()
    cli.own_umask()
    module = importlib.import_module(VERBS[verb][0])
    return cli.guarded(verb, module.main, rest)


if __name__ == "__main__":
    raise SystemExit(main())
