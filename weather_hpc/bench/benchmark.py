"""The race: contestants take turns, round by round, so that a noisy machine is fair to all.

Each contestant runs once a round, every time in a fresh process, and the order is rotated from
round to round. Times are compared within a round only: a contestant's ratio is the median over
the rounds of its time over the reference's in the same round, so that what slows the machine for
a while slows both sides of a ratio. docs/how-to/benchmarks.md tells more.
"""

import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from weather_hpc import cli
from weather_hpc.bench.measurement import Contestant, Measurement, measure
from weather_hpc.errors import FailedError, UserError
from weather_hpc.text import one_line


@dataclass(frozen=True)
class Standing:
    """How one contestant did. Without measurements, ``reason`` tells why."""

    contestant: Contestant
    measurements: dict[int, Measurement]
    """By round; it is out of the race from the round in which it fails."""
    reason: str | None
    """Why it could not run, or how it failed."""
    ratios: tuple[float, ...]
    """Its seconds over the reference's, for each round that both ran in: below 1 is faster."""

    @property
    def failed(self) -> bool:
        """Whether it could have run, and failed or was wrong."""
        return self.reason is not None and self.contestant.missing is None

    def as_dict(self) -> dict[str, Any]:
        """All figures, JSON-able; None where there is none."""
        import numpy as np

        from weather_hpc.analysis.statistics import median, median_interval

        measurements = list(self.measurements.values())
        seconds = [m.seconds for m in measurements]
        quartiles = np.percentile(seconds, (25, 75)).tolist() if seconds else (None, None)
        low, high = median_interval(self.ratios)
        memory = [m.peak_memory_mb for m in measurements if m.peak_memory_mb is not None]
        return {
            "name": self.contestant.name,
            "what": self.contestant.what,
            "threads": self.contestant.threads,
            "reason": self.reason,
            "failed": self.failed,
            "rounds": len(measurements),
            "median_s": median(seconds),
            "min_s": min(seconds, default=None),
            "quartile_1_s": quartiles[0],
            "quartile_3_s": quartiles[1],
            "ratio": median(self.ratios),
            "ratio_low": low,
            "ratio_high": high,
            "cpu_s": median([m.cpu_s for m in measurements]),
            "peak_memory_mb": max(memory, default=None),
            "foreign_cpu_percent": median([m.foreign_cpu_percent for m in measurements]),
            "measurements": [{"round": r, **asdict(m)} for r, m in self.measurements.items()],
        }


@dataclass(frozen=True)
class Result:
    """A race's end."""

    subject: str
    reference: str
    """The contestant to whom the ratios are."""
    rounds: int
    standings: tuple[Standing, ...]
    provenance: dict[str, Any]

    @property
    def failed(self) -> bool:
        """Whether a contestant failed or was wrong."""
        return any(standing.failed for standing in self.standings)

    def as_dict(self) -> dict[str, Any]:
        """All figures, JSON-able."""
        return {
            "subject": self.subject,
            "reference": self.reference,
            "rounds": self.rounds,
            "contestants": [standing.as_dict() for standing in self.standings],
            "provenance": self.provenance,
        }


def race(subject: str, contestants: Sequence[Contestant], rounds: int, reference: str) -> Result:
    """Run every contestant once a round; ``reference`` names the one that ratios are to.

    One that cannot run, fails or is wrong stays in the result with the reason.
    """
    from weather_hpc.runs.provenance import collect_provenance

    provenance = collect_provenance().model_dump(mode="json")
    reasons = {c.name: c.missing for c in contestants}
    measured: dict[str, dict[int, Measurement]] = {c.name: {} for c in contestants}

    def run(contestant: Contestant) -> Measurement | None:
        if reasons[contestant.name] is not None:
            return None
        try:
            return measure(contestant)
        except FailedError as error:
            reasons[contestant.name] = one_line(error)
            return None

    warmups = [c for c in contestants if c.warmup]
    with cli.progress("racing", total=len(warmups) + rounds * len(contestants)) as advance:
        for contestant in warmups:
            advance(0, text=f"warm-up: {contestant.name}")
            run(contestant)
            advance()
        for number in range(rounds):
            for contestant in _rotated(contestants, number):
                advance(0, text=f"round {number + 1}: {contestant.name}")
                measurement = run(contestant)
                if measurement is not None:
                    measured[contestant.name][number] = measurement
                advance()

    base = measured[reference]
    standings = tuple(
        Standing(c, measured[c.name], reasons[c.name], _ratios(measured[c.name], base))
        for c in contestants
    )
    return Result(subject, reference, rounds, standings, provenance)


