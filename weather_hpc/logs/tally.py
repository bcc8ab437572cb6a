"""Tally: everything read from the lines of one log, in one pass."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import cast

from weather_hpc.errors import UserError
from weather_hpc.logs.epochs import KEPT, MOST_DIGITS, EpochSeries, EpochValues, Stretch, WholeLine
from weather_hpc.logs.failures import FailureLine, failure_in, judge_failure
from weather_hpc.logs.fields import Value
from weather_hpc.logs.lines import LONGEST_LINE, MOST_SHAPES
from weather_hpc.logs.log_format import Kind, LogFormat
from weather_hpc.logs.steps import StepSeries
from weather_hpc.logs.unread import UnreadLines, shown
from weather_hpc.text import clean

MOST_EPOCHS = 100_000
"""Lines with values held in memory; beyond that, older epochs are kept as sums."""

MOST_RANKS = 10_000
MOST_VALUES = 1000

_EPOCH_FIELDS = ("rank", "epoch", "loss", "accuracy", "time")

_NO_FACTS = {
    *_EPOCH_FIELDS, "current_epoch", "resumed_epoch", "progress", "step", "step_time", "epoch_end",
    "failed", "ignored",
}  # fmt: skip

_PASSED = {"test_loss", "test_accuracy", "images_per_s", "epoch_reached"}

_NOTHING: EpochValues = (None, None, None)

_TOGETHER = 0.05
"""Ranks start and stop within this share of a run's time."""

_JOINED = re.compile(
    rb"(?i)(?<=[^\s\[(])(?=[\[(](?:global[ _]?)?(?:rank|gpu|cuda|device|worker)"
    rb"[ :=_#-]{0,2}\d{1,6}[\])])"
)
"""Where a rank's line begins in the middle of another's, for lack of a line end."""


class _EpochLine:
    """A Kind of epoch line, with the group and the conversion of each value."""

    def __init__(self, kind: Kind, form: LogFormat) -> None:
        self.groups = tuple(kind.group(name, form.never) for name in _EPOCH_FIELDS)
        by_name = {kept.name: kept.convert for kept, _ in kind.fields}
        # of these two, text becomes a number and nothing else
        self.accuracy = cast(Callable[[bytes], float], by_name.get("accuracy", float))
        self.time = cast(Callable[[bytes], float], by_name.get("time", float))
        self.progress = kind.group("progress", form.never)
        self.fraction = cast(Callable[[bytes], float], by_name.get("progress", float))
        self.others = tuple(f for f in kind.fields if f[0].name not in _EPOCH_FIELDS)


@dataclass
class _Pending:
    """An epoch of which a heading told, and the values that followed."""

    epoch: int
    values: EpochValues = _NOTHING
    steps: bytes = b""
    """Of the bar that last followed, such as 98/98."""
    is_bar: bool = False
    """No heading, but a bar that names its epoch: the values of its last line at the end count."""
    ended: bool = False
    """That bar was at its end, or that of a later epoch followed."""
    over: bool = False
    """The epoch's own pass over its images has ended, and another began, as evaluate() makes."""

    ranks: int = 1
    """Headings of it in a row: ranks that print no number."""
    finished: int = 0
    """Of these, how many have ended their bar."""

    unclear: set[int] = field(default_factory=set)
    """Which of the values came several times, as those of steps do, without a bar that ends."""

    @property
    def counts(self) -> bool:
        """Whether it is an epoch that was done."""
        return self.ended or self.values != _NOTHING

    @property
    def is_empty(self) -> bool:
        """Whether a heading is all that there was of it."""
        return self.values == _NOTHING and not self.is_bar and not self.finished

    def take(self, values: dict[str, Value]) -> None:
        """Take in a line's values; the last ones of a bar count."""
        new = [cast(float | None, values.get(name)) for name in _EPOCH_FIELDS[2:]]
        if "progress" not in values:
            pairs = enumerate(zip(self.values, new, strict=True))
            self.unclear |= {i for i, (b, n) in pairs if None not in (b, n) and b != n}
        latest = [b if n is None else n for b, n in zip(self.values, new, strict=True)]
        self.values = cast(EpochValues, tuple(latest))

    @property
    def clear(self) -> EpochValues:
        """The values of which it is known that they are the epoch's."""
        kept = (None if i in self.unclear else value for i, value in enumerate(self.values))
        return cast(EpochValues, tuple(kept))

    def is_other_pass(self, steps: bytes, values: dict[str, Value]) -> bool:
        """Whether a bar that is at ``steps`` with ``values`` gives no values of the epoch."""
        done = values.get("progress") == 1
        tested = "test_loss" in values or "test_accuracy" in values
        if self.steps and not self.over:
            zero = not self.values[2]  # the bar was at its end, the epoch was not
            same = values.get("loss", self.values[0]) == self.values[0]
            self.over = not done or steps != self.steps or not (tested or same or zero)
        if not done or self.over:
            return True
        self.steps = steps
        return False


