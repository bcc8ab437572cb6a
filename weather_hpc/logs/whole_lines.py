"""WholeLine: the lines of a log that one expression reads whole, many at a time."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise, repeat

from weather_hpc.logs.epochs import MOST_DIGITS, EpochValues

WHOLE_LINE_GROUPS = dict.fromkeys(("rank", "epoch", "loss", "accuracy", "time_s")).keys()
"""What a whole line may hold, as plain numbers."""


Stretch = tuple[Sequence[bytes], Sequence[tuple[bytes | None, int, EpochValues]]]
"""Other lines; then the whole lines that follow them: rank as printed, epoch, values."""


@dataclass(frozen=True)
class WholeLine:
    """One expression that is matched against whole lines, their case kept and no prefix allowed.

    Splitting by it puts each group into a column, which is converted to numbers without running
    Python code for each line.
    """

    regex: re.Pattern[bytes]

    @classmethod
    def compiled(cls, source: str) -> "WholeLine":
        """``source`` with groups of WHOLE_LINE_GROUPS, ``epoch`` among them."""
        # a line's end before it, not (?m)^: a literal is searched for many times faster
        return cls(re.compile(b"\n(?:" + source.encode() + b")(?![^\n])"))

    def first(self, text: bytes) -> bytes | None:
        """The first whole line of ``text``; None where there is none."""
        found = self.regex.search(b"\n" + text)
        return None if found is None else found[0][1:]

    def stretches(self, text: bytes) -> Iterator[Stretch]:
        """The lines of ``text`` in their order. Raises ValueError for what is no number."""
        regex = self.regex
        width = regex.groups + 1
        parts = regex.split(b"\n" + text)
        gaps = parts[::width]

        def column(group: str) -> list[bytes]:
            return parts[regex.groupindex[group] :: width]

        def reals(group: str) -> Iterable[float | None]:
            if group in regex.groupindex:
                return map(float, column(group))
            return repeat(None, len(epochs))

        epochs = column("epoch")
        if max(map(len, epochs), default=0) > MOST_DIGITS:
            raise ValueError("more epochs than any run has")
        named = "rank" in regex.groupindex
        ranks = column("rank") if named else repeat(None, len(epochs))
        values = zip(reals("loss"), reals("accuracy"), reals("time_s"), strict=True)
        lines = list(zip(ranks, map(int, epochs), values, strict=True))
        marks = [number for number, gap in enumerate(gaps) if gap]
        if marks[:1] != [0]:
            yield (), lines[: marks[0] if marks else None]
        for mark, following in pairwise([*marks, len(gaps)]):
            yield gaps[mark][1:].split(b"\n"), lines[mark:following]
