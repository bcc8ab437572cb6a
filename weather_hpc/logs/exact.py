"""Exact: the commonest line of a format read many at once, for logs of gigabytes."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise, repeat

from weather_hpc.logs.series import MOST_DIGITS, Figures

GROUPS = dict.fromkeys(("rank", "epoch", "loss", "accuracy", "time_s")).keys()
"""What an exact line may tell, as plain numbers."""

Run = tuple[Sequence[bytes], Sequence[tuple[bytes | None, int, Figures]]]
"""Lines that are not exact; then the exact ones that follow: rank as printed, epoch, figures."""


@dataclass(frozen=True)
class Exact:
    """One expression that is matched against whole lines, their case kept and no prefix allowed.

    Splitting by it leaves every figure in a column of its own, which becomes numbers without a
    step of the interpreter for each line.
    """

    regex: re.Pattern[bytes]

    @classmethod
    def compiled(cls, source: str) -> "Exact":
        """``source`` with groups of GROUPS, ``epoch`` among them."""
        # a line's end before it, not (?m)^: a literal is searched for many times faster
        return cls(re.compile(b"\n(?:" + source.encode() + b")(?![^\n])"))

    def first(self, text: bytes) -> bytes | None:
        """The first exact line of ``text``; None where there is none."""
        found = self.regex.search(b"\n" + text)
        return None if found is None else found[0][1:]

    def runs(self, text: bytes) -> Iterator[Run]:
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
        figures = zip(reals("loss"), reals("accuracy"), reals("time_s"), strict=True)
        lines = list(zip(ranks, map(int, epochs), figures, strict=True))
        marks = [number for number, gap in enumerate(gaps) if gap]
        if marks[:1] != [0]:
            yield (), lines[: marks[0] if marks else None]
        for mark, following in pairwise([*marks, len(gaps)]):
            yield gaps[mark][1:].split(b"\n"), lines[mark:following]
