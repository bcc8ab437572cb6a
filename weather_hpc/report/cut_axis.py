"""An axis of time without the pauses between sessions."""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from itertools import pairwise

_GAP, _GAPS = 0.025, 0.25
"""Width of a pause, and of all pauses at most, as a share of the time shown."""
NARROWEST = 0.015
"""A pause that is a smaller share of the axis has no room for words."""
_APART = 0.025
"""Share of the axis between two labels, at least."""
_STEPS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200)
_DAY = 86_400
_TICKS = 12
"""About so many labels on the whole axis."""


@dataclass(frozen=True)
class CutAxis:
    """Places of UNIX times: seconds of the sessions, and a gap of equal width for each pause."""

    sessions: Sequence[tuple[float, float]]
    """Start and end of each, in order, UNIX times."""

    @cached_property
    def shown_s(self) -> float:
        """Seconds of all sessions together, at least 1."""
        return max(1.0, sum(end - start for start, end in self.sessions))

    @property
    def gap(self) -> float:
        """Width of a pause."""
        return min(_GAP, _GAPS / max(1, len(self.sessions) - 1)) * self.shown_s

    @property
    def length(self) -> float:
        """Of the axis."""
        return self.shown_s + self.gap * (len(self.sessions) - 1)

    @cached_property
    def starts(self) -> list[float]:
        """The place where each session begins."""
        places, place = [], 0.0
        for start, end in self.sessions:
            places.append(place)
            place += end - start + self.gap
        return places

    def place(self, time: float) -> float:
        """Where ``time`` is; one in a pause is at the end of the session before."""
        number = bisect_right(self._begins, time) - 1
        if number < 0:
            return 0.0
        start, end = self.sessions[number]
        return self.starts[number] + min(time, end) - start

    def time(self, place: float) -> float:
        """The UNIX time at ``place``; of a place in a pause the end of the session before."""
        number = max(0, bisect_right(self.starts, place) - 1)
        start, end = self.sessions[number]
        return min(start + place - self.starts[number], end)

    @cached_property
    def _begins(self) -> list[float]:
        return [start for start, _ in self.sessions]

    @property
    def pauses(self) -> list[tuple[float, float]]:
        """Place of the middle of each pause, and its length in seconds."""
        return [
            (place - self.gap / 2, after[0] - before[1])
            for place, before, after in zip(
                self.starts[1:], self.sessions, self.sessions[1:], strict=False
            )
        ]

    def ticks(self) -> tuple[list[float], list[str], str]:
        """Places and labels of round times since the start of each session, and their unit."""
        least = self.shown_s / _TICKS
        days = (n * _DAY for n in (1, 2, 5, 7, 14, 28, 56, 112, 365, 730, 3650, 36_500))
        step = next((s for s in (*_STEPS, *days) if s >= least), 10**9)
        unit, seconds = next(
            (name, size)
            for name, size in (("days", _DAY), ("hours", 3600), ("minutes", 60), ("seconds", 1))
            if step % size == 0 or (step >= size and step * 2 % size == 0)
        )
        places: list[float] = []
        labels: list[str] = []
        for (start, end), place in zip(self.sessions, self.starts, strict=True):
            for number in range(int((end - start) // step) + 1):
                at = place + number * step
                if not places or at - places[-1] >= _APART * self.length:
                    places.append(at)
                    labels.append(f"{number * step / seconds:g}")
        return places, labels, unit


def date_text(time: float) -> str:
    """``29 Nov 2026 02:50 UTC``."""
    return f"{datetime.fromtimestamp(time, UTC):%d %b %Y %H:%M} UTC"


def duration_text(seconds: float) -> str:
    """``2 d 3 h``, ``3 h 20 min``, ``2 min 5 s`` or ``12 s``."""
    whole = round(seconds)
    sizes = (("d", _DAY), ("h", 3600), ("min", 60), ("s", 1))
    for (name, size), (smaller, part) in pairwise(sizes):
        if whole >= size:
            rest = whole % size // part
            return f"{whole // size} {name}" + (f" {rest} {smaller}" if rest else "")
    return f"{seconds:.2g} s" if seconds < 10 else f"{whole} s"
