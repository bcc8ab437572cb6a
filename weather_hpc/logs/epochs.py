"""EpochSeries: the epochs of one rank, read from its lines in bounded memory."""

import itertools
import math
import statistics
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from typing import cast

from weather_hpc.logs.fields import Clock

EpochValues = tuple[float | None, float | None, float | None]
"""Loss, accuracy as printed, and time in seconds, of one rank's epoch."""

VALUES = ("loss", "accuracy", "time")
"""The fields that make EpochValues."""

NOTHING: EpochValues = (None, None, None)

KEPT = 100
"""Epochs whose values are kept when older ones are dropped."""

MOST_AGAIN = 100_000
"""Lines of epochs that came again whose values are kept."""

MOST_DIGITS = 9
"""Of an epoch's number."""

HOUR, DAY = 3600.0, 86400.0


@dataclass
class EpochSeries:
    """One rank's epochs. The newest stay in full, older ones as their count and sums."""

    epochs: dict[int, EpochValues] = field(default_factory=dict)
    repeated: int = 0
    """Lines repeated with the same values."""
    contradicted: dict[int, int] = field(default_factory=dict)
    """By epoch, how often a line of it had other values than the one before."""
    again: dict[int, list[EpochValues]] = field(default_factory=dict)
    """By epoch, the values of its second line and of those after it, equal or not."""
    kept_again: int = 0
    behind: int = 0
    """Lines of an epoch that came again when a later one had its line."""
    folded: int = 0
    folded_first: int | None = None
    folded_last: int = -1
    folded_time: float = 0.0
    lost: tuple[int, float] | None = None
    """The first epoch whose loss is no finite number, and that loss."""
    negative: tuple[int, float] | None = None
    """The first epoch whose loss is below 0, and that loss."""
    negatives: int = 0
    losses: int = 0
    above_one: int = 0
    """Accuracies above 1: the log has percent, or they are wrong."""
    below_zero: int = 0
    accuracies: int = 0
    from_start: bool = False
    """By the format, times count from the run's start."""

    def add(self, epoch: int, values: EpochValues) -> bool:
        """Take in one line; whether it is a new epoch's."""
        if epoch not in self.epochs and epoch > self.folded_last:
            self.epochs[epoch] = values
            return True
        before = self.epochs.get(epoch)
        if before is not None and _complements(before, values):
            # one line of training and one of testing, say
            self.epochs[epoch] = filled(values, before)
            return False
        if before is not None and self.kept_again < MOST_AGAIN:
            self.again.setdefault(epoch, []).append(before)
            self.kept_again += 1
        self.behind += next(reversed(self.epochs), self.folded_last) > epoch
        if before is not None and _same(before, values):
            self.repeated += 1
        else:
            if len(self.contradicted) < KEPT or epoch in self.contradicted:
                self.contradicted[epoch] = self.contradicted.get(epoch, 0) + 1
            if before is not None:
                self.epochs[epoch] = values
        return False

    def fold(self, keep: int) -> None:
        """Drop the values of all but the newest ``keep`` epochs; sums stay exact."""
        old = {epoch: self.epochs.pop(epoch) for epoch in sorted(self.epochs)[:-keep]}
        if not old:
            return
        self._judge(old)
        self.again = {epoch: lines for epoch, lines in self.again.items() if epoch in self.epochs}
        self.folded += len(old)
        self.folded_first = min(old) if self.folded_first is None else self.folded_first
        self.folded_last = max(old)
        self.folded_time += math.fsum(time or 0.0 for _, _, time in old.values())

    def judge(self) -> None:
        """Examine the values that were kept; called once, at the end."""
        self._judge(self.epochs)

    def _judge(self, epochs: dict[int, EpochValues]) -> None:
        # every value of gigabytes of logs passes here: by map, in C, as long as all are plausible
        losses = {e: f[0] for e, f in epochs.items() if f[0] is not None}
        if not all(map(math.isfinite, losses.values())) and self.lost is None:
            first = min(e for e, loss in losses.items() if not math.isfinite(loss))
            self.lost = first, losses[first]
        self.losses += len(losses)
        if any(map((0.0).__gt__, losses.values())):
            below = [e for e, loss in losses.items() if loss < 0]
            self.negatives += len(below)
            self.negative = self.negative or (min(below), losses[min(below)])
        accuracies = [f[1] for f in epochs.values() if f[1] is not None]
        self.accuracies += len(accuracies)
        self.above_one += sum(map((1.0).__lt__, accuracies))
        self.below_zero += len(accuracies) - sum(map((0.0).__le__, accuracies))  # NaN too

    def split(self, count: int) -> list["EpochSeries"] | None:
        """The lines of ``count`` ranks that print no number, apart; None where they aren't that.

        Each epoch then has that many lines, and none comes back to an earlier one. Which line of
        an epoch is whose is not known, so only what all ranks have together is.
        """
        lines = {epoch: [*self.again.get(epoch, ()), now] for epoch, now in self.epochs.items()}
        if self.behind or self.folded or not lines:
            return None
        if any(len(each) != count for each in lines.values()):
            return None
        parts = [EpochSeries() for _ in range(count)]
        for epoch, each in lines.items():
            for part, values in zip(parts, each, strict=True):
                part.epochs[epoch] = values
        return parts

    @property
    def in_turn(self) -> bool:
        """Whether epochs have several lines with different values, none out of order."""
        return bool(self.contradicted) and not self.behind

    @property
    def first(self) -> int:
        """The lowest epoch."""
        return min(self.epochs) if self.folded_first is None else self.folded_first

    @property
    def last(self) -> int:
        """The highest epoch."""
        return max(self.epochs, default=self.folded_last)

    @property
    def seen(self) -> int:
        """How many different epochs."""
        return self.folded + len(self.epochs)

    @property
    def every(self) -> int:
        """Epochs from one line to the next, where that is the same throughout and above 1; or 1."""
        numbers = sorted(self.epochs)
        between = {b - a for a, b in pairwise(numbers)}
        return between.pop() if len(numbers) > 2 and len(between) == 1 and not self.folded else 1

    def missing(self) -> list[int]:
        """Epochs between the first and the last that have no line; those of the newest."""
        if self.every > 1:
            return []
        low = self.folded_last + 1 if self.folded else self.first
        if self.last - low > 100_000:
            return []
        return [epoch for epoch in range(low, self.last) if epoch not in self.epochs]

    @cached_property
    def times(self) -> list[float]:
        """Seconds of the epochs that are still here, in their order; once all lines are read."""
        return [] if self.of_day else self._printed_times

    @cached_property
    def _printed_times(self) -> list[float]:
        return [t for e in sorted(self.epochs) if (t := self.epochs[e][2]) is not None]

    @cached_property
    def of_day(self) -> bool:
        """Whether times may be times of day: clocks that rise from epoch to epoch, or a single one.

        Durations would hardly rise throughout; what counts from the run's start does, by about
        the first.
        """
        times = self._printed_times
        if not times or not all(isinstance(time, Clock) for time in times):
            return False
        apart = self._apart
        if not apart:
            return times[0] >= HOUR
        from_start = len(times) > 3 and times[0] < 1.2 * max(apart)
        return min(apart) > 0 and max(apart) < DAY / 2 and not from_start

    @property
    def _apart(self) -> list[float]:
        """Seconds between times of day, which may pass midnight."""
        return [(b - a) % DAY for a, b in pairwise(self._printed_times)]

    def may_end_at(self, total: float) -> bool:
        """Whether ``total`` may be the time of day at the end, too."""
        later = total - self._printed_times[-1] if self.of_day else -1.0
        return 0 <= later <= 2 * max(self._apart, default=HOUR)

    @property
    def time_sum(self) -> float | None:
        """Seconds of all epochs together; None where a line has none."""
        times = self.times
        if len(times) < len(self.epochs) or not times:
            return None
        if not all(map(math.isfinite, times)) or self.from_start:
            return None
        return self.folded_time + math.fsum(times)

    @property
    def cumulative(self) -> bool:
        """Whether times count from the run's start: each is larger, by far more than noise."""
        times = self.times
        rising = all(a < b for a, b in itertools.pairwise(times))
        if self.from_start:
            return bool(times) and rising
        return len(times) > 3 and rising and times[-1] > 2.5 * times[0]

    @property
    def may_be_cumulative(self) -> bool:
        """Whether times could count from the run's start: a few that rise by about the first."""
        times = [] if self.from_start else self.times
        rising = all(a < b for a, b in itertools.pairwise(times))
        return 1 < len(times) <= 3 and rising and times[-1] > 0.85 * len(times) * times[0]

    @cached_property
    def typical(self) -> float | None:
        """The median time of an epoch, s."""
        times = self.times
        return statistics.median(times) if times else None


def _same(one: EpochValues, other: EpochValues) -> bool:
    """Equal, a NaN being equal to a NaN."""
    return all(a == b or (a != a and b != b) for a, b in zip(one, other, strict=True))


def filled(values: EpochValues, others: EpochValues) -> EpochValues:
    """``values``, where one is None that of ``others``."""
    pairs = zip(values, others, strict=True)
    return cast(EpochValues, tuple(other if own is None else own for own, other in pairs))


def _complements(one: EpochValues, other: EpochValues) -> bool:
    """Whether each value is given by one of them at most."""
    return None in one + other and all(
        a is None or b is None for a, b in zip(one, other, strict=True)
    )
