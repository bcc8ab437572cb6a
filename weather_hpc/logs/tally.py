"""Tally: everything that one format found in one log, and what follows from it at the end."""

from dataclasses import dataclass, field

from weather_hpc.logs.epochs import KEPT, NOTHING, EpochSeries, EpochValues
from weather_hpc.logs.failures import FailureLine
from weather_hpc.logs.fields import Value
from weather_hpc.logs.heading import Heading
from weather_hpc.logs.log_format import LogFormat
from weather_hpc.logs.steps import StepSeries
from weather_hpc.logs.unread import UnreadLines, shown

MOST_EPOCHS = 100_000
"""Lines with values held in memory; beyond that, older epochs are kept as sums."""

MOST_RANKS = 10_000

_TOGETHER = 0.05
"""Ranks start and stop within this share of a run's time."""


@dataclass
class Tally:
    """What one format found in one log."""

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
    pending: dict[bytes | None, Heading] = field(default_factory=dict)
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

    def _settle(self, rank: bytes | None) -> None:
        """The values below ``rank``'s heading are complete."""
        pending = self.pending.pop(rank, None)
        if pending is not None and pending.counts:
            if rank not in self._by_text:
                self._add_ranks({rank})
            self._add(self._by_text[rank], pending.epoch, pending.clear)

    @property
    def hint(self) -> str:
        """What was found and not read, and what to do, for the end of a reason."""
        measured = self.read and not self.totals
        total = self.unread.run_total or self.unread.total
        line = shown(total) if measured else self.unread.most_telling()
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
        below = sum(pending.values != NOTHING for pending in self.pending.values())
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
            series.from_start = self.form.file.times_from_start
            series.judge()
        for lasted in (self._lasted(), self._so_far()):
            if self.totals or lasted is None:
                continue
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
        return round(lasted, 6)

    def _so_far(self) -> float | None:
        """Seconds until the last step, where that is the last that there was to be."""
        times = [float(time) for time in self.facts.get("so_far", {})]
        last = min((series.last for series in self.steps.values()), default=None)
        if not times or times != sorted(times) or last != self.fact("steps"):
            return None  # unfinished, or it began again
        return times[-1]

    def fact(self, name: str) -> Value | None:
        """The one value of ``name``; None where there is none, or several."""
        values = self.facts.get(name, {})
        return next(iter(values)) if len(values) == 1 else None

    def latest(self, name: str) -> Value | None:
        """The last value of ``name``."""
        return next(reversed(self.facts.get(name, {})), None)
