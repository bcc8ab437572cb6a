"""The epochs of one text log, for plots."""

import math
from collections.abc import Iterable, Sequence
from pathlib import Path

from weather_hpc.errors import UserError
from weather_hpc.logs.lines import UnreadableError
from weather_hpc.logs.log import Log
from weather_hpc.logs.log_format import formats
from weather_hpc.logs.reader import tally_of
from weather_hpc.reading import check_size
from weather_hpc.runs.epochs import Epoch, with_sums

LARGEST = 2**23
"""Bytes of a log that is read once more for its epochs."""


def log_epochs(path: Path) -> tuple[Epoch, ...]:
    """The epochs of the log at ``path`` by the known format that fits best, ascending.

    Loss and accuracy are means over the ranks, seconds those of the slowest. None where the log is
    too large, cannot be read, or does not tell which of several lines is an epoch's. A log that
    counts from 0 is counted from 1.
    """
    try:
        check_size(path, LARGEST)
        tally = tally_of(path, formats())
    except (UnreadableError, UserError):
        return ()
    tally.close(None)
    log = Log(path, tally, {})
    if log.in_turn or not log.series:
        return ()
    scale = 100.0 if log.in_percent else 1.0
    in_all = set.intersection(*(set(series.epochs) for series in log.series))
    shift = 0 if min(in_all, default=1) else 1
    cumulative = any(series.cumulative or series.of_day for series in log.series)
    epochs = []
    for number in sorted(in_all):
        losses, accuracies, times = zip(*(s.epochs[number] for s in log.series), strict=True)
        accuracy = _mean(accuracies)
        share = None if accuracy is None else accuracy / scale
        epochs.append(
            Epoch(
                number + shift,
                loss=_mean(losses),
                accuracy=share if share is not None and 0 <= share <= 1 else None,
                time_s=None if cumulative else max(_all(times), default=None),
            )
        )
    return with_sums(epochs)


def _all(values: Iterable[float | None]) -> Sequence[float]:
    """``values`` where all are finite, else none."""
    listed = list(values)
    known = [value for value in listed if value is not None and math.isfinite(value)]
    return known if len(known) == len(listed) else []


def _mean(values: Iterable[float | None]) -> float | None:
    known = _all(values)
    return math.fsum(known) / len(known) if known else None
