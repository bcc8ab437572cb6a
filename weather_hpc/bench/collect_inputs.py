"""Synthetic inputs of ``bench collect``: logs with known values, and run folders as sweeps leave.

A log has the print format of the reproduced study. It starts with the progress bars and warnings of
preprocessing, about half of its bytes; then each rank prints a line per epoch and finally its total
time. Ranks interleave; fields are separated by ``||`` in even logs and by tabs in odd ones, as in
the study's own logs.
"""

import json
import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weather_hpc import cli
from weather_hpc.files import named

if TYPE_CHECKING:
    from weather_hpc.runs.record import RunRecord
    from weather_hpc.study.spec import RunSpec

GPUS = (1, 2, 3, 4)
BATCH_SIZES = (32, 64, 128, 256)
PATTERN = "{repeat}/ddp_{gpus}gpu_bs{batch_size}.log"
PARTS = 10
"""Folders of logs: one of them holds a tenth of all."""

SMALLEST_LOG = 2000
"""Bytes of a log with two epochs of four ranks and some progress bars."""
_EPOCH_LINE_BYTES = 66

STUDIES = 10
"""Study folders of runs: one of them holds a tenth of all."""
IMAGES = 6862
SERIAL_FRACTION = 0.05
NOISE = 0.02
"""Relative standard deviation of repeats."""


@dataclass(frozen=True)
class LogValues:
    """What should be read from one log."""

    gpus: int
    batch_size: int
    ranks: int
    epochs: int
    accuracy: float
    """As all ranks print it at the last epoch."""
    time_s: float
    """The total of the slowest rank."""


def log_path(index: int) -> Path:
    """The path of log ``index`` below the folder of all; each log has its own folder."""
    gpus, batch_size = _log_configuration(index)
    name = PATTERN.format(repeat=f"{index:06d}", gpus=gpus, batch_size=batch_size)
    return Path(part_folder(index % PARTS), name)


def part_folder(part: int) -> str:
    """The name of one of the :data:`PARTS` folders of logs."""
    return f"part-{part}"


def log_values(index: int, size: int) -> LogValues:
    """The values printed in log ``index`` of about ``size`` bytes."""
    gpus, batch_size = _log_configuration(index)
    epochs = _epochs(gpus, size)
    accuracy = float(f"{_accuracy(epochs - 1, epochs, 0):.2f}")
    time_s = max(_totals(index, gpus, epochs))
    return LogValues(gpus, batch_size, gpus, epochs, accuracy, time_s)


