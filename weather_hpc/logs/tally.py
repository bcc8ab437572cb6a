"""Tally: everything read from the lines of one log, in one pass."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import cast

from weather_hpc.errors import UserError
from weather_hpc.logs.epochs import KEPT, MOST_DIGITS, EpochSeries, EpochValues, Stretch, WholeLine
from weather_hpc.logs.failures import FailureLine, failure_in, judge_failure
from weather_hpc.logs.fields import Field, Value
from weather_hpc.logs.lines import LONGEST_LINE
from weather_hpc.logs.log_format import Kind, LogFormat
from weather_hpc.text import clean

MOST_EPOCHS = 100_000
"""Lines with values held in memory; beyond that, older epochs are kept as sums."""

MOST_RANKS = 10_000
MOST_VALUES = 1000
_TOTAL = re.compile(
    rb"(?i)[ \t]*[-+\d][\d.,' e+-]{0,30}(?:s|secs?|seconds?|min|minutes?|h|hours?)?\s*\Z"
    rb"|(?=.{0,60}(?:total|elapsed|training|run|execution)).{0,80}time.{0,80}\d"
)
"""A number alone, or words of a run's time with one."""

_EPOCH_FIELDS = ("rank", "epoch", "loss", "accuracy", "time")

_NO_FACTS = {*_EPOCH_FIELDS, "current_epoch", "progress"}


