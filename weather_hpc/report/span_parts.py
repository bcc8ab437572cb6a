"""The parts of a run in time: waiting, starting, measured and the rest."""

from collections.abc import Iterator

from weather_hpc.report.timeline import Span
from weather_hpc.runs.row import Row

WAITING, STARTING, REST = "waiting in the queue", "start-up and warm-up", "rest of the job"
"""Kinds of parts; that of measured time is the run's method."""


def method_of(row: Row) -> str:
    """The strategy, engine or backend; of a run without one its stage."""
    return row.strategy or row.engine or row.backend or row.stage or "runs"


def parts(span: Span, now: float) -> Iterator[tuple[str, float, float]]:
    """Kind, start and end of each part of a run that has begun or waits; UNIX times, s."""
    until = span.waits_until(now)
    if span.submitted is not None and until is not None and until > span.submitted:
        yield WAITING, span.submitted, until
    if span.start is None:
        return
    last = max(span.start, span.last(now))
    ready = last if span.ready is None else min(span.ready, last)
    measured = ready if span.measured is None else min(span.measured, last)
    yield STARTING, span.start, ready
    yield method_of(span.row), ready, measured
    yield REST, measured, last
