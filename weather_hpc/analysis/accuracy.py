"""Whether the fastest configuration is as accurate as the best one."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from weather_hpc.analysis.candidates import Candidate, fastest_of
from weather_hpc.analysis.statistics import NO_INTERVAL, Z_95, Interval, wilson_interval


@dataclass(frozen=True)
class AccuracyKept:
    """The test accuracies of the fastest and of the most accurate of some configurations."""

    fastest: Candidate
    top: Candidate
    """The fastest itself where none is more accurate."""

    @classmethod
    def among(cls, candidates: Sequence[Candidate]) -> "AccuracyKept | None":
        """None where that of the fastest is not known."""
        fastest = fastest_of(candidates)
        if fastest.accuracy is None:
            return None
        top = max(candidates, key=lambda c: -1.0 if c.accuracy is None else c.accuracy)
        return cls(fastest, top if (top.accuracy or 0.0) > fastest.accuracy else fastest)

    @property
    def interval(self) -> Interval:
        """The 95 % interval of the fastest's accuracy on new images; none if they are not known."""
        images = self.fastest.group.median("test_images")
        if not images or self.fastest.accuracy is None:
            return NO_INTERVAL
        return wilson_interval(round(self.fastest.accuracy * images), round(images))

    @property
    def is_lost(self) -> bool | None:
        """Whether the top's is shown to be higher; None: not known, for want of test images."""
        return False if self.top is self.fastest else shown_higher(self.top, self.fastest)


def shown_higher(one: Candidate, other: Candidate) -> bool | None:
    """Whether the test accuracy of ``one`` is higher than that of ``other`` by more than chance.

    By the normal approximation, at 95 %; None where the accuracies or their images are not known.
    """
    images = one.group.median("test_images")
    if not images or one.accuracy is None or other.accuracy is None:
        return None
    variance = sum(a * (1 - a) for a in (one.accuracy, other.accuracy)) / images
    return one.accuracy - other.accuracy > Z_95 * math.sqrt(variance)
