"""``python -m weather_hpc.data``: make, fetch, check and summarize images.

python -m weather_hpc.data synth --out images --images-per-class 24
python -m weather_hpc.data fetch --from weapd.zip --out weapd
python -m weather_hpc.data verify images
python -m weather_hpc.data info images
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from weather_hpc import cli
from weather_hpc.dataset.image_file import printable


def main(argv: Sequence[str] | None = None) -> int:
    """Run one of the actions. Exit code: 0; 1 where verify finds damage."""
    args = parser().parse_args(argv)
    code: int = args.run(args)
    return code


def parser() -> cli.Parser:
    """The command line."""
    result = cli.Parser("data", description=__doc__)
    verbs = result.add_actions("ACTION")

    synth = verbs.add_parser("synth", help="make synthetic images of 11 weather classes")
    synth.add_argument("--out", type=Path, required=True, metavar="DIR", help="the folder to make")
    synth.add_argument("--images-per-class", type=int, default=24, metavar="N",
        help="images of each class")  # fmt: skip
    synth.add_argument("--seed", type=int, default=0, help="equal seeds make equal images")
    synth.add_argument(
        "--like-weapd", action="store_true", help="class sizes in the proportions of WEAPD"
    )
    synth.set_defaults(run=_synth)

    fetch = verbs.add_parser("fetch", help="unpack an archive of class folders, local or by URL")
    fetch.add_argument("--from", dest="source", required=True, metavar="FILE_OR_URL",
        help="a zip or tar archive")  # fmt: skip
    fetch.add_argument("--out", type=Path, required=True, metavar="DIR", help="the folder to make")
    fetch.add_argument("--sha256", metavar="HEX", help="expected checksum of the archive")
    fetch.set_defaults(run=_fetch)

    verify = verbs.add_parser("verify", help="read everything; exit 1 where a file is damaged")
    verify.add_argument("path", type=Path, metavar="PATH", help="an image folder or a store")
    verify.set_defaults(run=_verify)

    info = verbs.add_parser("info", help="summarize an image folder or a store")
    info.add_argument("path", type=Path, metavar="PATH", help="an image folder or a store")
    info.set_defaults(run=_info)

    for subparser in (synth, fetch, verify, info):
        subparser.add_output()
    return result


def _synth(args: argparse.Namespace) -> int:
    from weather_hpc.dataset.synthetic import make_synthetic

    with cli.advice():
        images = make_synthetic(
            args.out, args.images_per_class, args.seed, like_weapd=args.like_weapd
        )
    _print(args, {"path": printable(str(args.out)), "images": images})
    return cli.EXIT_OK


def _fetch(args: argparse.Namespace) -> int:
    from weather_hpc.data.summary import summarize
    from weather_hpc.dataset.fetch import fetch

    with cli.advice():
        fetch(args.source, args.out, args.sha256)
    _print(args, summarize(args.out))
    return cli.EXIT_OK


def _verify(args: argparse.Namespace) -> int:
    from weather_hpc.data.summary import find_damage

    damaged, warning = find_damage(args.path)
    if warning:
        print(f"data: {printable(str(args.path))}: {warning}", file=sys.stderr)
    if args.json:
        cli.print_json({"path": printable(str(args.path)), "damaged": damaged, "left_out": warning})
    else:
        print("\n".join(damaged) or f"{printable(str(args.path))}: nothing is damaged")
    return cli.EXIT_FAILED if damaged else cli.EXIT_OK


def _info(args: argparse.Namespace) -> int:
    from weather_hpc.data.summary import summarize

    _print(args, summarize(args.path))
    return cli.EXIT_OK


def _print(args: argparse.Namespace, facts: dict[str, Any]) -> None:
    if args.json:
        cli.print_json(facts)
        return
    for name, value in facts.items():
        if isinstance(value, dict):
            print(f"{name}:")
            print("\n".join(f"  {key}: {entry}" for key, entry in value.items()) or "  none")
        else:
            print(f"{name}: {value}")


if __name__ == "__main__":
    cli.run("data", main)
