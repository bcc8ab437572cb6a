"""When each run waited, started, was measured and ended."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from weather_hpc.analysis.comparison import Comparison
from weather_hpc.runs.clock import seconds_of
from weather_hpc.runs.record import Status
from weather_hpc.runs.row import Row
from weather_hpc.study.spec import Stage

_PAUSE, _PAUSE_S = 0.1, 60.0
"""A time without any run is a pause where it is longer than this share of the rest, and than this
many seconds."""

_UNMEASURED = {
    str(Stage.PREPARE): ("Packing", "store that training reads"),
    str(Stage.PREDICT): ("Prediction", "classes of new images"),
}
"""Title and label of the stages that are not measured."""


@dataclass(frozen=True)
class Span:
    """One run in time; UNIX times, s."""

    row: Row
    submitted: float | None
    """When it began to wait for nodes; None without a scheduler."""
    start: float | None
    """When its job or process started; None: it has not."""
    ready: float | None
    """When measured time could begin, after start-up and warm-up; None: never, or not known."""
    measured: float | None
    """When measured time ended, drawn as one without the evaluations and checkpoints in it."""
    end: float | None
    """None: it has not ended, or nobody knows when."""

    @property
    def first(self) -> float:
        """The first of its times."""
        return min(t for t in (self.submitted, self.start, self.end) if t is not None)

    def last(self, now: float) -> float:
        """The last of its times; ``now`` where it has not ended."""
        return self.first if self.end is None and not self.open else self.end or now

    @property
    def open(self) -> bool:
        """Whether it still waits or runs."""
        return self.end is None and self.row.status == Status.INCOMPLETE

    def waits_until(self, now: float) -> float | None:
        """When it stopped to wait; None where it never waited, or its wait is not known."""
        if self.submitted is None:
            return None
        return self.start if self.start is not None else self.last(now)


def span_of(row: Row) -> Span | None:
    """The times of ``row``; None where none is known, or the run was skipped."""
    if row.status == Status.SKIPPED:
        return None
    process, job = seconds_of(row.started_at), seconds_of(row.slurm_started_at)
    start = process if job is None else job
    end = seconds_of(row.ended_at)
    if end is None and process is not None and row.total_s is not None:
        end = process + row.total_s
    submitted = seconds_of(row.submitted_at)
    if end is not None and start is not None and end < start:
        end = None  # of an earlier try
    if start is None and submitted is None:
        return None
    ready = measured = None
    if process is not None and row.startup_s is not None:
        ready = process + row.startup_s + (row.warmup_s or 0.0)
        if row.time_s is not None:
            measured = ready + row.time_s
    return Span(row, submitted, start, ready, measured, end)


@dataclass(frozen=True)
class Line:
    """Runs that belong together, and their name."""

    stage: str
    label: str
    spans: tuple[Span, ...]
    """By their first time."""

    def lanes(self, now: float) -> list[list[Span]]:
        """The runs, such that those of one lane do not overlap."""
        lanes: list[list[Span]] = []
        for span in self.spans:
            free = next((lane for lane in lanes if lane[-1].last(now) <= span.first), None)
            if free is None:
                lanes.append([span])
            else:
                free.append(span)
        return lanes


@dataclass(frozen=True)
class Timeline:
    """All runs whose times are known, by configuration."""

    configurations: tuple[Line, ...]
    unknown: int
    """Number of runs that were made at times that are not known."""

    @classmethod
    def of(cls, comparison: Comparison) -> "Timeline":
        """The runs of ``comparison``, in the order of its tables; other stages first."""
        lines = []
        unknown = 0
        for stage, label, rows in _configurations(comparison):
            spans = [span for row in rows if (span := span_of(row)) is not None]
            made = [row for row in rows if row.node_hours is not None or row.time_s is not None]
            unknown += max(0, len(made) - len(spans))
            if spans:
                lines.append(Line(stage, label, tuple(sorted(spans, key=lambda s: s.first))))
        return cls(tuple(lines), unknown)

    @cached_property
    def spans(self) -> list[Span]:
        """All runs."""
        return [span for line in self.configurations for span in line.spans]

    @cached_property
    def first(self) -> float:
        """When the first run was submitted or started."""
        return min(span.first for span in self.spans)

    @cached_property
    def now(self) -> float:
        """The last time that any run knows: where what has not ended is drawn to."""
        times = (t for s in self.spans for t in (s.submitted, s.start, s.measured, s.end))
        return max(t for t in times if t is not None)

    @cached_property
    def sessions(self) -> list[tuple[float, float]]:
        """Start and end of each time in which runs waited or ran, without long pauses."""
        busy = merged((span.first, span.last(self.now)) for span in self.spans)
        shortest = max(_PAUSE_S, _PAUSE * sum(end - start for start, end in busy))
        return merged(busy, shortest)

    @cached_property
    def waiting_s(self) -> float:
        """Seconds in which runs waited and none ran."""
        running = merged(
            (span.start, span.last(self.now)) for span in self.spans if span.start is not None
        )
        waits = merged(
            (span.submitted, until)
            for span in self.spans
            if span.submitted is not None and (until := span.waits_until(self.now)) is not None
        )
        return _length(merged([*running, *waits])) - _length(running)


def merged(times: Iterable[tuple[float, float]], gap: float = 0.0) -> list[tuple[float, float]]:
    """``times`` (start, end) in order, those that are at most ``gap`` apart as one."""
    found: list[tuple[float, float]] = []
    for start, end in sorted(times):
        if found and start <= found[-1][1] + gap:
            found[-1] = found[-1][0], max(found[-1][1], end)
        else:
            found.append((start, end))
    return found


def _length(times: Sequence[tuple[float, float]]) -> float:
    return sum(end - start for start, end in times)


def _configurations(comparison: Comparison) -> Iterator[tuple[str, str, Sequence[Row]]]:
    """Stage, label and runs of each configuration; of a stage that is not measured, of it all."""
    known: set[int] = set()
    lines = []
    for stage in comparison.stages:
        for one in stage.configurations:
            rows = (*one.group.measured, *one.group.others)
            known |= {id(row) for row in rows}
            lines.append((stage.table.title, stage.label(one), rows))
    others: dict[str, list[Row]] = {}
    for row in comparison.rows:
        if id(row) not in known:
            others.setdefault(row.stage or "other runs", []).append(row)
    for name, found in others.items():
        yield *_UNMEASURED.get(name, (name.capitalize(), "runs")), found
    yield from lines
