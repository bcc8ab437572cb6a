"""``python -m weather_hpc.predict``: classify images with a trained network.

python -m weather_hpc.predict --checkpoint results/s/runs/train-1 --out classified photo.jpg holiday
python -m weather_hpc.predict --best-of results/s --out classified holiday

Writes predictions.csv (a line per image, a probability per class), skipped.csv (unusable files,
with the reason), summary.json and sheet-1.png, ...: the images, each with its three most probable
classes. Where folders have the names of classes, also the accuracy.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from weather_hpc import cli
from weather_hpc.errors import FailedError, UserError
from weather_hpc.predict.images import image_files

if TYPE_CHECKING:
    from weather_hpc.runs.predictions import PredictionSummary
    from weather_hpc.study.spec import RunSpec

LOW_CONFIDENCE = 0.5
"""Default probability of the predicted class below which a prediction is marked."""

UNLIKE = 0.05
"""Default share of images like the training images that is marked as unlike them."""

DEVICES = ("auto", "cpu", "cuda")


def parser() -> cli.Parser:
    """The command line."""
    result = cli.Parser("predict", description=__doc__)
    add = result.add_argument
    add("images", type=Path, nargs="+", metavar="IMAGE", help="image file, or a folder of them "
        "(its hidden files are left out)")  # fmt: skip
    network = result.add_mutually_exclusive_group(required=True)
    network.add_argument("--checkpoint", type=Path, metavar="FILE|RUN", help="checkpoint.pt of a "
        "training run, or the run's folder")  # fmt: skip
    network.add_argument("--best-of", type=Path, metavar="RESULTS", help="results folder of a "
        "sweep: the network of its most accurate configuration")  # fmt: skip
    add("--out", type=Path, metavar="DIR", help="folder for the results (default: RUN_DIR)")
    add("--low-confidence", type=float, default=LOW_CONFIDENCE, metavar="P", help="mark images "
        "whose predicted class has a probability below P")  # fmt: skip
    add("--tta", action="store_true", help="average the probabilities of each image and its "
        "mirror image, in twice the time")  # fmt: skip
    add("--unlike", type=float, default=UNLIKE, metavar="SHARE", help="mark images farther "
        "from the training images than all but this share of those held apart from it")  # fmt: skip
    add("--device", default="auto", choices=DEVICES, help="device to compute on (default: auto: "
        "the GPU if there is one)")  # fmt: skip
    add("--batch-size", type=int, default=32, metavar="B", help="images per batch")
    add("--threads", type=int, default=1, metavar="T", help="CPU threads")
    add("--no-sheet", action="store_true", help="write no sheets of images")
    add("--run-dir", type=Path, metavar="DIR", help="where to write record.json")
    result.add_output()
    return result


def main(argv: Sequence[str] | None = None) -> int:
    """Run the verb. Exit code 0: images were classified; 1: no image was usable; 2: wrong input."""
    args = parser().parse_args(argv)
    _check(args)
    summary = _predict(args) if args.run_dir is None else _recorded(args)
    for entry in summary.skipped:
        print(f"skipped {entry.file}: {entry.reason}", file=sys.stderr)
    if args.json:
        cli.print_json(summary.model_dump())
    else:
        print(f"{_done(summary)}; see {summary.predictions}", *_lines(summary), sep="\n")
    return cli.EXIT_OK if summary.images else cli.EXIT_FAILED


def _check(args: argparse.Namespace) -> None:
    for name in ("batch_size", "threads"):
        if getattr(args, name) < 1:
            flag = name.replace("_", "-")
            raise UserError(f"--{flag} {getattr(args, name)}: must be 1 or more")
    if not 0 <= args.low_confidence <= 1:
        raise UserError(f"--low-confidence {args.low_confidence:g}: must be from 0 to 1")
    if not 0 < args.unlike < 1:
        raise UserError(f"--unlike {args.unlike:g}: must be above 0 and below 1")
    args.out = args.out or args.run_dir
    if args.out is None:
        raise UserError("--out is missing: the folder for the results")
    if args.out.exists() and not args.out.is_dir():
        raise UserError(f"--out {args.out}: is a file, not a folder")


def _predict(args: argparse.Namespace) -> "PredictionSummary":
    files = image_files(args.images)
    from weather_hpc.predict.best import best_run

    best = None
    if args.best_of is not None:
        best = best_run(args.best_of)
        print(f"network: {best}", file=sys.stderr)
    from weather_hpc.predict.network import load_network
    from weather_hpc.predict.stage import PredictOptions, predict

    checkpoint = best.checkpoint if best else args.checkpoint
    network = load_network(checkpoint, args.device, args.threads, averages=args.tta)
    if network.calibration and args.unlike < (least := network.calibration.least_chance):
        raise UserError(
            f"--unlike {args.unlike:g}: with {network.calibration.images} images held apart it "
            f"can be {least:.3g} and more"
        )
    options = PredictOptions(
        args.batch_size, args.low_confidence, args.unlike, sheets=not args.no_sheet
    )
    return predict(network, files, args.out, options, best)


def _recorded(args: argparse.Namespace) -> "PredictionSummary":
    """The same, with a record in the run's folder, whose reason says why it failed."""
    from weather_hpc.runs.clock import since_process_start
    from weather_hpc.runs.proc import memory_peak_mb
    from weather_hpc.runs.record import Status
    from weather_hpc.runs.writer import RunWriter

    with RunWriter(_spec(args), args.run_dir) as writer:
        record = writer.record
        record.actual.nodes = record.actual.world_size = 1
        try:
            summary = _predict(args)
        except (UserError, FailedError) as error:
            writer.finish(Status.FAILED, str(error))
            raise
        record.counts.images = summary.images
        record.usage.host_memory_peak_mb = memory_peak_mb()
        record.phases.total = since_process_start()
        if summary.images:
            writer.finish()
        else:
            reason = f"none of {len(summary.skipped)} files is a usable image; see skipped.csv"
            writer.finish(Status.FAILED, reason)
    return summary


def _spec(args: argparse.Namespace) -> "RunSpec":
    """The launcher's spec from the run folder, else one made from the arguments."""
    from weather_hpc.dataset.image_file import printable
    from weather_hpc.runs.writer import read_spec
    from weather_hpc.study.spec import RunSpec, Stage
    from weather_hpc.study.tasks import PredictTask

    spec = read_spec(args.run_dir)
    if spec is None:
        task = PredictTask(new_images=printable(str(args.images[0].absolute())))
        return RunSpec(study="adhoc", stage=Stage.PREDICT, task=task, data=task.new_images)
    if not isinstance(spec.task, PredictTask):
        raise UserError(f"{args.run_dir}: spec.json is for stage {spec.stage}, not for predict")
    return spec


def _done(summary: "PredictionSummary") -> str:
    counts = ", ".join(f"{n} {name}" for name, n in summary.classes.items())
    return (
        f"{summary.images} images classified ({counts or 'none'}), {len(summary.skipped)} skipped"
    )


def _lines(summary: "PredictionSummary") -> list[str]:
    known = ", ".join(summary.known_classes)
    by_class = [f"  {name}: {found}" for name, found in summary.accuracy_by_class.items()]
    return [*summary.sentences(), *by_class, f"the network knows the classes {known}"]


if __name__ == "__main__":
    cli.run("predict", main)