class _EpochLine:
    """A Kind of epoch line, with the group and the conversion of each value."""

    def __init__(self, kind: Kind, form: LogFormat) -> None:
        self.groups = tuple(kind.group(name, form.never) for name in _EPOCH_FIELDS)
        by_name = {kept.name: kept.convert for kept, _ in kind.fields}
        # of these two, text becomes a number and nothing else
        self.accuracy = cast(Callable[[bytes], float], by_name.get("accuracy", float))
        self.time = cast(Callable[[bytes], float], by_name.get("time", float))
        self.others = tuple(f for f in kind.fields if f[0].name not in _EPOCH_FIELDS)


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
    unread: bytes = b""
    """The first line with the word epoch that the format does not read."""
    unread_total: bytes = b""
    """The last line that may be a total and that the format does not read."""
    failure: FailureLine | None = None
    stopped: tuple[int, str] | None = None
    """The last epoch before the first failure line that follows an epoch, and that line."""
    open_total: bool = False
    """The file ends in a total without a line end: digits may be missing."""
    whole_process: bool = False
    """The total is the time of the whole process, for no line gives another."""
    pending: dict[bytes | None, tuple[int, EpochValues]] = field(default_factory=dict)
    """By rank as printed, the epoch that the last heading named, and the values below it."""
    held: int = 0
    whole_lines: int = 0
    """Lines that were read by the format's WholeLine."""

    def __post_init__(self) -> None:
        self._by_text: dict[bytes | None, EpochSeries] = {}
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
        new = {text: None if text is None else int(text) for text in ranks - self._by_text.keys()}
        if len(self.ranks.keys() | set(new.values())) > MOST_RANKS:
            raise ValueError("more ranks than any run has")
        for text, rank in new.items():
            self._by_text[text] = self.ranks.setdefault(rank, EpochSeries())

    def _feed(self, lines: Sequence[bytes]) -> None:
        match = self.form.regex.match
        marker = (self.form.file.marker or "\n").encode()
        epoch_lines = self._lines
        unmatched = self.form.unmatched
        table, shapes = unmatched.table, unmatched.shapes
        for line in lines:
            if line.translate(table) in shapes:
                continue
            if len(line) > LONGEST_LINE:
                line = line[:LONGEST_LINE]
            found = match(line)
            if found is None:
                if (failure := failure_in(line)) is not None:
                    self._end(failure)
                elif marker in line:
                    self._tear(line)
                elif b"poch" in line:
                    self.unread = self.unread or line
                elif (line[:1].isdigit() or b"ime" in line) and _TOTAL.match(line):
                    self.unread_total = line
                else:  # as all lines of its shape would
                    unmatched.add(line)
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

    def _epoch(self, line: _EpochLine, found: re.Match[bytes]) -> None:
        rank, epoch, loss, accuracy, time = found.group(*line.groups)
        number = _whole_epoch(epoch)
        values = (
            None if loss is None else float(loss),
            None if accuracy is None else line.accuracy(accuracy),
            None if time is None else line.time(time),
        )
        rank = self._rank(rank, found)
        if rank not in self._by_text:
            self._add_ranks({rank})
        if line.others:
            self._facts(line.others, found)
        self._add(self._by_text[rank], number, values)

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
        named = {kept.name: found[group] for kept, group in kind.fields}
        if "current_epoch" in named:
            rank = self._rank(named.get("rank"), found)
            self._settle(rank)
            self.pending[rank] = _whole_epoch(named["current_epoch"]), (None, None, None)
        elif named.keys() & set(_EPOCH_FIELDS[2:]):
            self._below(kind, found)
        self._facts(kind.fields, found)

    def _end(self, line: bytes) -> None:
        """Take in a line that reports a failure."""
        self.failure = judge_failure(line, self.failure, self.last)
        if self.ranks and self.stopped is None:
            self.stopped = self.last, _shown(line)

    def _below(self, kind: Kind, found: re.Match[bytes]) -> None:
        """Take in values of a line without an epoch; the last heading names it, later lines win."""
        values = {k.name: k.convert(found[g]) for k, g in kind.fields if found[g] is not None}
        rank = self._rank(found[kind.group("rank", self.form.never)], found)
        if values.get("progress", 1.0) != 1.0 or rank not in self.pending:
            self.unread = self.unread or found.string  # of an epoch under way, or of none
            return
        epoch, before = self.pending[rank]
        new = (cast(float | None, values.get(name)) for name in _EPOCH_FIELDS[2:])
        latest = [b if n is None else n for b, n in zip(before, new, strict=True)]
        self.pending[rank] = epoch, cast(EpochValues, tuple(latest))

    def _settle(self, rank: bytes | None) -> None:
        """The values below ``rank``'s heading are complete."""
        epoch, values = self.pending.pop(rank, (0, (None, None, None)))
        if values != (None, None, None):
            if rank not in self._by_text:
                self._add_ranks({rank})
            self._add(self._by_text[rank], epoch, values)

    def _rank(self, rank: bytes | None, found: re.Match[bytes]) -> bytes | None:
        """The rank in a line, or else in the prefix that a launcher added."""
        if rank is not None:
            return rank
        return next((r for r in found.group(*self.form.ranks) if r is not None), None)

    def _facts(self, fields: tuple[tuple[Field, int], ...], found: re.Match[bytes]) -> None:
        for kept, group in fields:
            text = found[group]
            if text is None or kept.name in _NO_FACTS:
                continue
            value = kept.convert(text)
            if kept.name == "total":
                self.total_lines += 1
                if len(self.totals) < MOST_VALUES:
                    self.totals.append(float(value))
                continue
            values = self.facts.setdefault(kept.name, {})
            values.pop(value, None)
            values[value] = None
            if len(values) > MOST_VALUES:
                del values[next(iter(values))]

    def _tear(self, line: bytes) -> None:
        self.torn += 1
        if not self.torn_example:
            self.torn_example = _shown(line)

    @property
    def hint(self) -> str:
        """What was found and not read, and what to do, for the end of a reason."""
        total = self.ranks and not self.totals and _shown(self.unread_total)
        line = total or _shown(self.unread) or self.torn_example
        return f"; not read: '{line}' (describe the format with --format FILE)" if line else ""

    @property
    def last(self) -> int:
        """The highest epoch of any rank; below 0 where there is none."""
        return max((series.last for series in self.series), default=-1)

    @property
    def score(self) -> int:
        """How many lines of epochs and totals there are: how well the format fits."""
        epochs = sum(s.seen + s.repeated + sum(s.contradicted.values()) for s in self.series)
        below = sum(values != (None, None, None) for _, values in self.pending.values())
        return epochs + below + self.total_lines

    @property
    def series(self) -> list[EpochSeries]:
        """Every rank's epochs."""
        return list(self.ranks.values())

    def close(self) -> None:
        """The file is at its end. Where lines name ranks, one without a rank is a torn one."""
        for rank in list(self.pending):
            self._settle(rank)
        if len(self.ranks) > 1 and None in self.ranks:
            lost = self.ranks.pop(None)
            self.torn += lost.seen
            self.torn_example = self.torn_example or "a line of an epoch that names no rank"
        for series in self.ranks.values():
            series.judge()
        walls = [float(value) for value in self.facts.get("wall", {})]
        if walls and not self.totals:
            self.totals, self.total_lines, self.whole_process = walls, len(walls), True

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


def _shown(line: bytes) -> str:
    return clean(line[:120].decode("utf-8", "backslashreplace"))
