"""How many runs of each line of the sweep waited and ran, where they are too many for bars."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from weather_hpc.report.cut_axis import CutAxis
from weather_hpc.report.span_parts import WAITING, parts
from weather_hpc.report.timeline import Line

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

_BINS, _MOST_VALUES = 300, 6000
"""Intervals of the axis, and of all lines together at most."""


@dataclass(frozen=True)
class RunCounts:
    """Mean numbers of runs between each two edges."""

    edges: "Array"
    """Places on the axis, one more than intervals."""
    lines: tuple[tuple[Line, "Array", "Array"], ...]
    """Each line, its runs that waited and those under way, by interval."""

    @classmethod
    def of(cls, lines: Sequence[Line], axis: CutAxis, now: float) -> "RunCounts":
        """The runs of ``lines``; those that have not ended go on until ``now``, UNIX time."""
        import numpy as np

        bins = min(_BINS, _MOST_VALUES // len(lines))
        edges = np.linspace(0.0, axis.length, bins + 1)
        counts = []
        for line in lines:
            found = [part for span in line.spans for part in parts(span, now)]
            waiting, running = (
                [
                    (axis.place(begin), axis.place(end))
                    for kind, begin, end in found
                    if (kind == WAITING) is wanted
                ]
                for wanted in (True, False)
            )
            counts.append((line, _mean_number(waiting, edges), _mean_number(running, edges)))
        return cls(edges, tuple(counts))

    @property
    def most(self) -> float:
        """The largest number of all; 1 where there is none."""
        return max(float(v.max()) for _, *both in self.lines for v in both) or 1.0

    def rows(self, axis: CutAxis, first: float) -> Iterator[dict[str, Any]]:
        """The numbers above 0; seconds since ``first``, UNIX time."""
        begins = [axis.time(float(edge)) - first for edge in self.edges]
        for line, queued, under_way in self.lines:
            for place in (queued + under_way).nonzero()[0]:
                yield {
                    "stage": line.stage, "configuration": line.label,
                    "begin_s": begins[place], "end_s": begins[place + 1],
                    "waiting": float(queued[place]), "running": float(under_way[place]),
                }  # fmt: skip


def _mean_number(spans: Sequence[tuple[float, float]], edges: "Array") -> "Array":
    """The mean number of ``spans`` (start, end) that are under way between each two edges."""
    import numpy as np

    def begun(times: list[float]) -> "Array":
        """Seconds since each of ``times`` that has passed, summed, at each edge."""
        ordered = np.sort(np.asarray(times, dtype=np.float64))
        before = np.searchsorted(ordered, edges)
        sums = np.concatenate(([0.0], np.cumsum(ordered)))
        return np.asarray(before * edges - sums[before])

    if not spans:
        return np.zeros(len(edges) - 1)
    starts, ends = zip(*spans, strict=True)
    seconds = begun(list(starts)) - begun(list(ends))
    return np.asarray(np.diff(seconds) / np.diff(edges))
