"""``python -m weather_hpc.train``: train a network from a packed store.

python -m weather_hpc.train --store photos.store --epochs 20 --run-dir runs/first
python -m torch.distributed.run --standalone --nproc-per-node 2 -m weather_hpc.train \
    --store photos.store --strategy ddp --run-dir runs/two
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from weather_hpc import cli
from weather_hpc.errors import FailedError
from weather_hpc.study.recipe import RECIPES

if TYPE_CHECKING:
    from weather_hpc.runs.record import RunRecord


def main(argv: Sequence[str] | None = None) -> int:
    """Train one network.

    Exit code: 0, also where the run is skipped; 1 where it failed; 75 where it was asked to stop
    and would go on with ``--resume`` (0 under torchrun, which would make 1 and a traceback of it).
    """
    typed = sys.argv[1:] if argv is None else list(argv)
    args = _parser().parse_args(typed)
    from weather_hpc.runs.record import Status
    from weather_hpc.train.request import already_done, make_request

    request = make_request(args, typed)
    record = already_done(request)
    done_before = record is not None
    if record is None:
        from weather_hpc.train.process import train

        record = train(request)
    if request.world.rank == 0:
        if args.json:
            cli.print_json(_summary(record))
        else:
            print(_sentence(record) + (" (already done)" if done_before else ""))
    if record.status in (Status.OK, Status.SKIPPED):
        return cli.EXIT_OK
    if record.status is Status.INCOMPLETE:
        return cli.EXIT_OK if request.world.launched else cli.EXIT_STOPPED
    if request.world.rank == 0:
        raise FailedError(record.reason)
    return cli.EXIT_FAILED


def _parser() -> cli.Parser:
    parser = cli.Parser("train", description="Train a network from a packed store.")
    add = parser.add_argument
    add("--store", type=Path, required=True, help="the packed store to train from")
    add("--strategy", default="single", metavar="NAME",
        help="single, dp, ddp or model; torchrun starts the last two")  # fmt: skip
    add("--device", default="auto", metavar="NAME", help="auto, cpu or cuda")
    add("--world-size", type=int, metavar="N",
        help="devices in all (default: torchrun's WORLD_SIZE, or 1)")  # fmt: skip
    add("--threads", type=int, default=1, metavar="T", help="CPU threads of each process")
    add("--batch-size", type=int, default=32, metavar="B", help="images per step")
    add("--batch-mode", default="per-device", metavar="MODE",
        help="what the batch size counts: per-device or global")  # fmt: skip
    add("--epochs", type=int, default=20, metavar="E", help="measured epochs")
    add("--warmup-steps", type=int, default=2, metavar="W",
        help="steps that come first, unmeasured, and are undone")  # fmt: skip
    add("--model", default="paper_cnn", metavar="NAME",
        help="paper_cnn, weather_net, or a torchvision classifier such as resnet18")  # fmt: skip
    add("--weights", metavar="FILE",
        help="begin with ImageNet weights (torchvision only): a file, or cached")  # fmt: skip
    add(
        "--recipe",
        default="paper",
        metavar="NAME",
        help="how it is taught: " + "; ".join(f"{n}: {r.text}" for n, r in RECIPES.items()),
    )
    add("--lr", type=float, help="the optimizer's largest step size (default: the recipe's)")
    add(
        "--batch-norm",
        default="local",
        metavar="HOW",
        help="ddp: statistics of one rank's images (local) or of the whole step's (sync)",
    )
    add("--precision", default="fp32", metavar="NAME",
        help="what the network computes in: fp32, tf32 or bf16")  # fmt: skip
    add("--memory-format", default="contiguous", metavar="NAME",
        help="order of an image batch in memory: contiguous or channels-last")  # fmt: skip
    add("--execution", default="eager", metavar="NAME",
        help="how a step is carried out: eager or compiled; on one GPU also graph, "
        "compiled-graph")  # fmt: skip
    add("--seed", type=int, default=0, metavar="S",
        help="of weights, order, dropout and augmentation")  # fmt: skip
    add("--images", type=int, metavar="N", help="train on N images (default: all)")
    add("--evaluate-every", type=int, default=0, metavar="E",
        help="evaluate after every E epochs as well; 0: after the last alone")  # fmt: skip
    add("--without-cuda", default="skip", choices=["skip", "cpu"],
        help="what to do where CUDA is asked for and there is none")  # fmt: skip
    add("--run-dir", type=Path, metavar="DIR",
        help="for record, events and checkpoint; those of an earlier run are replaced")  # fmt: skip
    add("--resume", action="store_true",
        help="go on from the run folder's checkpoint, if there is one")  # fmt: skip
    parser.add_json()
    return parser


def _summary(record: "RunRecord") -> dict[str, object]:
    fields = {"run_id", "status", "reason", "time_s", "images_per_s"}
    return {
        **record.model_dump(mode="json", include=fields),
        **record.quality.model_dump(exclude={"store_checksum"}),
        "device": record.actual.device,
        "world_size": record.actual.world_size,
        "restarts": record.provenance.restarts,
    }


def _sentence(record: "RunRecord") -> str:
    if record.time_s is None or record.images_per_s is None:
        return f"{record.run_id}: {record.status}: {record.reason}"
    text = f"{record.run_id}: {record.time_s:.2f} s, {record.images_per_s:.1f} images/s"
    text += f", loss {record.quality.train_loss:.4f}"
    if record.quality.test_accuracy is None:
        return text
    return text + f", test accuracy {record.quality.test_accuracy:.3f}"


if __name__ == "__main__":
    cli.run("train", main, sys.argv[1:])
