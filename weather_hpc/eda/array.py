"""``python -m weather_hpc.eda.array``: one operation on all images of a packed store, timed.

python -m weather_hpc.eda.array --store photos.store --operation histogram --engine dask-array
"""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weather_hpc import cli
from weather_hpc.errors import FailedError
from weather_hpc.study.flags import add_flags, given

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from weather_hpc.runs.record import RunRecord

DEFAULTS = {"operation": "mean-std", "engine": "numpy"}


def main(argv: Sequence[str] | None = None) -> int:
    """Compute, check and time one operation. Exit code: 0; 1 where it failed or is wrong."""
    args = parser().parse_args(argv)
    from weather_hpc.preprocess.chunk import ONE_THREAD

    os.environ.update(ONE_THREAD)  # before NumPy comes, here and in the workers that inherit it
    from weather_hpc.dataset.store import Store
    from weather_hpc.eda.array_stage import run_array
    from weather_hpc.eda.request import spec_and_task
    from weather_hpc.runs.writer import RunWriter
    from weather_hpc.study.tasks import ArrayTask

    store = Store.open(args.store)
    spec, task = spec_and_task(ArrayTask, store, given(args, "array"), DEFAULTS, args.run_dir)
    with RunWriter(spec, args.run_dir) as writer:
        record, result = run_array(task, store, writer)
    if args.out is not None:
        _write(args.out, result)
    if args.json:
        cli.print_json(_summary(record, result))
    else:
        print(_sentence(record))
    return cli.EXIT_OK


def parser() -> cli.Parser:
    """The command line."""
    result = cli.Parser(
        "eda.array", description="Compute one operation on all images of a packed store."
    )
    add = result.add_argument
    add("--store", type=Path, required=True, metavar="STORE",
        help="packed store, made by weather_hpc.preprocess")  # fmt: skip
    add_flags(result, "array", DEFAULTS, without=["image_size"])
    add("--out", type=Path, metavar="FILE", help="where to write the result, as .npy")
    add("--run-dir", type=Path, metavar="DIR", help="where to write record.json and events.jsonl")
    result.add_output()
    return result


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