def make_logs(folder: Path, count: int, size: int) -> None:
    """Write ``count`` logs of about ``size`` bytes each into ``folder``."""
    noise = _noise(size // 2)
    with cli.progress("making logs", total=count) as advance:
        for index in range(count):
            path = folder / log_path(index)
            path.parent.mkdir(parents=True)
            with named(path):
                path.write_text(noise + _training_output(index, size), encoding="ascii")
            advance()


def _log_configuration(index: int) -> tuple[int, int]:
    return GPUS[index % 4], BATCH_SIZES[index // 4 % 4]


def _epochs(gpus: int, size: int) -> int:
    return max(2, size // 2 // (gpus * _EPOCH_LINE_BYTES))


def _totals(index: int, gpus: int, epochs: int) -> list[float]:
    """Each rank's total time, s: equal to about seven digits, as in the study's logs."""
    draw = random.Random(index)
    total = epochs * draw.uniform(2.5, 5.0) + 1.0
    return [total + draw.uniform(0, 0.001) for _ in range(gpus)]


def _accuracy(epoch: int, epochs: int, rank: int) -> float:
    wobble = 0.01 * rank if epoch < epochs - 1 else 0.0
    return 0.30 + 0.40 * epoch / epochs + wobble


def _training_output(index: int, size: int) -> str:
    gpus, _ = _log_configuration(index)
    epochs = _epochs(gpus, size)
    totals = _totals(index, gpus, epochs)
    draw = random.Random(-index)
    separator = "\t" if index % 2 else " || "
    lines = []
    for epoch in range(epochs):
        seconds = 0.98 * totals[0] / epochs + 0.01 * draw.random()
        for turn in range(gpus):
            rank = (turn + epoch) % gpus
            fields = (
                f"Rank: {rank}",
                f"Epoch: {epoch}",
                # random, because logs with equal last epochs count as copies of one run
                f"Loss: {2.0 / (1 + epoch / 20) + 0.2 * draw.random():.3f}",
                f"Accuracy: {_accuracy(epoch, epochs, rank):.2f}",
                f"Time: {seconds:.2f}",
            )
            lines.append(separator.join(fields))
    for total in totals:
        lines += [f"Number of available GPUs: {gpus}", repr(total)]
    return "\n".join(lines) + "\n"


def _noise(size: int) -> str:
    """About ``size`` bytes of Dask's progress bars and libpng warnings, and the images' shape."""
    lines, length = [], 0
    while length < size:
        done = min(99, 100 * length // size)
        line = f"[{'#' * (done // 20):<5}] | {done}% Completed | {length % 9973 / 10:.2f} ms"
        line += " libpng warning: iCCP: known incorrect sRGB profile"
        lines.append(line)
        length += len(line) + 1
    end = "[#####] | 100% Completed | 4.00 s\n(6862, 256, 256, 3)\n"
    return "\n".join([*lines, end])


def make_once(folder: Path, make: Callable[[Path], object]) -> None:
    """Have ``make`` create ``folder``, unless it exists.

    It is made under another name and renamed; the next call removes what an interruption left.
    """
    if folder.exists():
        return
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    make(partial)
    partial.rename(folder)


def study_folder(index: int) -> str:
    """The name of one of the :data:`STUDIES` study folders."""
    return f"study-{index}"


def make_records(folder: Path, count: int) -> None:
    """Write ``count`` run folders into ``folder``, a tenth of them into each study.

    One in five is a preprocessing run, the rest are training; all are valid and consistent.
    """
    from weather_hpc.runs.paths import StudyPaths

    with cli.progress("making run records", total=count) as advance:
        for index in range(count):
            study = study_folder(index % STUDIES)
            spec = _record_spec(study, index // STUDIES)
            run = StudyPaths(folder / study).run(spec.run_id)
            run.root.mkdir(parents=True)
            record = _record(spec, index)
            # not by weather_hpc.files, which syncs: what is lost in a crash is made again
            with named(run.root):
                run.spec.write_text(json.dumps(spec.as_dict()))
                run.record.write_text(record.model_dump_json(indent=2))
                if spec.task.kind == "train":
                    run.events.write_text(_events(spec.task.epochs))
            advance()


def _record_spec(study: str, number: int) -> "RunSpec":
    """The ``number``-th run of a study: every configuration, then the next repeat of each."""
    from weather_hpc.study.spec import RunSpec

    repeat, configuration = divmod(number, len(_CONFIGURATIONS))
    task = _CONFIGURATIONS[configuration]
    fields = {"study": study, "stage": task["kind"], "data": "/images"}
    return RunSpec.model_validate({**fields, "repeat": repeat, "task": task})


_CONFIGURATIONS: list[dict[str, Any]] = [
    *(
        {"kind": "train", "strategy": "ddp" if size > 1 else "single", "device": "cpu",
         "world_size": size, "batch_size": batch, "epochs": 20}
        for size in (1, 2, 3, 4) for batch in (32, 64, 128, 256)
    ),
    {"kind": "preprocess", "backend": "sequential", "workers": 1},
    *(
        {"kind": "preprocess", "backend": "multiprocessing", "workers": workers}
        for workers in (1, 2, 4)
    ),
]  # fmt: skip


def _record(spec: "RunSpec", index: int) -> "RunRecord":
    from weather_hpc.runs.record import RunRecord

    task = spec.task
    draw = random.Random(index)
    epochs = task.epochs if task.kind == "train" else None
    workers = task.world_size if task.kind == "train" else task.workers
    one_worker_s = 8.0 * epochs if epochs else 60.0
    seconds = one_worker_s * (SERIAL_FRACTION + (1 - SERIAL_FRACTION) / workers)
    seconds *= max(0.5, draw.gauss(1.0, NOISE))
    ranks = [
        {"rank": rank, "host": "node1", "pid": 10 * index + rank, "device": "cpu",
         "cpus": [rank], "threads": 1, "memory_peak_mb": 900.0}
        for rank in range(workers)
    ]  # fmt: skip
    value = {
        "run_id": spec.run_id,
        "status": "ok",
        "spec": spec.model_dump(mode="json"),
        "actual": {"nodes": 1, "world_size": workers, "device": "cpu", "ranks": ranks},
        "time_s": seconds,
        "images_per_s": IMAGES * (epochs or 1) / seconds,
        "phases": {"startup": 2.0, "compute": seconds, "total": seconds + 3.0},
        "counts": {"images": IMAGES, "epochs": epochs, "quarantined": 0},
        "quality": {"test_accuracy": 0.55, "train_loss": 1.2} if epochs else {},
        "usage": {"foreign_cpu_percent": 1.0, "host_memory_peak_mb": 900.0},
        "provenance": {
            "started_at": "2026-01-01T00:00:00+00:00", "host": "node1", "cpu_model": "A CPU",
            "cpu_count": 16, "commit": "c0ffee", "dirty": False,
            "packages": {"python": "3.11.2", "numpy": "2.0"},
        },
    }  # fmt: skip
    return RunRecord.model_validate(value)


def _events(epochs: int) -> str:
    events = ({"event": "epoch", "epoch": e, "train_loss": 2.0 / (1 + e)} for e in range(epochs))
    return "".join(json.dumps(event) + "\n" for event in events)