def chosen(
    contestants: Sequence[Contestant], only: Sequence[str], reference: str
) -> tuple[list[Contestant], str]:
    """Those whose name contains one of ``only``, and the one of them that ratios are to.

    All where ``only`` is empty. ``reference``, where it is among them, else the first. Raises
    UserError where a text is in no name.
    """
    names = [contestant.name for contestant in contestants]
    for text in only:
        if not any(text in name for name in names):
            raise UserError(f"--only {text}: no contestant is called so; there are: {names}")
    racing = [c for c in contestants if not only or any(text in c.name for text in only)]
    return racing, reference if reference in [c.name for c in racing] else racing[0].name


def _rotated(contestants: Sequence[Contestant], number: int) -> list[Contestant]:
    first = number % len(contestants)
    return [*contestants[first:], *contestants[:first]]


def _ratios(mine: dict[int, Measurement], base: dict[int, Measurement]) -> tuple[float, ...]:
    return tuple(mine[r].seconds / base[r].seconds for r in mine if r in base)


@dataclass(frozen=True)
class Goal:
    """``faster`` is to take at most 1/``at_least`` of the time of ``slower``."""

    faster: str
    slower: str
    at_least: float
    cpu: bool
    """Whether CPU seconds are compared; otherwise those of the clock."""


def judge_all(goals: Sequence[Goal], result: "Result") -> list[dict[str, Any]]:
    """:func:`judge` for each of ``goals`` whose contestants both took part."""
    names = {standing.contestant.name for standing in result.standings}
    return [judge(goal, result) for goal in goals if {goal.faster, goal.slower} <= names]


def judge(goal: Goal, result: "Result") -> dict[str, Any]:
    """How the race went by ``goal``: its ratio, median over the rounds, and whether it is met."""
    from weather_hpc.analysis.statistics import median, median_interval

    rounds = {s.contestant.name: s.measurements for s in result.standings}
    one, other = rounds[goal.faster], rounds[goal.slower]
    ratios = [
        other[r].facts["cpu_s"] / one[r].facts["cpu_s"]
        if goal.cpu
        else other[r].seconds / one[r].seconds
        for r in one
        if r in other
    ]
    ratio = median(ratios)
    low, high = median_interval(ratios)
    return {
        "faster": goal.faster,
        "slower": goal.slower,
        "seconds": "cpu" if goal.cpu else "clock",
        "ratio": ratio,
        "ratio_low": low,
        "ratio_high": high,
        "goal": goal.at_least,
        "met": None if ratio is None else ratio >= goal.at_least,
    }


def print_goals(judged: Sequence[dict[str, Any]]) -> None:
    """Tell on stderr what :func:`judge` found."""
    for goal in judged:
        ratio = "not measured" if goal["ratio"] is None else f"{goal['ratio']:.2f} times as fast"
        if goal["ratio_low"] is not None:
            ratio += f" (95 % interval {goal['ratio_low']:.2f} to {goal['ratio_high']:.2f})"
        state = {True: "met", False: "missed", None: "open"}[goal["met"]]
        print(
            f"goal {state}: {goal['faster']} / {goal['slower']} ({goal['seconds']} s): {ratio}, "
            f"at least {goal['goal']:g} wanted",
            file=sys.stderr,
        )
