"""EpochSeries: the epochs of one rank, read from its lines in bounded memory."""

import itertools
import math
import re
import statistics
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise, repeat
from typing import cast

Figures = tuple[float | None, float | None, float | None]
"""Loss, accuracy as printed, and time in seconds, of one rank's epoch."""

KEPT = 100
"""Epochs whose values are kept when older ones are dropped."""

MOST_DIGITS = 9
"""Of an epoch's number."""


@dataclass
class EpochSeries:
    """One rank's epochs. The newest stay in full, older ones as their count and sums."""

    epochs: dict[int, Figures] = field(default_factory=dict)
    repeated: int = 0
    """Lines repeated with the same values."""
    contradicted: dict[int, int] = field(default_factory=dict)
    """By epoch, how often a line of it had other values than the one before."""
    folded: int = 0
    folded_first: int | None = None
    folded_last: int = -1
    folded_time: float = 0.0
    lost: tuple[int, float] | None = None
    """The first epoch whose loss is no finite number, and that loss."""
    negative: tuple[int, float] | None = None
    """The first epoch whose loss is below 0, and that loss."""
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
        if before is not None and _complements(before, figures):
            # one line of training and one of testing, say
            old_new = zip(before, figures, strict=True)
            self.epochs[epoch] = cast(Figures, tuple(o if n is None else n for o, n in old_new))
        elif before is not None and _same(before, figures):
            self.repeated += 1
        else:
            if len(self.contradicted) < KEPT or epoch in self.contradicted:
                self.contradicted[epoch] = self.contradicted.get(epoch, 0) + 1
            if before is not None:
                self.epochs[epoch] = figures
        return False

    def fold(self, keep: int) -> None:
        """Drop the values of all but the newest ``keep`` epochs; sums stay exact."""
        old = {epoch: self.epochs.pop(epoch) for epoch in sorted(self.epochs)[:-keep]}
        if not old:
            return
        self._judge(old)
        self.folded += len(old)
        self.folded_first = min(old) if self.folded_first is None else self.folded_first
        self.folded_last = max(old)
        self.folded_time += math.fsum(time or 0.0 for _, _, time in old.values())

    def judge(self) -> None:
        """Examine the values that were kept; called once, at the end."""
        self._judge(self.epochs)

    def _judge(self, epochs: dict[int, Figures]) -> None:
        # every figure of gigabytes of logs passes here: by map, in C, as long as nothing is odd
        losses = {e: f[0] for e, f in epochs.items() if f[0] is not None}
        if not all(map(math.isfinite, losses.values())) and self.lost is None:
            first = min(e for e, loss in losses.items() if not math.isfinite(loss))
            self.lost = first, losses[first]
        if any(map((0.0).__gt__, losses.values())) and self.negative is None:
            first = min(e for e, loss in losses.items() if loss < 0)
            self.negative = first, losses[first]
        accuracies = [f[1] for f in epochs.values() if f[1] is not None]
        self.accuracies += len(accuracies)
        self.above_one += sum(map((1.0).__lt__, accuracies))
        self.below_zero += len(accuracies) - sum(map((0.0).__le__, accuracies))  # NaN too

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

    @cached_property
    def times(self) -> list[float]:
        """Seconds of the epochs that are still here, in their order; once all lines are read."""
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

    @cached_property
    def typical(self) -> float | None:
        """The median time of an epoch, s."""
        times = self.times
        return statistics.median(times) if times else None


def _same(one: Figures, other: Figures) -> bool:
    """Equal, a NaN being equal to a NaN."""
    return all(a == b or (a != a and b != b) for a, b in zip(one, other, strict=True))


def _complements(one: Figures, other: Figures) -> bool:
    """Whether each value is given by one of them at most."""
    return None in one + other and all(
        a is None or b is None for a, b in zip(one, other, strict=True)
    )


WHOLE_LINE_GROUPS = dict.fromkeys(("rank", "epoch", "loss", "accuracy", "time_s")).keys()
"""What a whole line may hold, as plain numbers."""


Stretch = tuple[Sequence[bytes], Sequence[tuple[bytes | None, int, Figures]]]
"""Other lines; then the whole lines that follow them: rank as printed, epoch, values."""


@dataclass(frozen=True)
class WholeLine:
    """One expression that is matched against whole lines, their case kept and no prefix allowed.

    Splitting by it leaves every figure in a column of its own, which becomes numbers without a
    step of the interpreter for each line.
    """

    regex: re.Pattern[bytes]

    @classmethod
    def compiled(cls, source: str) -> "WholeLine":
        """``source`` with groups of WHOLE_LINE_GROUPS, ``epoch`` among them."""
        # a line's end before it, not (?m)^: a literal is searched for many times faster
        return cls(re.compile(b"\n(?:" + source.encode() + b")(?![^\n])"))

    def first(self, text: bytes) -> bytes | None:
        """The first exact line of ``text``; None where there is none."""
        found = self.regex.search(b"\n" + text)
        return None if found is None else found[0][1:]

    def runs(self, text: bytes) -> Iterator[Stretch]:
        """The lines of ``text`` in their order. Raises ValueError for what is no number."""
        regex = self.regex
        width = regex.groups + 1
        parts = regex.split(b"\n" + text)
        gaps = parts[::width]

        def column(group: str) -> list[bytes]:
            return parts[regex.groupindex[group] :: width]

        def reals(group: str) -> Iterable[float | None]:
            if group in regex.groupindex:
                return map(float, column(group))
            return repeat(None, len(epochs))

        epochs = column("epoch")
        if max(map(len, epochs), default=0) > MOST_DIGITS:
            raise ValueError("more epochs than any run has")
        named = "rank" in regex.groupindex
        ranks = column("rank") if named else repeat(None, len(epochs))
        figures = zip(reals("loss"), reals("accuracy"), reals("time_s"), strict=True)
        lines = list(zip(ranks, map(int, epochs), figures, strict=True))
        marks = [number for number, gap in enumerate(gaps) if gap]
        if marks[:1] != [0]:
            yield (), lines[: marks[0] if marks else None]
        for mark, following in pairwise([*marks, len(gaps)]):
            yield gaps[mark][1:].split(b"\n"), lines[mark:following]
