"""How many times as fast one configuration is as another, and how that is said."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from weather_hpc.analysis.groups import Group
from weather_hpc.analysis.statistics import CLAIMS_95_FROM
from weather_hpc.text import brief


@dataclass(frozen=True)
class Ratio:
    """How many times as fast one configuration is as another."""

    value: float
    low: float | None
    high: float | None
    runs: int
    """The fewest of either."""
    case: object = None
    """What tells it from the other cases, such as the batch size."""

    @classmethod
    def of(cls, group: Group, other: Group, case: object = None) -> "Ratio | None":
        """``group`` against ``other``; None where a speed is not known."""
        value = group.speedup(other)
        if not value:
            return None
        low, high = group.speedup_interval(other)
        return cls(value, low, high, min(len(group.speeds), len(other.speeds)), case)

    @property
    def direction(self) -> int:
        """1: faster, -1: slower, 0: the interval has both. Without an interval, by the value."""
        low, high = self.low or self.value, self.high or self.value
        return 1 if low > 1 else -1 if high < 1 else 0


@dataclass(frozen=True)
class Ratios:
    """The same comparison in several cases."""

    parts: Sequence[Ratio]

    @property
    def direction(self) -> int | None:
        """That of all; None where they differ."""
        found = {one.direction for one in self.parts}
        return found.pop() if len(found) == 1 else None

    @property
    def middle(self) -> float:
        """The geometric mean."""
        return math.exp(sum(math.log(one.value) for one in self.parts) / len(self.parts))

    @property
    def size(self) -> float:
        """The logarithm of the factor, without a sign."""
        return abs(math.log(self.middle))

    def range(self, slower: bool) -> str:
        """The interval of the only case, or the values of all, as they are told."""
        if len(self.parts) == 1:
            (one,) = self.parts
            if one.low is None or one.high is None:
                return runs_words(one.runs)
            ends = one.low, one.high
            name = "95 % interval " if one.runs >= CLAIMS_95_FROM else "range "
        else:
            values = [one.value for one in self.parts]
            ends, name = (min(values), max(values)), ""
        low, high = sorted(1 / end if slower else end for end in ends)
        middle = 1 / self.middle if slower else self.middle
        texts = [times(end, like=middle) for end in (low, high)]
        if texts[0] == texts[1] and len(self.parts) == 1:
            texts = [brief(end) for end in (low, high)]
        fewest = min(one.runs for one in self.parts)
        few = "" if all(one.low is not None for one in self.parts) else runs_words(fewest)
        span = f"{name}{' to '.join(texts)}" if texts[0] != texts[1] else ""
        return "; ".join(filter(None, [span, few]))


def runs_words(runs: int) -> str:
    """How few runs a ratio without an interval comes from."""
    return "one run each" if runs == 1 else f"{runs} runs each"


def times(ratio: float, like: float | None = None) -> str:
    """``2.6`` or ``1.44``: three digits where two would hide much; as many decimals as ``like``."""
    size = ratio if like is None else like
    return f"{ratio:.{2 if size < 1.95 else 1 if size < 9.95 else 0}f}"


def said(one: str, ratios: Ratios, other: str, *, weak: bool = False, plural: bool = True) -> str:
    """``4 GPUs take 2.6 times as long as 1``."""
    ratio = ratios.middle
    if weak:
        verb = "handle" if plural else "handles"
        return f"{one} {verb} {times(ratio)} times the images per second of {other}"
    if ratio < 1:
        verb = "take" if plural else "takes"
        return f"{one} {verb} {times(1 / ratio)} times as long as {other}"
    return f"{one} {'are' if plural else 'is'} {times(ratio)} times as fast as {other}"
