"""Logs in the print format of the reproduced study, made by rule, so that their figures are known.

A log begins with the progress bars and warnings of preprocessing, about half of its bytes; then
each rank prints a line per epoch and, at its end, its total time. Ranks interleave; of two logs
one separates by ``||``, the other by tabs, as the study's own logs do.
"""

import random
from dataclasses import dataclass
from pathlib import Path

GPUS = (1, 2, 3, 4)
BATCH_SIZES = (32, 64, 128, 256)
PATTERN = "{repeat}/ddp_{gpus}gpu_bs{batch_size}.log"
PARTS = 10
"""Folders over which logs are spread, so that a tenth of them is a folder too."""

SMALLEST_LOG = 2000
"""Bytes of a log with two epochs of four ranks and a little noise."""
_EPOCH_LINE_BYTES = 66


@dataclass(frozen=True)
class LogFigures:
    """What is to be read off one log."""

    gpus: int
    batch_size: int
    ranks: int
    epochs: int
    accuracy: float
    """As printed at the last epoch, the same by all ranks."""
    time_s: float
    """The total of the slowest rank."""


def log_path(index: int) -> Path:
    """Where log ``index`` is, under the folder of all: a folder of its own holds it."""
    gpus, batch_size = _configuration(index)
    name = PATTERN.format(repeat=f"{index:06d}", gpus=gpus, batch_size=batch_size)
    return Path(part_folder(index % PARTS), name)


def part_folder(part: int) -> str:
    """The name of one of the folders over which logs are spread."""
    return f"part-{part}"


def log_figures(index: int, size: int) -> LogFigures:
    """What log ``index``, made for ``size`` bytes, says."""
    gpus, batch_size = _configuration(index)
    epochs = _epochs(gpus, size)
    accuracy = float(f"{_accuracy(epochs - 1, epochs, 0):.2f}")
    time_s = max(_totals(index, gpus, epochs))
    return LogFigures(gpus, batch_size, gpus, epochs, accuracy, time_s)


def make_logs(folder: Path, count: int, size: int) -> None:
    """Write ``count`` logs of about ``size`` bytes each into ``folder``."""
    from weather_hpc import cli

    noise = _noise(size // 2)
    with cli.progress("making logs", total=count) as advance:
        for index in range(count):
            path = folder / log_path(index)
            path.parent.mkdir(parents=True)
            path.write_text(noise + _training(index, size), encoding="ascii")
            advance()


def _configuration(index: int) -> tuple[int, int]:
    return GPUS[index % 4], BATCH_SIZES[index // 4 % 4]


def _epochs(gpus: int, size: int) -> int:
    return max(2, size // 2 // (gpus * _EPOCH_LINE_BYTES))


def _totals(index: int, gpus: int, epochs: int) -> list[float]:
    """Each rank's total, s: they differ in the eighth digit or so, as those of the study do."""
    draw = random.Random(index)
    total = epochs * draw.uniform(2.5, 5.0) + 1.0
    return [total + draw.uniform(0, 0.001) for _ in range(gpus)]


def _accuracy(epoch: int, epochs: int, rank: int) -> float:
    wobble = 0.01 * rank if epoch < epochs - 1 else 0.0
    return 0.30 + 0.40 * epoch / epochs + wobble


def _training(index: int, size: int) -> str:
    gpus, _ = _configuration(index)
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
                # by chance, for logs of equal last epochs are copies of one run
                f"Loss: {2.0 / (1 + epoch / 20) + 0.2 * draw.random():.3f}",
                f"Accuracy: {_accuracy(epoch, epochs, rank):.2f}",
                f"Time: {seconds:.2f}",
            )
            lines.append(separator.join(fields))
    for total in totals:
        lines += [f"Number of available GPUs: {gpus}", repr(total)]
    return "\n".join(lines) + "\n"


def _noise(size: int) -> str:
    """About ``size`` bytes of what Dask's progress bar and libpng print, and the images' shape."""
    lines, length = [], 0
    while length < size:
        done = min(99, 100 * length // size)
        line = f"[{'#' * (done // 20):<5}] | {done}% Completed | {length % 9973 / 10:.2f} ms"
        line += " libpng warning: iCCP: known incorrect sRGB profile"
        lines.append(line)
        length += len(line) + 1
    end = "[#####] | 100% Completed | 4.00 s\n(6862, 256, 256, 3)\n"
    return "\n".join([*lines, end])
