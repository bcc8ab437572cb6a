"""Audit of one log: totals and epochs' times that do not fit each other or the ranks."""

import statistics
from collections.abc import Iterator

from weather_hpc.logs.epochs import EpochSeries
from weather_hpc.logs.log import ALIKE, Log, is_less
from weather_hpc.runs.row import Code, Severity
from weather_hpc.text import counted

FAR = 2.0
"""Ratio to the usual time from which an epoch is reported; of a total to its epochs likewise."""

NOTABLE = 0.03
"""Share of a rank's time that slow epochs must cost to be reported."""

AGREE = 0.2
"""Ranks that differ by more in one epoch, relatively, do not agree in it."""

OUTSIDE = 0.05
"""Share of the total outside all epochs above which it is reported."""

VERY_FAR = 5.0
"""From here on that is an error: another unit, say, or another run's total."""

USUAL = 0.8, 1.25
"""What cut epochs may have taken, relative to the others; the first ones are slower."""

DOUBTFUL = 1.5
"""Cut epochs that took longer, relatively, are a warning; in between, information."""


Problem = tuple[Severity, Code, str]
"""Severity, code, and the evidence in one line."""


def audit_pace(log: Log) -> Iterator[Problem]:
    """What looks wrong in the times of epochs."""
    yield from _pace(log)
    yield from _disagreement(log)


def _pace(log: Log) -> Iterator[Problem]:
    """An epoch far from the usual; only the first rank that has one is reported."""
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
                cause = "others on the node, a stall, or a wrong value"
                yield Severity.WARNING, Code.FOREIGN_LOAD, _odd(name, series, slow, cause)
                return
        if 0 < fast <= usual / FAR and usual - fast > coarse:
            cause = "not all of its images, or a wrong value"
            yield Severity.WARNING, Code.INCOMPLETE_EPOCHS, _odd(name, series, fast, cause)
            return


def _odd(name: str, series: EpochSeries, time: float, cause: str) -> str:
    epoch = next(epoch for epoch, values in series.epochs.items() if values[2] == time)
    return f"{name}epoch {epoch} took {time:g} s, one takes {series.typical:g} s: {cause}"


def _disagreement(log: Log) -> Iterator[Problem]:
    """An epoch whose time differs between ranks that otherwise agree."""
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


def audit_times(log: Log) -> Iterator[Problem]:
    """What looks wrong in the times of one log."""
    yield from _totals(log)
    yield from _times(log)
    yield from audit_pace(log)


def _totals(log: Log) -> Iterator[Problem]:
    tally = log.tally
    if log.is_summed:
        origin = "the sum of its epochs' times, without its start and what lies between epochs"
        if all(series.cumulative for series in log.series):
            origin = "the time from its start to the end of its last epoch"
        message = f"no line gives the run's total: {log.total:g} s is {origin}"
        yield Severity.INFO, Code.MISSING_TOTAL, message
        return
    if not tally.total_lines:
        yield Severity.ERROR, Code.MISSING_TOTAL, "no line gives the run's total"
        return
    wrong = [total for total in tally.totals if not 0 < total < float("inf")]
    if wrong:
        yield Severity.ERROR, Code.MISSING_TOTAL, f"a total of {wrong[0]:g} s is impossible"
        return
    if not log.totals_agree:
        low, high = min(tally.totals), max(tally.totals)
        yield (
            Severity.ERROR,
            Code.MISSING_TOTAL,
            (
                f"totals disagree by {(high - low) / high:.0%}: {low:g} s to {high:g} s; "
                "the slowest is taken"
            ),
        )
    if tally.whole_process:
        yield (
            Severity.INFO,
            Code.MISSING_TOTAL,
            f"the total {max(tally.totals):g} s is of the whole process, its start included",
        )
    if tally.open_total:
        yield (
            Severity.WARNING,
            Code.MISSING_TOTAL,
            (
                f"the file ends in the total {tally.totals[-1]:g} without a line end: "
                "digits may be cut off"
            ),
        )
    if tally.total_lines not in log.totals_expected and not log.is_single_process:
        word = "more" if tally.total_lines > max(log.totals_expected) else "fewer"
        yield (
            Severity.ERROR,
            Code.RANK_COUNT_MISMATCH,
            (
                f"{word} totals than ranks: {counted(tally.total_lines, 'total')}, "
                f"{counted(len(log.series) or 1, 'rank')}"
            ),
        )


def _times(log: Log) -> Iterator[Problem]:
    for name, series in log.named():
        odd = [e for e, f in series.epochs.items() if f[2] is not None and not 0 < f[2] < 1e15]
        if odd:
            yield (
                Severity.ERROR,
                Code.MISSING_TOTAL,
                (f"{name}epoch {odd[0]}: a time of {series.epochs[odd[0]][2]:g} s is impossible"),
            )
            break
    if any(series.of_day for series in log.series):
        message = "the epochs' times may be times of day and are not used"
        yield Severity.INFO, Code.MISSING_TOTAL, message
    yield from _outside(log)


def _outside(log: Log) -> Iterator[Problem]:
    """Whether the total and the epochs' times fit each other."""
    total, rest = log.total, log.uncounted_s
    if total is None or rest is None:
        return
    spent = total - rest
    if is_too_short(log):
        yield (
            Severity.ERROR,
            Code.MISSING_TOTAL,
            (f"the total {total:g} s is less than the epochs of one rank together, {spent:.2f} s"),
        )
        return
    cut = _cut_off(log)
    if cut > 0 and log.typical_s:
        each = rest / cut
        pace = each / log.typical_s
        if not USUAL[0] <= pace <= USUAL[1]:
            wild = pace > VERY_FAR and rest > total / 2
            doubtful = not USUAL[0] <= pace <= DOUBTFUL
            severity = Severity.WARNING if doubtful else Severity.INFO
            yield (
                Severity.ERROR if wild else severity,
                Code.MISSING_TOTAL,
                (
                    f"the total {total:g} s leaves {each:.2f} s for each of the "
                    f"{counted(cut, 'epoch')} cut off; the others took {log.typical_s:.2f} s"
                ),
            )
    elif cut <= 0 and total > spent * FAR:
        yield (
            Severity.ERROR if total > spent * VERY_FAR else Severity.WARNING,
            Code.MISSING_TOTAL,
            (f"the total {total:g} s is much more than all epochs together, {spent:.2f} s"),
        )
    elif cut <= 0 and rest > OUTSIDE * total:
        yield (
            Severity.INFO,
            Code.MISSING_TOTAL,
            (f"{rest:.1f} s of the total {total:g} s lie in no epoch of the log"),
        )


def is_too_short(log: Log) -> bool:
    """Whether the total is less than what one rank's epochs took."""
    if log.total is None or log.uncounted_s is None:
        return False
    return is_less(log.total, log.total - log.uncounted_s)


def _cut_off(log: Log) -> int:
    """Epochs of the run before the first in its log."""
    start = log.counted_from if log.counted_from is not None else log.first
    return (log.first or 0) - (start or 0)


def is_of_last_part(log: Log) -> bool:
    """Whether the total leaves no time for the epochs before the first in the log."""
    rest, cut = log.uncounted_s, _cut_off(log)
    return bool(cut > 0 and rest is not None and log.typical_s and rest < cut * log.typical_s / 2)
