"""Log: one log read to its end, with what its path says, as the values of one run."""

import hashlib
import heapq
import math
import statistics
from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

from weather_hpc.logs.epochs import EpochSeries, EpochValues
from weather_hpc.logs.fields import Value
from weather_hpc.logs.tally import Tally
from weather_hpc.runs.inputs import LARGEST
from weather_hpc.study.tasks import Strategy

ALIKE = 0.01
"""Totals of ranks that differ by less, relatively, agree."""

ROUNDING = 0.01
"""How much the epochs of a rank may exceed its total, relatively: values are printed rounded."""

_ROUNDED = 0.011
"""By how much the last of a run's epochs may be printed too low, as in 2.99."""

_TAIL = 3
"""The last epochs that make a log's content: a cut head does not change them."""

_MARKS = 16
"""Epochs by which logs are compared."""

_COMPARED_EPOCHS = 2000
"""The last epochs, from which the marks are chosen; hardly any run has more."""

_MANY_DIGITS = 8
"""Significant digits of a total that two runs do not share by chance."""


@dataclass(frozen=True)
class Log:
    """One log whose lines are tallied. ``columns`` is what the pattern read off its path."""

    path: Path
    tally: Tally
    columns: dict[str, Any]

    @cached_property
    def ranks(self) -> dict[int, EpochSeries]:
        """The epochs of each rank that a line names, by rank."""
        named = {rank: s for rank, s in self.tally.ranks.items() if rank is not None}
        return dict(sorted(named.items()))

    @cached_property
    def series(self) -> list[EpochSeries]:
        """The epochs of each rank; of the one that has no number, where none has."""
        return list(self.ranks.values()) or list(self.tally.ranks.values())

    def named(self) -> Iterator[tuple[str, EpochSeries]]:
        """The epochs of each rank, each with the start of a message about them."""
        if not self.ranks:
            yield from (("", series) for series in self.series)
        for rank, series in self.ranks.items():
            yield f"rank {rank}: ", series

    def claimed(self, column: str, field: str) -> Any:
        """What the path says in ``column``, or else the log in ``field``."""
        value = self.columns.get(column)
        return self.tally.fact(field) if value is None else value

    @cached_property
    def workers(self) -> int | None:
        """Ranks that the run was meant to have; None where unknown."""
        claimed = self.claimed("workers", "world_size")
        if claimed is not None:
            return int(claimed)
        if self.ranks:
            return len(self.ranks)
        if len(self.printing) > 1:
            return len(self.printing)
        return 1 if self.tally.fact("available_gpus") == 1 else None

    @cached_property
    def printing(self) -> set[int]:
        """The ranks of all lines with values, of epochs or not."""
        return self.tally.numbers(self.tally.printing | set(self.tally.steps)) | set(self.ranks)

    @property
    def only_one_prints(self) -> bool:
        """Whether a launcher names one rank: of most programs only the first or last prints."""
        named = set(self.ranks) | self.printing
        return len(named) == 1 and not self.tally.numbered and (self.workers or 0) > 1

    @property
    def ranks_seen(self) -> int | None:
        """Ranks that print; None where that is one of several, or not known."""
        seen = self.printing if self.first_prints_epochs else set(self.ranks) or self.printing
        return None if self.only_one_prints else len(seen) or None

    @property
    def first_prints_epochs(self) -> bool:
        """Whether all ranks print, but rank 0 alone its epochs."""
        return set(self.ranks) == {0} and len(self.printing) == self.workers

    @property
    def is_single_process(self) -> bool:
        """Whether one process drives all devices, so that ranks cannot be counted."""
        return self.columns.get("strategy") == Strategy.DP

    @cached_property
    def epochs(self) -> int | None:
        """Epochs that the run was meant to have."""
        named = self.columns.get("epochs")
        claimed = whole(self.tally.fact("epochs"))
        if named is None and claimed is not None and self.first == 0 and self.last == claimed:
            return claimed + 1  # "epoch 2/2" is the third, after 0/2
        return claimed if named is None else int(named)

    @cached_property
    def sums(self) -> dict[int | None, float]:
        """Seconds of all epochs in the log together, by rank, where each line has its time."""
        found = {}
        for rank, series in self.tally.ranks.items():
            total = max(series.times) if series.cumulative else series.time_sum
            if total is not None:
                found[rank] = total
        return found

    @cached_property
    def total(self) -> float | None:
        """The slowest rank's total, s; None where there is none that a run can have."""
        totals = self.tally.totals
        if not totals:
            return max(self.sums.values()) if self.is_summed else None
        if not all(0 < total <= LARGEST for total in totals):
            return None
        return max(totals)

    @cached_property
    def is_summed(self) -> bool:
        """Whether the total is the sum of all epochs' times: the log has no other, and is whole."""
        if self.tally.totals or self.tally.failure or not self.sums:
            return False
        if self.tally.unread.run_total:
            return False  # there is one, in a form that is not read
        if any(series.may_be_cumulative for series in self.series):
            return False
        claimed = self.epochs
        every = all(
            s.seen == claimed == s.last + 1 - s.first and s.first in (0, 1) for s in self.series
        )
        timed = len(self.sums) == len(self.tally.ranks)
        return every and timed and len(self.series) in {self.workers or 1, 1} and not self.in_turn

    @property
    def in_turn(self) -> bool:
        """Whether each epoch has several lines, of steps or of ranks without a number."""
        resumed = self.tally.resumed
        again = set() if resumed is None else {resumed[0], resumed[1]}
        return self.tally.stopped is None and any(
            series.in_turn and not series.contradicted.keys() <= again for series in self.series
        )

    @cached_property
    def resumed_after(self) -> tuple[int, str] | None:
        """The last epoch before a failure or a restart, and the line that tells of it.

        None where no later epoch follows.
        """
        stopped, resumed = self.tally.stopped, self.tally.resumed
        if stopped is not None and self.tally.last > stopped[0]:
            return stopped
        if resumed is None:
            return None
        epoch, before, line = resumed
        if self.last is None:  # how far the run came is all that is known of its epochs
            return (epoch, line) if (self._epochs_reached or 0) > epoch else None
        if self.tally.last <= before:
            return None
        if before < 0 and (self.first or 0) <= 1:
            return None  # all epochs are here all the same
        return (before if before >= 0 else epoch), line

    @property
    def lacks_part(self) -> bool:
        """Whether the total may be of the part after a restart alone."""
        if self.resumed_after is None or not self.tally.totals:
            return False
        if (self.first or 0) > 1 and self.tally.stopped is None:
            return True  # the earlier part is not even in the log
        return not self.sums or is_less(self.total or 0.0, max(self.sums.values()))

    @property
    def totals_agree(self) -> bool:
        """Whether the ranks' totals differ by no more than ALIKE."""
        totals = self.tally.totals or [0.0]
        return max(totals) - min(totals) <= ALIKE * max(totals)

    @property
    def totals_expected(self) -> set[int]:
        """How many totals the run should have printed."""
        ranks = len(self.series) or 1
        if self.tally.whole_process:
            return {1}
        if self.tally.form.file.total_per_rank:
            return {ranks}
        return {1, ranks, self.workers or 1}

    @cached_property
    def uncounted_s(self) -> float | None:
        """Seconds of the total that lie in no epoch of the log, of the rank with the most."""
        if self.total is None or not self.sums:
            return None
        return self.total - max(self.sums.values())

    @cached_property
    def typical_s(self) -> float | None:
        """An epoch's median time, s."""
        typical = [t for s in self.series if not s.cumulative and (t := s.typical) is not None]
        return max(typical, default=None)

    @cached_property
    def first(self) -> int | None:
        """The lowest epoch in the log."""
        return min((series.first for series in self.series), default=None)

    @cached_property
    def last(self) -> int | None:
        """The last epoch that all ranks have ended."""
        return min((series.last for series in self.series), default=None)

    @cached_property
    def counted_from(self) -> int | None:
        """The number of the run's first epoch, 0 or 1; None where the log leaves it open."""
        if self.first is None or self.last is None:
            return None
        declared, claimed = self.tally.form.file.first_epoch, self.epochs
        if self.first == 0:
            return 0
        if declared == 1 or self.last == claimed:
            return 1
        if self.last + 1 == claimed and self.first > 1:
            return 0  # epoch 1 to the last but one leaves it open
        rest, typical = self.uncounted_s, self.typical_s
        if self.first == 1 and rest is not None and typical is not None and rest < typical / 2:
            return 1  # no time is left for an epoch 0
        return declared

    @cached_property
    def epochs_done(self) -> int | None:
        """Epochs that all ranks have ended, by their number."""
        if self.last is None:
            return self._epochs_reached
        if self.counted_from is None:
            return None
        return self.last + 1 - self.counted_from

    @property
    def _epochs_reached(self) -> int | None:
        """Whole epochs, where the log says how far it came, in epochs or in steps of known size."""
        reached = self.tally.latest("epoch_reached")
        if reached is not None and math.isfinite(float(reached)):
            return math.floor(float(reached) + _ROUNDED)
        images, batch = self.tally.fact("train_images"), self.images_per_step
        if self.steps and images and batch:
            return int(self.steps * batch // int(images))
        return None

    @cached_property
    def steps(self) -> int | None:
        """Steps that all ranks have done, for a log that counts them."""
        return min((series.last for series in self.tally.steps.values()), default=None)

    @cached_property
    def steps_before(self) -> int:
        """Steps that the total lacks, of a log that has no epochs; 0: none, as far as it tells."""
        if self.series or not self.steps:
            return 0 if self.series else self.tally.steps_before
        every = list(self.tally.steps.values())
        first = min(series.first or 0 for series in every)
        late = first > 2 * max(series.apart for series in every) + 1 and all(s.rises for s in every)
        return self.tally.steps_before or (first if late else 0)

    @cached_property
    def images_per_step(self) -> int | None:
        """Images per step over all ranks, where name or log say it."""
        if self.tally.form.file.accumulates:
            return whole(self.claimed("batch_size_global", "batch_size_global"))
        return self.batch_size_global

    @cached_property
    def batch_size_global(self) -> int | None:
        """Images per step over all ranks, where name or log say it."""
        together = self.claimed("batch_size_global", "batch_size_global")
        each = self.claimed("batch_size_per_device", "batch_size")
        if together is None and each is not None and self.workers:
            return int(each) * self.workers
        return whole(together)

    @cached_property
    def images_per_s(self) -> float | None:
        """Images per second over all ranks, as printed, or from the time of what is known."""
        trained, steps = self.tally.fact("train_images"), list(self.tally.steps.values())
        if (rate := self.tally.latest("images_per_s")) is not None:
            return float(rate)
        if trained and self.total and self.epochs_done:
            return int(trained) * self.epochs_done / self.total
        if rates := [rate for series in steps if (rate := series.rate)]:
            return statistics.median(rates)  # each is of all ranks
        times = [time for series in steps if (time := series.time)]
        if times and self.images_per_step:
            return self.images_per_step / max(times)
        whole_run = not self.series and not self.steps_before
        if self.steps and self.images_per_step and self.total and whole_run:
            return self.images_per_step * self.steps / self.total
        return None

    @cached_property
    def in_percent(self) -> bool:
        """Whether accuracies are printed as percent: most of them are above 1, one above 2."""
        above = sum(series.above_one for series in self.series)
        if above * 2 <= sum(series.accuracies for series in self.series):
            return False
        # 1.54 throughout is no accuracy of 1.54 %, but a wrong fraction
        return max((f[1] or 0 for s in self.series for f in s.epochs.values()), default=0) > 2

    def final(self, index: int) -> float | None:
        """The mean over ranks of the last epoch's loss (0) or accuracy (1); None for NaN.

        None too where it is not known which of an epoch's lines is the epoch's.
        """
        if self.in_turn:
            return None
        values = [series.epochs.get(series.last, (None,) * 3)[index] for series in self.series]
        known = [value for value in values if value is not None and math.isfinite(value)]
        if not known or len(known) < len(values):
            return None
        if index == 0:
            return math.fsum(known) / len(known)
        scale = 100 if self.in_percent else 1
        share = math.fsum(known) / len(known)
        if self.in_percent:
            share = round(share / scale, 12)  # 93.21 % is 0.9321, not 0.9320999999999999
        return share if min(known) >= 0 and max(known) <= scale else None

    def content(self) -> Hashable | None:
        """What another run cannot share: the values of the last epochs, not the total.

        Without epochs, totals of many digits. A log whose head was cut off, whose lines were
        reordered or whose total was edited keeps it.
        """
        tail = [
            (rank, epoch, series.epochs[epoch])
            for rank, series in self.tally.ranks.items()
            for epoch in sorted(series.epochs)[-_TAIL:]
        ]
        shown = sorted(map(repr, tail))
        if not self.sums or len(tail) < _TAIL - 1:
            totals = [total for total in self.tally.totals if has_many_digits(total)]
            if not totals:
                return None
            shown += sorted(map(repr, totals))
        return "log", hashlib.sha256("\n".join(shown).encode()).hexdigest()

    def marks(self) -> frozenset[int]:
        """The smallest hashes of what two epochs in a row printed, ranks and numbers apart.

        Loss, accuracy and time together; of one epoch alone they are equal by chance in logs of
        thousands. Logs that have epochs in common have many of these in common, whichever lines
        were cut.
        """
        pairs = {
            pair
            for series in self.series
            for pair in pairwise(
                series.epochs[epoch] for epoch in sorted(series.epochs)[-_COMPARED_EPOCHS:]
            )
        }
        hashes = (hash(pair) for pair in pairs if all(map(_is_complete, pair)))
        return frozenset(heapq.nsmallest(_MARKS, hashes))


def _is_complete(values: EpochValues) -> bool:
    """Whether no value is missing or infinite."""
    return all(value is not None and math.isfinite(value) for value in values)


def is_less(total: float, spent: float) -> bool:
    """Whether ``total`` is less than ``spent``, both s, by more than rounding."""
    return total < spent - ROUNDING * total


def has_many_digits(seconds: float) -> bool:
    """Whether ``seconds`` has more digits than two runs share by chance."""
    return len(repr(seconds)) > _MANY_DIGITS


def whole(value: Value | None) -> int | None:
    """``value`` as a count."""
    return None if value is None else int(value)
