"""LineReader: reads the lines of one log, in one pass, into a tally."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import cast

from weather_hpc.errors import UserError
from weather_hpc.logs.epochs import (
    MOST_DIGITS,
    NOTHING,
    VALUES,
    EpochSeries,
)
from weather_hpc.logs.failures import failure_behind, failure_in, judge_failure
from weather_hpc.logs.fields import Value
from weather_hpc.logs.heading import Heading, epoch_values
from weather_hpc.logs.lines import LONGEST_LINE
from weather_hpc.logs.log_format import Kind, LogFormat
from weather_hpc.logs.steps import StepSeries
from weather_hpc.logs.tally import Tally
from weather_hpc.logs.unread import shown
from weather_hpc.logs.whole_lines import Stretch, WholeLine
from weather_hpc.text import clean

MOST_VALUES = 1000

_EPOCH_FIELDS = ("rank", "epoch", *VALUES)

_NO_FACTS = {
    *_EPOCH_FIELDS, "current_epoch", "resumed_epoch", "progress", "step", "step_time",
    "epoch_start", "epoch_end", "failed", "ignored",
}  # fmt: skip

_PASSED = {"test_loss", "test_accuracy", "images_per_s", "epoch_reached"}

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
        self.start = kind.group("epoch_start", form.never)
        self.fraction = cast(Callable[[bytes], float], by_name.get("progress", float))
        self.others = tuple(f for f in kind.fields if f[0].name not in _EPOCH_FIELDS)


@dataclass
class LineReader(Tally):
    """A tally that grows with each line that is fed to it."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._noted = self.form.unmatched.without_shapes()
        """Of lines that are matched by nothing, but that a reason may repeat."""
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
        if not ended and self.total_lines > before and block[-1:] not in (b"}", b'"', b"'"):
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
        general = LineReader(replace(self.form, whole_line=None))
        general.feed(line, ended=True)
        ((_, [(rank, epoch, values)]),) = whole_line.stretches(line)
        own = {None if rank is None else int(rank): EpochSeries({epoch: values})}
        if repr(general.ranks) != repr(own):  # as text, for NaN is not equal to itself
            raise UserError(
                f"format {self.form.name}: exact reads {clean(line.decode('utf-8', 'replace'))!r} "
                "differently than lines; both must read the same values"
            )

    def _feed(self, lines: Sequence[bytes]) -> None:
        match = self.form.regex.match
        marker = (self.form.file.marker or "\n").encode()
        epoch_lines = self._lines
        unmatched = self.form.unmatched
        table, shapes, noted = unmatched.table, unmatched.shapes, self._noted.shapes
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
            if (failure := failure_behind(line)) is not None:
                self._end(failure)

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
            self._noted.add(line)
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
        begins = found[line.start] is not None
        if begins or (progress is not None and line.fraction(progress) != 1):
            self._pass(rank, number)
            if not self.ranks:
                self.read = found.string
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
            self._add(series, epoch, NOTHING)

    def _other_line(self, index: int | None, found: re.Match[bytes]) -> None:
        kind = self.form.kinds[index or 0]
        values = {k.name: k.convert(found[g]) for k, g in kind.fields if found[g] is not None}
        rank = self._rank(found[kind.group("rank", self.form.never)], found)
        if values.get("failed", "0") != "0":  # an exit status of 0 is none
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
        elif values.keys() & set(VALUES):
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
        if self.last >= 0 and self.stopped is None:
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
            pending = self.pending[rank] = Heading(epoch, is_bar=progress is not None)
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
        self, pending: Heading, rank: bytes | None, values: dict[str, Value]
    ) -> None:
        """Take in a bar of one of several ranks that print no number."""
        new = epoch_values(values)
        if values["progress"] != 1 or not new[2] or pending.finished == pending.ranks:
            self.passed += 1
            return
        pending.finished += 1
        self._add_ranks({rank})
        self._add(self._by_text[rank], pending.epoch, new)

    def _complete(self, rank: bytes | None, values: dict[str, Value]) -> bool:
        """Whether ``values`` are of the epoch whose line came last, as the first of them were."""
        series = self._by_text.get(rank)
        if self.orphaned or series is None or not series.epochs or "progress" in values:
            self.orphaned = True
            return False
        epoch, before = next(reversed(series.epochs.items()))
        new = epoch_values(values)
        if any(b is not None and n is not None for b, n in zip(before, new, strict=True)):
            return False
        self._add(series, epoch, new)
        return True

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


def _whole_epoch(text: bytes) -> int:
    if len(text) > MOST_DIGITS:
        raise ValueError("more epochs than any run has")
    return int(text)
