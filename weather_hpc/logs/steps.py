"""StepSeries: the steps of one rank, for logs that count steps (iterations) and not epochs."""

import statistics
from dataclasses import dataclass, field

KEPT = 10_000
"""Lines whose times and rates are kept: the newest."""


@dataclass
class StepSeries:
    """What the lines of one rank's steps say."""

    first: int | None = None
    last: int = 0
    lines: int = 0
    rises: int = 0
    """Lines of a later step than the one before."""
    rewound: bool = False
    """Steps began again at or before the first one."""
    times: list[float] = field(default_factory=list)
    """Seconds per step."""
    rates: list[float] = field(default_factory=list)
    """Images per second."""

    def add(self, step: int, time: float | None, rate: float | None) -> None:
        """Take in one line."""
        self.lines += 1
        if self.first is None:
            self.first = self.last = step
        elif step > self.last:
            self.rises += 1
        elif step <= self.first and step < self.last:
            self.rewound = True
        self.last = max(self.last, step)
        for value, kept in ((time, self.times), (rate, self.rates)):
            if value is not None:
                kept.append(value)
                if len(kept) > 2 * KEPT:
                    del kept[:KEPT]

    @property
    def apart(self) -> float:
        """Steps from one line to the next."""
        return (self.last - (self.first or 0)) / max(1, self.rises)

    @property
    def time(self) -> float | None:
        """The median time of a step, s."""
        return statistics.median(self.times) if self.times else None

    @property
    def rate(self) -> float | None:
        """The median rate, images/s."""
        return statistics.median(self.rates) if self.rates else None
