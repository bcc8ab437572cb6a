"""``python -m weather_hpc.eda.array``: one operation on all images of a packed store, timed.

python -m weather_hpc.eda.array --store photos.store --operation histogram --engine dask-array
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weather_hpc import cli
from weather_hpc.errors import FailedError, UserError
from weather_hpc.study.flags import add_flags, check_agreement, given, make_task

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from weather_hpc.dataset.store import Store
    from weather_hpc.runs.record import RunRecord
    from weather_hpc.study.spec import RunSpec
    from weather_hpc.study.tasks import ArrayTask

DEFAULTS = {"operation": "mean-std", "engine": "numpy"}


def main(argv: Sequence[str] | None = None) -> int:
    """Compute, check and time one operation. Exit code: 0; 1 where it failed or is wrong."""
    args = _parser().parse_args(argv)
    from weather_hpc.preprocess.chunk import ONE_THREAD

    os.environ.update(ONE_THREAD)  # before NumPy comes, here and in the workers that inherit it
    from weather_hpc.dataset.store import Store
    from weather_hpc.eda.array_stage import run_array
    from weather_hpc.runs.writer import RunWriter

    store = Store.open(args.store)
    spec, task = _spec(args, store)
    with RunWriter(spec, args.run_dir) as writer:
        record, result = run_array(task, store, writer)
    if args.out is not None:
        _write(args.out, result)
    if args.json:
        cli.print_json(_summary(record, result))
    else:
        print(_sentence(record))
    return cli.EXIT_OK


def _parser() -> cli.Parser:
    parser = cli.Parser(
        "eda.array", description="Compute one operation on all images of a packed store."
    )
    add = parser.add_argument
    add("--store", type=Path, required=True, metavar="STORE",
        help="packed store, made by weather_hpc.preprocess")  # fmt: skip
    add_flags(parser, "array", DEFAULTS, without=["image_size"])
    add("--out", type=Path, metavar="FILE", help="where to write the result, as .npy")
    add("--run-dir", type=Path, metavar="DIR", help="where to write record.json and events.jsonl")
    parser.add_json()
    return parser


def _spec(args: argparse.Namespace, store: "Store") -> "tuple[RunSpec, ArrayTask]":
    """The launcher's spec from the run folder, else one made from the flags, and its task.

    Raises UserError naming a flag that is out of range or differs from the spec.
    """
    from weather_hpc.dataset.image_file import printable
    from weather_hpc.runs.writer import read_spec
    from weather_hpc.study.plan import worker_resources
    from weather_hpc.study.spec import RunSpec, Stage
    from weather_hpc.study.tasks import ArrayTask

    values = given(args, "array")
    spec = read_spec(args.run_dir)
    if spec is not None:
        if not isinstance(spec.task, ArrayTask):
            raise UserError(f"{args.run_dir}/spec.json: is of stage {spec.stage}, not array")
        check_agreement(spec.task, values, f"{args.run_dir}/spec.json")
        return spec, spec.task
    task = make_task(ArrayTask, DEFAULTS | values | {"image_size": store.size})
    resources, data = worker_resources(task), printable(str(args.store.absolute()))
    spec = RunSpec(study="adhoc", stage=Stage.ARRAY, task=task, resources=resources, data=data)
    return spec, task


def _write(path: Path, result: "npt.NDArray[np.generic]") -> None:
    import io

    import numpy as np

    from weather_hpc.files import write_bytes

    content = io.BytesIO()
    np.save(content, result)
    try:
        write_bytes(path, content.getvalue())
    except OSError as error:
        raise FailedError(f"--out {path}: cannot be written: {error.strerror}") from None


def _summary(record: "RunRecord", result: "npt.NDArray[np.generic]") -> dict[str, Any]:
    from weather_hpc.study.tasks import Operation

    task, values = record.spec.task, {}
    if getattr(task, "operation", None) is Operation.MEAN_STD:
        values = {"mean": result[0].tolist(), "std": result[1].tolist()}
    return {
        "run_id": record.run_id,
        "status": record.status.value,
        "time_s": record.time_s,
        "images_per_s": record.images_per_s,
        "images": record.counts.images,
        "checksum": record.quality.store_checksum,
        "shape": list(result.shape),
        **values,
    }


def _sentence(record: "RunRecord") -> str:
    time_s, speed = record.time_s or 0.0, record.images_per_s or 0.0
    return (
        f"{record.spec.label}: {record.counts.images} images, {time_s:.3f} s, "
        f"{speed:.1f} images/s; the result is right"
    )


if __name__ == "__main__":
    cli.run("array", main, sys.argv[1:])
