"""Audit of one log: epochs whose time is far from the others' or differs between ranks."""

import statistics
from collections.abc import Iterator

from weather_hpc.logs.log import ALIKE, Log
from weather_hpc.logs.series import Series
from weather_hpc.runs.row import Code, Severity

FAR = 2.0
"""An epoch that takes so many times the usual does not fit; nor does a total its epochs."""

NOTABLE = 0.03
"""Share of a rank's time that slow epochs must cost to be told."""

AGREE = 0.2
"""Ranks that differ by more in one epoch, relatively, do not agree in it."""

Found = tuple[Severity, Code, str]


def audit_pace(log: Log) -> Iterator[Found]:
    """What looks wrong in the times of epochs, as severity, code and the evidence in one line."""
    yield from _pace(log)
    yield from _disagreement(log)


def _pace(log: Log) -> Iterator[Found]:
    """An epoch far from the usual: the first rank that has one tells for all."""
    for name, series in log.named():
        usual, times = series.typical, series.times
        if series.cumulative or not usual or len(times) < 4 or not max(times) < float("inf"):
            continue
        # a run's first epoch warms up; whole seconds are too coarse for short epochs
        begins = log.counted_from is not None and series.first == log.counted_from
        later = times[1:] if begins else times
        coarse = 1.0 if all(time.is_integer() for time in times) else 0.0
        slow, fast = max(later), min(later)
        if slow >= usual * FAR and slow - usual > coarse:
            cost = sum(time - usual for time in later if time >= usual * FAR)
            if cost > NOTABLE * sum(times):
                words = "others on the node, a stall, or a wrong figure"
                yield Severity.WARNING, Code.FOREIGN_LOAD, _odd(name, series, slow, words)
                return
        if 0 < fast <= usual / FAR and usual - fast > coarse:
            words = "not all of its images, or a wrong figure"
            yield Severity.WARNING, Code.INCOMPLETE_EPOCHS, _odd(name, series, fast, words)
            return


def _odd(name: str, series: Series, time: float, words: str) -> str:
    epoch = next(epoch for epoch, figures in series.epochs.items() if figures[2] == time)
    return f"{name}epoch {epoch} took {time:g} s, one takes {series.typical:g} s: {words}"


def _disagreement(log: Log) -> Iterator[Found]:
    """An epoch's time that ranks tell differently, though they agree in the others."""
    named = list(log.named())
    for other_name, other in named[1:]:
        name, one = named[0]
        count = min(len(one.times), len(other.times))
        epochs = sorted(one.epochs)[-count:]
        if count < 3 or epochs != sorted(other.epochs)[-count:]:
            continue
        times = one.times[-count:], other.times[-count:]
        apart = [abs(a - b) for a, b in zip(*times, strict=True)]
        odd = max(range(count), key=apart.__getitem__)
        far = apart[odd] > AGREE * max(times[0][odd], times[1][odd])
        if far and statistics.median(apart) < ALIKE * (one.typical or 0):
            yield (
                Severity.WARNING,
                Code.MISSING_TOTAL,
                (
                    f"epoch {epochs[odd]}: {name}{times[0][odd]:g} s, "
                    f"{other_name}{times[1][odd]:g} s; they end other epochs together"
                ),
            )
            return
