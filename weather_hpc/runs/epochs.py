"""The epochs of one training run, read from its events."""

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

from weather_hpc.runs.inputs import LARGEST, events, is_seconds


@dataclass(frozen=True)
class Epoch:
    """One epoch that ended. A value that was not recorded is None."""

    epoch: int
    """From 1."""
    loss: float | None = None
    """Mean over the training images."""
    accuracy: float | None = None
    """On the training images while they trained, 0 to 1."""
    test_loss: float | None = None
    """Mean over the held-out images, after the epoch; None where it was not evaluated."""
    test_accuracy: float | None = None
    """On the held-out images, after the epoch, 0 to 1; None where it was not evaluated."""
    time_s: float | None = None
    """Measured seconds of this epoch."""
    measured_s: float | None = None
    """Measured seconds from the first epoch to the end of this one; None from the first epoch on
    whose time is not known."""
    wall_s: float | None = None
    """Wall-clock seconds since all ranks had started; evaluation, checkpoints and what passed
    between a stop and a restart included."""


def read_epochs(path: Path) -> tuple[Epoch, ...]:
    """The epochs in the events.jsonl at ``path``, ascending; none where it cannot be read.

    An epoch that was repeated after a restart counts once, as the last one: training went on from
    there. Lines that are no events, such as half a line of a killed run, are passed over.
    """
    start_s: float | None = None
    found: dict[int, dict[str, Any]] = {}
    for event in events(path):
        if event.get("event") == "start" and start_s is None:
            start_s = _number(event.get("at"))
        epoch = event.get("epoch")
        if event.get("event") == "epoch" and type(epoch) is int and 0 < epoch < LARGEST:
            found[epoch] = event
    return with_sums(_epoch(number, found[number], start_s) for number in sorted(found))


def with_sums(epochs: Iterable[Epoch]) -> tuple[Epoch, ...]:
    """``epochs``, which ascend, with :attr:`Epoch.measured_s`."""
    known = list(epochs)
    whole = [each.epoch for each in known] == list(range(1, len(known) + 1))
    times = [each.time_s if whole and each.time_s is not None else math.nan for each in known]
    sums = accumulate(times)
    return tuple(
        _with_sum(each, None if math.isnan(total) else total)
        for each, total in zip(known, sums, strict=True)
    )


def _with_sum(epoch: Epoch, measured_s: float | None) -> Epoch:
    return Epoch(**vars(epoch) | {"measured_s": measured_s})


def _epoch(number: int, event: Mapping[str, Any], start_s: float | None) -> Epoch:
    at, time_s = _number(event.get("at")), event.get("time_s")
    return Epoch(
        number,
        _number(event.get("loss")),
        share(event.get("accuracy")),
        _number(event.get("test_loss")),
        share(event.get("test_accuracy")),
        float(time_s) if is_seconds(time_s) else None,
        wall_s=at - start_s if at is not None and start_s is not None and at >= start_s else None,
    )


def _number(value: object) -> float | None:
    """``value`` where it is a finite number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if abs(value) < LARGEST else None


def share(value: object) -> float | None:
    """``value`` where it is a number from 0 to 1."""
    number = _number(value)
    return number if number is not None and 0 <= number <= 1 else None


def evaluated(epochs: Iterable[Epoch]) -> Iterator[Epoch]:
    """Those of ``epochs`` after which the held-out images were evaluated."""
    return (each for each in epochs if each.test_accuracy is not None)
