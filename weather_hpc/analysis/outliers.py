"""Outliers: runs far from the median of their repeats. They are told, never left out.

The rule is the modified z-score of Iglewicz and Hoaglin (How to Detect and Handle Outliers, 1993):
0.6745 x |value - median| / MAD above 3.5, where MAD is the median distance from the median. It
needs five repeats. The MAD counts as at least 1 % of the median, so that of repeats that are
nearly equal, such as times in whole seconds, none is called an outlier within 5 %.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from weather_hpc.analysis.statistics import median

FEWEST = 5
THRESHOLD = 3.5
NORMAL = 0.6745
"""MAD over standard deviation, of a normal distribution."""
LEAST_SPREAD = 0.01
"""The smallest MAD, as a share of the median."""


@dataclass(frozen=True)
class Outlier:
    """One value among repeats that is far from their median."""

    position: int
    """Its index among the values."""
    value: float
    median: float
    score: float
    """Modified z-score, without a sign."""


def find_outliers(values: Sequence[float]) -> list[Outlier]:
    """The outliers among ``values``, which are above 0; none among fewer than five."""
    middle = median(values)
    if middle is None or len(values) < FEWEST:
        return []
    distances = [abs(value - middle) for value in values]
    spread = max(median(distances) or 0.0, LEAST_SPREAD * middle)
    if spread == 0:
        return []
    scores = [NORMAL * distance / spread for distance in distances]
    return [
        Outlier(position, values[position], middle, score)
        for position, score in enumerate(scores)
        if score > THRESHOLD
    ]
