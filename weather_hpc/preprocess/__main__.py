"""``python -m weather_hpc.preprocess``: turn an image folder into a packed store.

python -m weather_hpc.preprocess --data photos --out photos.store --backend dask --workers 4
"""

import argparse
import os
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from weather_hpc import cli
from weather_hpc.errors import UserError
from weather_hpc.study.flags import add_flags, check_agreement, given, make_task

if TYPE_CHECKING:
    from weather_hpc.runs.record import RunRecord
    from weather_hpc.study.spec import RunSpec


def main(argv: Sequence[str] | None = None) -> int:
    """Pack a store, or time how long that takes. Exit code: 0; 1 where it failed."""
    args = parser().parse_args(argv)
    from weather_hpc.preprocess.chunk import ONE_THREAD

    os.environ.update(ONE_THREAD)  # before NumPy comes, here and in the workers that inherit it
    from weather_hpc.preprocess.stage import preprocess
    from weather_hpc.runs.paths import RunPaths
    from weather_hpc.runs.writer import RunWriter
    from weather_hpc.study.site import load_site
    from weather_hpc.study.tasks import PreprocessTask

    if args.out is None and args.run_dir is None:
        raise UserError("--out is missing: the path of the store to make")
    spec, site = _spec(args), load_site(args.site)
    if not isinstance(spec.task, PreprocessTask):
        raise UserError(f"{args.run_dir}: its spec.json asks for a training run")
    keeps = nullcontext() if args.discard else cli.advice()
    with keeps, RunWriter(spec, args.run_dir) as writer:
        out = args.out or RunPaths(args.run_dir).store
        record = preprocess(
            spec.task, args.data, out, writer, seed=args.seed, discard=args.discard, site=site
        )
    if args.json:
        cli.print_json(_summary(record, None if args.discard else out))
    else:
        print(_sentence(record, "measured, store discarded" if args.discard else str(out)))
    return cli.EXIT_OK


def parser() -> cli.Parser:
    """The command line."""
    result = cli.Parser("preprocess", description="Turn an image folder into a packed store.")
    add = result.add_argument
    add("--data", type=Path, required=True, metavar="DIR", help="folder of class folders")
    add("--out", type=Path, metavar="STORE", help="the store to make (default: RUN_DIR/store)")
    add("--site", metavar="FILE", help="site YAML, or the name of a shipped one: the jobs of "
        "dask-jobqueue's workers (default: the cluster's defaults)")  # fmt: skip
    add_flags(result, "preprocess", {"backend": "sequential"})
    add("--seed", type=int, default=0, help="of the choice of images and of the train/test split")
    add("--run-dir", type=Path, metavar="DIR", help="where to write record.json and events.jsonl")
    add(
        "--discard",
        action="store_true",
        help="only measure: start over, remove the store after",
    )
    result.add_output()
    return result


def _spec(args: argparse.Namespace) -> "RunSpec":
    """The launcher's spec from the run folder, else one made from the flags.

    Raises UserError naming a flag that is out of range or differs from the spec.
    """
    from weather_hpc.dataset.image_file import printable
    from weather_hpc.runs.writer import read_spec
    from weather_hpc.study.plan import worker_resources
    from weather_hpc.study.spec import RunSpec, Stage
    from weather_hpc.study.tasks import PreprocessTask

    values = given(args, "preprocess")
    spec = read_spec(args.run_dir)
    if spec is not None:
        check_agreement(spec.task, values, f"{args.run_dir}/spec.json")
        return spec
    task = make_task(PreprocessTask, {"backend": "sequential"} | values)
    return RunSpec(
        study="adhoc",
        stage=Stage.PREPROCESS,
        task=task,
        resources=worker_resources(task),
        data=printable(str(args.data.absolute())),
    )


def _summary(record: "RunRecord", out: Path | None) -> dict[str, object]:
    return {
        "run_id": record.run_id,
        "status": record.status.value,
        "store": None if out is None else str(out),
        "checksum": record.quality.store_checksum,
        "time_s": record.time_s,
        "images_per_s": record.images_per_s,
        **record.counts.model_dump(
            include={"images", "quarantined", "unreadable", "damaged", "duplicates"}
        ),
    }


def _sentence(record: "RunRecord", where: str) -> str:
    counts = record.counts
    kept = f" ({counts.damaged} damaged)" if counts.damaged else ""
    text = f"{where}: {counts.images} images{kept}, {counts.quarantined} quarantined"
    if record.time_s is None or record.images_per_s is None:
        return text + "; partly or wholly from an earlier run, so not timed"
    return text + f"; {record.time_s:.2f} s, {record.images_per_s:.1f} images/s"


if __name__ == "__main__":
    cli.run("preprocess", main, sys.argv[1:])
