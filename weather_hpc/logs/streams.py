"""stdout and stderr of one job, in two files, as one run."""

import re
from collections.abc import Sequence
from math import isfinite
from pathlib import Path

from weather_hpc.logs.compression import without_suffix
from weather_hpc.logs.epochs import NOTHING, EpochSeries, filled
from weather_hpc.logs.tally import Tally

_WORDS = {
    "out": "err", "stdout": "stderr", "output": "error", "o": "e", "ou": "er", "log": "err",
}  # fmt: skip
"""What names a job's stdout in a file's name, and its stderr."""

_WORD = re.compile(
    r"(?:^|(?<=[._-]))(stdout|stderr|output|error|out|err)(?![a-z])"
    r"|(?<=\.)(?:(o|e)(?=\d)|(ou|er|log)\Z)"
)


def jobs(files: Sequence[Path]) -> list[tuple[Path, ...]]:
    """``files`` in their order; what a job wrote to stdout, with what it wrote to stderr.

    Their names differ in nothing but such words: ``a.out`` and ``a.err``, ``a.o41`` and ``a.e41``,
    ``a_stdout.txt`` and ``a_stderr.txt``, or ``a.log`` and ``a.err``; both lie in one folder.
    """
    spelled = {(file.parent, without_suffix(file.name).lower()): file for file in files}
    partner: dict[Path, Path] = {}
    for word, other in _WORDS.items():  # a.log is stdout only where there is no a.out
        for (folder, name), file in spelled.items():
            for found in _WORD.finditer(name):
                error = name[: found.start()] + other + name[found.end() :]
                second = spelled.get((folder, error))
                if found[0] == word and second is not None and second not in partner.values():
                    partner.setdefault(file, second)
    seconds = set(partner.values())
    return [
        (file, partner[file]) if file in partner else (file,)
        for file in files
        if file not in seconds
    ]


def first_difference(one: Tally, other: Tally) -> int | None:
    """The first epoch for which both print a value and not the same one; None: there is none.

    Values that differ in nothing but the digits printed are the same.
    """
    differ = [
        epoch
        for rank in one.ranks.keys() & other.ranks.keys()
        for epoch, values in one.ranks[rank].epochs.items()
        if not _alike(values, other.ranks[rank].epochs.get(epoch, ()))
    ]
    return min(differ, default=None)


def _alike(one: Sequence[float | None], other: Sequence[float | None]) -> bool:
    for a, b in zip(one, other, strict=False):
        if a is None or b is None or not (isfinite(a) and isfinite(b)):
            continue
        digits = min(len(repr(value).partition(".")[2]) for value in (a, b))
        if abs(a - b) > 1.01 * 10.0**-digits:
            return False
    return True


def are_two_runs(one: Tally, other: Tally) -> bool:
    """Whether both have a run of their own: a total each, and values that differ."""
    return bool(one.totals and other.totals) and first_difference(one, other) is not None


def richer_first(one: Tally, other: Tally) -> tuple[Tally, Tally]:
    """Both, the one with epochs first, of two the one with a total, of two the first."""
    order = [(bool(each.ranks), bool(each.totals)) for each in (one, other)]
    return (other, one) if order[1] > order[0] else (one, other)


def share_facts(one: Tally, other: Tally) -> None:
    """Before they are closed: what one of them alone says, and how the job ended, is of both."""
    for mine, theirs in ((one, other), (other, one)):
        for name, values in theirs.facts.items():
            mine.facts.setdefault(name, dict(values))
    ends = [each.failure for each in (one, other) if each.failure is not None]
    if ends:
        one.failure = other.failure = ends[0].or_better(ends[-1])


def join(main: Tally, more: Tally) -> None:
    """Give ``main`` what it lacks and ``more`` has, once both are closed."""
    # a number alone is a total only in its own format
    if not main.totals and (main.form is more.form or not more.form.file.total_per_rank):
        main.totals, main.total_lines = more.totals, more.total_lines
        main.open_total, main.whole_process = more.open_total, more.whole_process
    if first_difference(main, more) is None:
        for rank in main.ranks.keys() & more.ranks.keys():
            _complete(main.ranks[rank], more.ranks[rank])


def _complete(series: EpochSeries, other: EpochSeries) -> None:
    for epoch, values in series.epochs.items():
        series.epochs[epoch] = filled(values, other.epochs.get(epoch, NOTHING))
