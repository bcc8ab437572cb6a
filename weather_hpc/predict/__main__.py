"""``python -m weather_hpc.predict``: classify images with a trained network.

python -m weather_hpc.predict --checkpoint runs/first/checkpoint.pt --out named photo.jpg holiday/

Writes predictions.csv (a line per image, a probability per class), skipped.csv (unusable files,
with the reason) and sheet-1.png, ...: the images, each with its class and probability.
"""

import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from weather_hpc import cli
from weather_hpc.errors import UserError

DEVICES = ("auto", "cpu", "cuda")


def parser() -> cli.Parser:
    """The command line."""
    result = cli.Parser("predict", description=__doc__)
    add = result.add_argument
    add("images", type=Path, nargs="+", metavar="IMAGE", help="image file, or a folder of them "
        "(its hidden files are left out)")  # fmt: skip
    add("--checkpoint", type=Path, required=True, metavar="FILE", help="checkpoint.pt of a "
        "training run")  # fmt: skip
    add("--out", type=Path, required=True, metavar="DIR", help="folder for the results")
    add("--device", default="auto", choices=DEVICES, help="device to compute on (default: auto: "
        "the GPU if there is one)")  # fmt: skip
    add("--batch-size", type=int, default=32, metavar="B", help="images per batch")
    add("--threads", type=int, default=1, metavar="T", help="CPU threads")
    add("--no-sheet", action="store_true", help="write no sheets of images")
    result.add_json()
    return result


def main(argv: Sequence[str] | None = None) -> int:
    """Run the verb. Exit code 0: images were classified; 1: no image was usable; 2: wrong input."""
    args = parser().parse_args(argv)
    for name in ("batch_size", "threads"):
        if getattr(args, name) < 1:
            flag = name.replace("_", "-")
            raise UserError(f"--{flag} {getattr(args, name)}: must be 1 or more")
    if args.out.exists() and not args.out.is_dir():
        raise UserError(f"--out {args.out}: is a file, not a folder")

    files = image_files(args.images)
    from weather_hpc.predict.stage import load_network, predict

    network = load_network(args.checkpoint, args.device, args.threads)
    try:
        summary = predict(network, files, args.out, args.batch_size, sheets=not args.no_sheet)
    except OSError as error:
        raise UserError(f"{error.filename or args.out}: {error.strerror}") from None
    for path, reason in summary.skipped:
        print(f"skipped {path}: {reason}", file=sys.stderr)
    counts = ", ".join(f"{n} {name}" for name, n in summary.classes.items())
    done = (
        f"{summary.images} images classified ({counts or 'none'}), {len(summary.skipped)} skipped"
    )
    print(f"{done}; see {summary.predictions}", file=sys.stderr)
    if args.json:
        cli.print_json(summary.as_dict())
    return cli.EXIT_OK if summary.images else cli.EXIT_FAILED


def image_files(paths: Iterable[Path]) -> list[Path]:
    """The files in ``paths``, each once, in order; a folder stands for all files under it.

    Raises UserError for a folder that cannot be listed or holds no file. Files that do not exist or
    are not images are found when they are decoded.
    """
    files: dict[Path, None] = {}
    for path in paths:
        if not path.is_dir():
            files.setdefault(path)
            continue
        inside = list(_under(path))
        if not inside:
            raise UserError(f"{path}: holds no files")
        files |= dict.fromkeys(inside)
    return list(files)


def _under(folder: Path) -> Iterable[Path]:
    def refuse(error: OSError) -> None:
        raise UserError(f"{error.filename}: {error.strerror}")

    for root, folders, names in os.walk(folder, onerror=refuse):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            if not name.startswith("."):
                yield Path(root, name)


if __name__ == "__main__":
    cli.run("predict", main)
