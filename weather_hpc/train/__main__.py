"""``python -m weather_hpc.train``: train a network from a packed store.

python -m weather_hpc.train --store photos.store --epochs 20 --run-dir runs/first
python -m weather_hpc.train.torchrun --nproc-per-node 2 -m weather_hpc.train \
    --store photos.store --strategy ddp --run-dir runs/two
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from weather_hpc import cli
from weather_hpc.errors import FailedError
from weather_hpc.study.flags import add_flags, given

if TYPE_CHECKING:
    from weather_hpc.runs.record import RunRecord
    from weather_hpc.train.ranks import TorchrunEnv


def main(argv: Sequence[str] | None = None) -> int:
    """Train one network.

    Exit code: 0, also for a skipped run; 1 for a failed one; 75 where it stopped on request and
    ``--resume`` would continue it (0 under torchrun, which would turn 75 into 1 and a traceback).
    """
    typed = sys.argv[1:] if argv is None else list(argv)
    args = parser().parse_args(typed)
    from weather_hpc.train.again import how_to_go_on
    from weather_hpc.train.ranks import torchrun_env

    env = torchrun_env()
    try:
        with cli.advice(lambda: how_to_go_on(typed, args.run_dir, env)):
            return _train(args, typed, env)
    except KeyboardInterrupt as error:
        if env.rank == 0:
            raise
        return cli.exit_code_of(error)  # rank 0 says it


def _train(args: argparse.Namespace, typed: list[str], env: "TorchrunEnv") -> int:
    from weather_hpc.runs.record import Status
    from weather_hpc.train.again import how_to_go_on
    from weather_hpc.train.request import TrainOptions, already_done, make_request

    options = TrainOptions(
        store=args.store,
        settings=given(args, "train"),
        run_dir=args.run_dir,
        resume=args.resume,
        evaluate_every=args.evaluate_every,
        fall_back=args.without_cuda == "cpu",
        prints_epochs=not args.json,
        discard=args.discard,
    )
    try:
        request = make_request(options, typed, env)
        record = already_done(request)
    except Exception as error:
        if env.world_size > 1:
            from weather_hpc.train.failure import tell_waiting_ranks

            tell_waiting_ranks(env, error)
        raise
    done_before = record is not None
    if record is None or env.world_size > 1:  # another rank may see no record
        from weather_hpc.train.process import train

        record = train(request, record)
    if request.env.rank == 0:
        if args.json:
            cli.print_json(_summary(record))
        else:
            print(_sentence(record) + (" (already done)" if done_before else ""))
    if record.status in (Status.OK, Status.SKIPPED):
        return cli.EXIT_OK
    if record.status is Status.INCOMPLETE:
        if env.rank == 0:
            print(f"train: stopped; {how_to_go_on(typed, args.run_dir, env)}", file=sys.stderr)
        return cli.EXIT_OK if request.env.launched else cli.EXIT_STOPPED
    if request.env.rank == 0:
        raise FailedError(record.reason)
    return cli.EXIT_FAILED


def parser() -> cli.Parser:
    """The command line."""
    result = cli.Parser("train", description="Train a network from a packed store.")
    add = result.add_argument
    add("--store", type=Path, required=True, help="the packed store to train from")
    defaults = {"strategy": "single", "world_size": "torchrun's WORLD_SIZE, or 1"}
    add_flags(result, "train", defaults, without=["image_size"])
    add("--evaluate-every", type=int, default=0, metavar="E",
        help="evaluate also after every E epochs; 0: only after the last")  # fmt: skip
    add("--without-cuda", default="skip", choices=["skip", "cpu"],
        help="what to do where CUDA is requested and there is none")  # fmt: skip
    add("--run-dir", type=Path, metavar="DIR",
        help="folder for record, events and checkpoint")  # fmt: skip
    earlier = result.add_mutually_exclusive_group()
    earlier.add_argument("--resume", action="store_true",
        help="continue from the run folder's checkpoint, if there is one")  # fmt: skip
    earlier.add_argument("--discard", action="store_true",
        help="start afresh, and replace the run folder's checkpoint")  # fmt: skip
    result.add_output()
    return result


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