@dataclass
class Tally:
    """What one format finds in one log."""

    form: LogFormat
    ranks: dict[int | None, EpochSeries] = field(default_factory=dict)
    """By rank; None for lines that name none."""
    totals: list[float] = field(default_factory=list)
    total_lines: int = 0
    facts: dict[str, dict[Value, None]] = field(default_factory=dict)
    """By field, the different values that were seen, the latest last."""
    torn: int = 0
    """Lines that should hold values and could not be read."""
    torn_example: str = ""
    unread: UnreadLines = field(default_factory=UnreadLines)
    read: bytes = b""
    """The last line with values of an epoch or a step."""
    failure: FailureLine | None = None
    stopped: tuple[int, str] | None = None
    """The last epoch before the first failure line that follows an epoch, and that line."""
    resumed: tuple[int, int, str] | None = None
    """Where a line says that the run goes on from an epoch: that epoch, the last one that the log
    had until then (below 0: none), and the line."""
    open_total: bool = False
    """The file ends in a total without a line end: digits may be missing."""
    numbered: bool = False
    """A line itself says which rank it is of."""
    unnumbered: bool = False
    """Which rank a line is of is not known, only that each rank has one."""
    whole_process: bool = False
    """The total is the time of the whole process, for no line gives another."""
    pending: dict[bytes | None, "_Pending"] = field(default_factory=dict)
    """By rank as printed, the epoch that the last heading named, and the values below it."""
    under_way: dict[bytes | None, int] = field(default_factory=dict)
    """By rank as printed, the epoch of which only lines of its course were seen."""
    steps: dict[bytes | None, StepSeries] = field(default_factory=dict)
    """By rank as printed."""
    stopped_steps: int = 0
    """The last step before the last failure line."""
    steps_before: int = 0
    """Steps before a failure that others follow, or before the one from which the run goes on."""
    passed: int = 0
    """Lines that were understood and hold no value of an epoch: of its course, of a test."""
    printing: set[bytes | None] = field(default_factory=set)
    """The ranks, as printed, of lines other than those of epochs."""
    orphaned: bool = False
    """Values without an epoch came before any epoch's line."""
    held: int = 0
    whole_lines: int = 0
    """Lines that were read by the format's WholeLine."""

    def __post_init__(self) -> None:
        self._by_text: dict[bytes | None, EpochSeries] = {}
        self._processes: dict[bytes, int] = {}
        self._noted: set[bytes] = set()
        self._lines = {
            index: _EpochLine(kind, self.form)
            for index, kind in self.form.kinds.items()
            if any(kept.name == "epoch" for kept, _ in kind.fields)
        }

    def feed(self, block: bytes, ended: bool) -> None:
        """Take in the lines of ``block``; ``ended``: the last has its line end.

        Raises UserError where the format's ``exact`` reads a line differently than its ``lines``.
        """
        before = self.total_lines
        for lines, whole_lines in self._stretches(block):
            self._feed(lines)
            by_text = self._by_text
            for rank, epoch, values in whole_lines:
                self._add(by_text[rank], epoch, values)
            self.whole_lines += len(whole_lines)
        if not ended and self.total_lines > before:
            self.open_total = True

    def _stretches(self, block: bytes) -> list[Stretch]:
        """``block`` divided into whole lines, with a series for each of their ranks, and others."""
        whole_line = self.form.whole_line
        if whole_line is not None and (first := whole_line.first(block)) is not None:
            try:
                if not self.whole_lines:
                    self._check_whole_line(whole_line, first)
                stretches = list(whole_line.stretches(block))
                self._add_ranks({rank for _, lines in stretches for rank, _, _ in lines})
                self.numbered |= "rank" in whole_line.regex.groupindex
                return stretches
            except ValueError:
                pass  # read line by line, only the wrong line is reported
        return [(block.split(b"\n"), ())]

    def _check_whole_line(self, whole_line: WholeLine, line: bytes) -> None:
        general = Tally(replace(self.form, whole_line=None))
        general.feed(line, ended=True)
        ((_, [(rank, epoch, values)]),) = whole_line.stretches(line)
        own = {None if rank is None else int(rank): EpochSeries({epoch: values})}
        if repr(general.ranks) != repr(own):  # as text, for NaN is not equal to itself
            raise UserError(
                f"format {self.form.name}: exact reads {clean(line.decode('utf-8', 'replace'))!r} "
                "differently than lines; both must read the same values"
            )

    def _add_ranks(self, ranks: set[bytes | None]) -> None:
        """Have an EpochSeries for each of ``ranks``. Raises ValueError where one is no rank."""
        new = {text: self.number(text) for text in ranks - self._by_text.keys()}
        if len(self.ranks.keys() | set(new.values())) > MOST_RANKS:
            raise ValueError("more ranks than any run has")
        for text, rank in new.items():
            self._by_text[text] = self.ranks.setdefault(rank, EpochSeries())

    def number(self, rank: bytes | None) -> int | None:
        """The rank that ``rank`` as printed means; processes that have no number get theirs."""
        if rank is None or rank.isdigit():
            return None if rank is None else int(rank)
        return self._processes.setdefault(rank, len(self._processes))

    def numbers(self, ranks: set[bytes | None]) -> set[int]:
        """The ranks that ``ranks`` as printed mean; one process alone has none."""
        named = {rank for rank in ranks if rank is not None}
        if len(self._processes) == 1:
            named -= self._processes.keys()
        return {number for rank in named if (number := self.number(rank)) is not None}

    def _feed(self, lines: Sequence[bytes]) -> None:
        match = self.form.regex.match
        marker = (self.form.file.marker or "\n").encode()
        epoch_lines = self._lines
        unmatched = self.form.unmatched
        table, shapes, noted = unmatched.table, unmatched.shapes, self._noted
        for line in lines:
            shape = line.translate(table)
            if shape in shapes or shape in noted:
                continue
            if len(line) > LONGEST_LINE:
                line = line[:LONGEST_LINE]
            found = match(line)
            if found is None:
                self._unmatched(line, marker)
                continue
            index = found.lastindex
            kind = epoch_lines.get(index)  # type: ignore[arg-type]
            try:
                if kind is not None:
                    self._epoch(kind, found)
                else:
                    self._other_line(index, found)
            except ValueError:
                self._tear(line)

    def _unmatched(self, line: bytes, marker: bytes) -> None:
        """Take in a line that the format does not match."""
        if (failure := failure_in(line)) is not None:
            self._end(failure)
        elif b"poch" in line and len(parts := _JOINED.split(line)) > 1:
            if all(map(self.form.regex.match, parts)):
                self._feed(parts)
            else:
                self._tear(line)
        elif marker in line:
            self._tear(line)
        elif self.unread.is_total(line):
            pass  # the last one counts
        elif self.unread.matters(line):
            if len(self._noted) >= MOST_SHAPES:
                self._noted.clear()
            self._noted.add(line.translate(self.form.unmatched.table))
        else:
            self.form.unmatched.add(line)  # as all lines of its shape

    def _epoch(self, line: _EpochLine, found: re.Match[bytes]) -> None:
        rank, epoch, loss, accuracy, time = found.group(*line.groups)
        number = _whole_epoch(epoch)
        rank = self._rank(rank, found)
        progress = found[line.progress]
        if line.others:
            named = ((kept, found[group]) for kept, group in line.others)
            self._facts({k.name: k.convert(text) for k, text in named if text is not None})
        if progress is not None and line.fraction(progress) != 1:
            self._pass(rank, number)
            return
        values = (
            None if loss is None else float(loss),
            None if accuracy is None else line.accuracy(accuracy),
            None if time is None else line.time(time),
        )
        if rank not in self._by_text:
            self._add_ranks({rank})
        self.read = found.string
        if self.under_way and self.under_way.get(rank) is not None:
            self._pass(rank, number)
            del self.under_way[rank]
        self._add(self._by_text[rank], number, values)

    def _pass(self, rank: bytes | None, epoch: int) -> None:
        """A line of the course of ``epoch``: it began, so the one before it is done."""
        self.passed += 1
        before = self.under_way.get(rank)
        if before is not None and before < epoch:
            self._done(rank, before)
        self.under_way[rank] = epoch

    def _done(self, rank: bytes | None, epoch: int) -> None:
        """``epoch`` has ended, whether or not a line gave its values."""
        self._add_ranks({rank})
        series = self._by_text[rank]
        if epoch not in series.epochs:
            self._add(series, epoch, _NOTHING)

    def _add(self, series: EpochSeries, epoch: int, values: EpochValues) -> None:
        if series.add(epoch, values):
            self.held += 1
            if self.held > MOST_EPOCHS:
                self._fold()

    def _fold(self) -> None:
        keep = min(KEPT, MOST_EPOCHS // (2 * len(self.ranks)))
        for series in self.ranks.values():
            series.fold(keep)
        self.held = sum(len(series.epochs) for series in self.ranks.values())

    def _other_line(self, index: int | None, found: re.Match[bytes]) -> None:
        kind = self.form.kinds[index or 0]
        values = {k.name: k.convert(found[g]) for k, g in kind.fields if found[g] is not None}
        rank = self._rank(found[kind.group("rank", self.form.never)], found)
        if "failed" in values:
            self._end(found.string)
        if (resumed := values.get("resumed_epoch")) is not None:
            if int(resumed) > 0:
                self.resumed = int(resumed), self.last, shown(found.string)
            return
        self.printing.add(rank)
        progress = cast(float | None, values.get("progress"))
        if "current_epoch" in values:
            self._heading(rank, _whole_epoch(found[kind.group("current_epoch", 0)]), progress)
        if "resumed_step" in values:
            self.steps_before = cast(int, values.pop("resumed_step"))
        if "step" in values:
            self.read = found.string
            self._step(rank, values)
            values.pop("images_per_s", None)  # of one step
        elif values.keys() & set(_EPOCH_FIELDS[2:]):
            self._below(rank, values, found, found[kind.group("progress", self.form.never)])
        if progress is None or progress == 1:
            self._facts(values)
        if "epoch_end" in values:
            self._settle(rank)
            if rank in self.under_way:
                self._done(rank, self.under_way.pop(rank))
        if values.keys() & {"total", "outer", "wall", "stopped"}:
            for each, epoch in self.under_way.items():
                self._done(each, epoch)
            self.under_way.clear()
        elif values.keys() == {"progress"} or values.keys() & _PASSED:
            self.passed += 1
            if not self.ranks and not self.steps:
                self.read = found.string

    def _end(self, line: bytes) -> None:
        """Take in a line that reports a failure."""
        self.failure = judge_failure(line, self.failure, self.last)
        if self.ranks and self.stopped is None:
            self.stopped = self.last, shown(line)
        self.stopped_steps = max((series.last for series in self.steps.values()), default=0)

    def _heading(self, rank: bytes | None, epoch: int, progress: float | None) -> None:
        """Values below are of ``epoch``; with ``progress``, those of a bar that names its epoch."""
        pending = self.pending.get(rank)
        if progress is None and pending is not None and pending.is_empty and pending.epoch == epoch:
            pending.ranks += 1
            return
        if progress is None or pending is None or pending.epoch != epoch:
            if pending is not None and pending.is_bar:
                pending.ended |= pending.epoch < epoch
            self._settle(rank)
            pending = self.pending[rank] = _Pending(epoch, is_bar=progress is not None)
        if progress is not None:
            self.passed += 1
            pending.ended |= progress == 1

    def _step(self, rank: bytes | None, values: dict[str, Value]) -> None:
        """Take in a line of a step of the run."""
        if cast(int, values["step"]) > self.stopped_steps > 0:
            self.steps_before, self.stopped_steps = self.stopped_steps, 0
        self.steps.setdefault(rank, StepSeries()).add(
            cast(int, values["step"]),
            cast(float | None, values.get("step_time")),
            cast(float | None, values.get("images_per_s")),
        )

    def _below(
        self,
        rank: bytes | None,
        values: dict[str, Value],
        found: re.Match[bytes],
        steps: bytes | None,
    ) -> None:
        """Take in values of a line without an epoch; the last heading names it."""
        pending = self.pending.get(rank)
        if pending is None and self._complete(rank, values):
            return
        if pending is None:
            self.unread.values = self.unread.values or found.string  # of no epoch
            return
        if pending.is_bar and values.get("progress", 1) != 1:
            return
        if (
            pending.ranks == 1
            and steps is not None
            and not pending.is_bar
            and pending.is_other_pass(steps, values)
        ):
            self.passed += 1
            self.unread.values = self.unread.values or found.string
            return
        if pending.ranks > 1 and steps is not None:
            self._add_unnumbered(pending, rank, values)
            return
        self.read = found.string
        pending.take(values)

    def _add_unnumbered(
        self, pending: _Pending, rank: bytes | None, values: dict[str, Value]
    ) -> None:
        """Take in a bar of one of several ranks that print no number."""
        new = tuple(cast(float | None, values.get(name)) for name in _EPOCH_FIELDS[2:])
        if values["progress"] != 1 or not new[2] or pending.finished == pending.ranks:
            self.passed += 1
            return
        pending.finished += 1
        self._add_ranks({rank})
        self._add(self._by_text[rank], pending.epoch, cast(EpochValues, new))

    def _complete(self, rank: bytes | None, values: dict[str, Value]) -> bool:
        """Whether ``values`` are of the epoch whose line came last, as the first of them were."""
        series = self._by_text.get(rank)
        if self.orphaned or series is None or not series.epochs or "progress" in values:
            self.orphaned = True
            return False
        epoch, before = next(reversed(series.epochs.items()))
        new = tuple(cast(float | None, values.get(name)) for name in _EPOCH_FIELDS[2:])
        if any(b is not None and n is not None for b, n in zip(before, new, strict=True)):
            return False
        self._add(series, epoch, cast(EpochValues, new))
        return True

    def _settle(self, rank: bytes | None) -> None:
        """The values below ``rank``'s heading are complete."""
        pending = self.pending.pop(rank, None)
        if pending is not None and pending.counts:
            if rank not in self._by_text:
                self._add_ranks({rank})
            self._add(self._by_text[rank], pending.epoch, pending.clear)

    def _rank(self, rank: bytes | None, found: re.Match[bytes]) -> bytes | None:
        """The rank in a line, or else in the prefix that a launcher added."""
        if rank is not None:
            self.numbered = True
            return rank
        if self.form.file.only_first_rank:
            return None
        return next((r for r in found.group(*self.form.ranks) if r is not None), None)

    def _facts(self, values: dict[str, Value]) -> None:
        """Keep what is no value of an epoch or a step."""
        for name in values.keys() - _NO_FACTS:
            value = values[name]
            if name == "total":
                self.total_lines += 1
                if len(self.totals) < MOST_VALUES:
                    self.totals.append(float(value))
                continue
            seen = self.facts.setdefault(name, {})
            seen.pop(value, None)
            seen[value] = None
            if len(seen) > MOST_VALUES:
                del seen[next(iter(seen))]

    def _tear(self, line: bytes) -> None:
        self.torn += 1
        self.unread.values = self.unread.values or line
        if not self.torn_example:
            self.torn_example = shown(line)

    @property
    def hint(self) -> str:
        """What was found and not read, and what to do, for the end of a reason."""
        measured = self.read and not self.totals
        line = shown(self.unread.total) if measured else self.unread.most_telling()
        lacks = f"; {self.form.file.lacks}" if self.form.file.lacks else ""
        own = "" if measured else " (describe the format with --format FILE)"
        if not line:
            return f"; its last values: '{shown(self.read)}'{own}{lacks}" if self.read else lacks
        return f"; not read: '{line}' (describe the format with --format FILE){lacks}"

    @property
    def last(self) -> int:
        """The highest epoch of any rank; below 0 where there is none."""
        below = [pending.epoch for pending in self.pending.values() if pending.counts]
        return max([*below, *(series.last for series in self.series)], default=-1)

    @property
    def score(self) -> int:
        """How many lines of epochs, steps and totals there are: how well the format fits."""
        epochs = sum(s.seen + s.repeated + sum(s.contradicted.values()) for s in self.series)
        below = sum(pending.values != _NOTHING for pending in self.pending.values())
        steps = sum(series.lines for series in self.steps.values())
        stops = len(self.facts.get("stopped", ()))
        return epochs + below + self.passed + steps + self.total_lines + stops

    @property
    def series(self) -> list[EpochSeries]:
        """Every rank's epochs."""
        return list(self.ranks.values())

    def close(self, claimed: int | None = None) -> None:
        """The file is at its end; ``claimed``: the ranks that its run is said to have had.

        Where lines name ranks, one without a rank is a torn one.
        """
        for rank in list(self.pending):
            self._settle(rank)
        if len(self._processes) == 1 and set(self.ranks) == {0}:
            self.ranks = {None: self.ranks[0]}  # one process, whose rank is not known
        if len(self.ranks) > 1 and None in self.ranks:
            lost = self.ranks.pop(None)
            self.torn += lost.seen
            self.torn_example = self.torn_example or "a line of an epoch that names no rank"
        self._number_epochs()
        self._split(claimed)
        for series in self.ranks.values():
            series.judge()
        if not self.totals and (lasted := self._lasted()) is not None:
            self.totals, self.total_lines = [lasted], 1
        # a process that was ended has a time too
        ended = (
            self.failure is not None and self.failure.matters and self.failure.epoch >= self.last
        )
        for name in ("outer", "wall"):
            times = [float(value) for value in self.facts.get(name, {})]
            if times and not self.totals and (name == "outer" or not ended):
                self.totals, self.total_lines = times, len(times)
                self.whole_process = name == "wall"

    def _number_epochs(self) -> None:
        """A number in brackets that rises with the epoch is a counter of lines and no rank."""
        ranks = sorted(rank for rank in self.ranks if rank is not None)
        single = [(r, next(iter(self.ranks[r].epochs))) for r in ranks if self.ranks[r].seen == 1]
        apart = {epoch - rank for rank, epoch in single}
        if len(ranks) > 2 and len(single) == len(ranks) and len(apart) == 1:
            epochs = {epoch: self.ranks[rank].epochs[epoch] for rank, epoch in single}
            self.ranks = {None: EpochSeries(epochs)}

    def _split(self, claimed: int | None) -> None:
        """Tell apart the lines of ranks that print no number, or one that counts per node."""
        if not claimed or self.numbered or self.stopped is not None or not self.ranks:
            return
        if claimed % len(self.ranks):
            return
        each = claimed // len(self.ranks)
        parts = [series.split(each) if each > 1 else None for series in self.ranks.values()]
        if all(parts):
            numbered = (part for each in zip(*filter(None, parts), strict=True) for part in each)
            self.ranks = dict(enumerate(numbered))
            self.unnumbered = True

    def _lasted(self) -> float | None:
        """Seconds from the run's start to its end, where the log has the time of both."""
        started = [float(time) for time in self.facts.get("started", {})]
        stopped = [float(time) for time in self.facts.get("stopped", {})]
        if not started or not stopped:
            return None
        lasted = max(stopped) - min(started)
        if max(max(started) - min(started), max(stopped) - min(stopped)) > _TOGETHER * lasted:
            return None  # several runs, or one that was started again
        return lasted

    def fact(self, name: str) -> Value | None:
        """The one value of ``name``; None where there is none, or several."""
        values = self.facts.get(name, {})
        return next(iter(values)) if len(values) == 1 else None

    def latest(self, name: str) -> Value | None:
        """The last value of ``name``."""
        return next(reversed(self.facts.get(name, {})), None)


def _whole_epoch(text: bytes) -> int:
    if len(text) > MOST_DIGITS:
        raise ValueError("more epochs than any run has")
    return int(text)
