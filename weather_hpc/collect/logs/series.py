"""Series: the epochs of one rank, as its lines tell them, in bounded memory."""

import itertools
import math
import statistics
from dataclasses import dataclass, field

Figures = tuple[float | None, float | None, float | None]
"""Loss, accuracy as printed, and time in seconds, of one rank's epoch."""

KEPT = 100
"""Epochs whose figures stay when older ones must go."""

_MOST_DIGITS = 9


def epoch_number(text: bytes) -> int:
    """An epoch's number. Raises ValueError for what is none."""
    if len(text) > _MOST_DIGITS:
        raise ValueError("more epochs than any run has")
    return int(text)


@dataclass
class Series:
    """One rank's epochs. The newest stay in full, older ones as their count and sums."""

    epochs: dict[int, Figures] = field(default_factory=dict)
    repeated: int = 0
    """Lines that were there already, with the same figures."""
    contradicted: dict[int, int] = field(default_factory=dict)
    """By epoch, how often a line of it had other figures than the one before."""
    folded: int = 0
    folded_first: int | None = None
    folded_last: int = -1
    folded_time: float = 0.0
    lost: tuple[int, float] | None = None
    """The first epoch whose loss is no finite number, and that loss."""
    above_one: int = 0
    """Accuracies above 1: the log has percent, or they are wrong."""
    below_zero: int = 0
    accuracies: int = 0

    def add(self, epoch: int, figures: Figures) -> bool:
        """Take in one line; whether it is a new epoch's."""
        if epoch not in self.epochs and epoch > self.folded_last:
            self.epochs[epoch] = figures
            return True
        before = self.epochs.get(epoch)
        if before == figures or (before is not None and _same(before, figures)):
            self.repeated += 1
        else:
            if len(self.contradicted) < KEPT or epoch in self.contradicted:
                self.contradicted[epoch] = self.contradicted.get(epoch, 0) + 1
            if before is not None:
                self.epochs[epoch] = figures
        return False

    def fold(self, keep: int) -> None:
        """Forget the figures of all but the newest ``keep`` epochs; what is summed stays exact."""
        for epoch in sorted(self.epochs)[:-keep]:
            loss, accuracy, time = self.epochs.pop(epoch)
            self._judge(epoch, loss, accuracy)
            self.folded += 1
            self.folded_first = epoch if self.folded_first is None else self.folded_first
            self.folded_last = epoch
            self.folded_time += time or 0.0

    def judge(self) -> None:
        """Look at the figures that are still here; once, at the end."""
        for epoch in sorted(self.epochs):
            loss, accuracy, _ = self.epochs[epoch]
            self._judge(epoch, loss, accuracy)

    def _judge(self, epoch: int, loss: float | None, accuracy: float | None) -> None:
        if loss is not None and not math.isfinite(loss) and self.lost is None:
            self.lost = epoch, loss
        if accuracy is not None:
            self.accuracies += 1
            self.above_one += accuracy > 1
            self.below_zero += not accuracy >= 0  # NaN too

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

    def missing(self) -> list[int]:
        """Epochs between the first and the last that have no line; those of the newest."""
        low = self.folded_last + 1 if self.folded else self.first
        if self.last - low > 100_000:
            return []
        return [epoch for epoch in range(low, self.last) if epoch not in self.epochs]

    @property
    def times(self) -> list[float]:
        """Seconds of the epochs that are still here, in their order."""
        return [t for e in sorted(self.epochs) if (t := self.epochs[e][2]) is not None]

    @property
    def time_sum(self) -> float | None:
        """Seconds of all epochs together; None where a line has none."""
        times = self.times
        if len(times) < len(self.epochs) or not times:
            return None
        if not all(map(math.isfinite, times)):
            return None
        return self.folded_time + math.fsum(times)

    @property
    def cumulative(self) -> bool:
        """Whether times count from the run's start: each is larger, by far more than noise."""
        times = self.times
        rising = all(a < b for a, b in itertools.pairwise(times))
        return len(times) > 3 and rising and times[-1] > 2.5 * times[0]

    @property
    def typical(self) -> float | None:
        """The median time of an epoch, s."""
        times = self.times
        return statistics.median(times) if times else None


def _same(one: Figures, other: Figures) -> bool:
    """Equal, a NaN being equal to a NaN."""
    return all(a == b or (a != a and b != b) for a, b in zip(one, other, strict=True))
