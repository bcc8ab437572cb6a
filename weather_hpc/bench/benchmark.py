"""A benchmark: implementations run in turn, round by round, so that noise affects all alike.

Each implementation runs once a round, in a fresh process, and the order rotates from round to
round. Times are compared within a round only: the ratio of an implementation is the median over
the rounds of its time divided by the reference's time in the same round, so a slow phase of the
machine slows both sides of a ratio. See docs/how-to/benchmarks.md.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from weather_hpc import cli
from weather_hpc.bench.measurement import Implementation, Measurement, measure
from weather_hpc.errors import FailedError, UserError
from weather_hpc.text import one_line


@dataclass(frozen=True)
class ImplementationResult:
    """The measurements of one implementation; without any, ``reason`` says why."""

    implementation: Implementation
    measurements: dict[int, Measurement]
    """By round; none from the round on in which it failed."""
    reason: str | None
    """Why it could not run, or how it failed."""
    ratios: tuple[float, ...]
    """Its seconds divided by the reference's, for each round that has both; below 1 is faster."""

    @property
    def failed(self) -> bool:
        """Whether it could run, and failed or had a wrong result."""
        return self.reason is not None and self.implementation.missing is None

    def as_dict(self) -> dict[str, Any]:
        """JSON-able; None where there is no value."""
        import numpy as np

        from weather_hpc.analysis.statistics import median, median_interval

        measurements = list(self.measurements.values())
        seconds = [m.seconds for m in measurements]
        quartiles = np.percentile(seconds, (25, 75)).tolist() if seconds else (None, None)
        low, high = median_interval(self.ratios)
        memory = [m.peak_memory_mb for m in measurements if m.peak_memory_mb is not None]
        return {
            "name": self.implementation.name,
            "what": self.implementation.what,
            "threads": self.implementation.threads,
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
class BenchmarkResult:
    """The results of all implementations."""

    subject: str
    reference: str
    """Name of the implementation that ratios refer to."""
    rounds: int
    results: tuple[ImplementationResult, ...]
    provenance: dict[str, Any]

    @property
    def failed(self) -> bool:
        """Whether an implementation failed or had a wrong result."""
        return any(result.failed for result in self.results)

    def as_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return {
            "subject": self.subject,
            "reference": self.reference,
            "rounds": self.rounds,
            "contestants": [result.as_dict() for result in self.results],
            "provenance": self.provenance,
        }


def run_benchmark(
    subject: str, implementations: Sequence[Implementation], rounds: int, reference: str
) -> BenchmarkResult:
    """Run every implementation once a round; ``reference`` names the one that ratios refer to.

    One that cannot run, fails or has a wrong result stays in the result, with the reason.
    """
    from weather_hpc.runs.provenance import collect_provenance

    provenance = collect_provenance().model_dump(mode="json")
    reasons = {i.name: i.missing for i in implementations}
    measured: dict[str, dict[int, Measurement]] = {i.name: {} for i in implementations}

    def run(implementation: Implementation) -> Measurement | None:
        if reasons[implementation.name] is not None:
            return None
        try:
            return measure(implementation)
        except FailedError as error:
            reasons[implementation.name] = one_line(error)
            return None

    warmups = [i for i in implementations if i.warmup]
    runs = len(warmups) + rounds * len(implementations)
    with cli.progress("measuring", total=runs) as advance:
        for implementation in warmups:
            advance(0, text=f"warm-up: {implementation.name}")
            run(implementation)
            advance()
        for number in range(rounds):
            first = number % len(implementations)
            for implementation in (*implementations[first:], *implementations[:first]):
                advance(0, text=f"round {number + 1}: {implementation.name}")
                measurement = run(implementation)
                if measurement is not None:
                    measured[implementation.name][number] = measurement
                advance()

    base = measured[reference]
    results = tuple(
        ImplementationResult(i, measured[i.name], reasons[i.name], _ratios(measured[i.name], base))
        for i in implementations
    )
    return BenchmarkResult(subject, reference, rounds, results, provenance)


def select(
    implementations: Sequence[Implementation], only: Sequence[str], reference: str
) -> tuple[list[Implementation], str]:
    """The implementations whose name contains one of ``only``, all if it is empty; the reference.

    That is ``reference`` if it is selected, else the first selected one. Raises UserError if a
    text is in no name.
    """
    names = [i.name for i in implementations]
    for text in only:
        if not any(text in name for name in names):
            raise UserError(f"--only {text}: no implementation has this in its name: {names}")
    selected = [i for i in implementations if not only or any(text in i.name for text in only)]
    return selected, reference if reference in [i.name for i in selected] else selected[0].name


def _ratios(own: dict[int, Measurement], base: dict[int, Measurement]) -> tuple[float, ...]:
    return tuple(own[r].seconds / base[r].seconds for r in own if r in base)


@dataclass(frozen=True)
class Goal:
    """``faster`` should take at most 1/``at_least`` of the time of ``slower``."""

    faster: str
    slower: str
    at_least: float
    cpu: bool
    """Whether CPU seconds are compared; otherwise wall-clock seconds."""


@dataclass(frozen=True)
class GoalResult:
    """What was measured for a goal, by the names it has in the JSON object."""

    faster: str
    slower: str
    seconds: str
    """What is compared: ``cpu`` or ``clock``."""
    ratio: float | None
    """Median over the rounds of the time of ``slower`` divided by that of ``faster``."""
    ratio_low: float | None
    ratio_high: float | None
    goal: float
    met: bool | None
    """None where nothing was measured."""
    rounds: int

    def as_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return {name: value for name, value in asdict(self).items() if name != "rounds"}

    def __str__(self) -> str:
        ratio = "not measured" if self.ratio is None else f"{self.ratio:.2f} times as fast"
        if self.ratio_low is not None:
            from weather_hpc.analysis.statistics import interval_name

            interval = interval_name(self.rounds, "rounds")
            ratio += f" ({interval} {self.ratio_low:.2f} to {self.ratio_high:.2f})"
        state = {True: "met", False: "missed", None: "open"}[self.met]
        return (
            f"goal {state}: {self.faster} / {self.slower} ({self.seconds} s): {ratio}, "
            f"goal: at least {self.goal:g}"
        )


def judge_goals(goals: Sequence[Goal], result: BenchmarkResult) -> list[GoalResult]:
    """The goals whose implementations both took part, compared with ``result``."""
    names = {one.implementation.name for one in result.results}
    return [judge(goal, result) for goal in goals if {goal.faster, goal.slower} <= names]


def judge(goal: Goal, result: BenchmarkResult) -> GoalResult:
    """Compare ``goal`` with the measurements of both implementations, round by round."""
    from weather_hpc.analysis.statistics import median, median_interval

    by_name = {one.implementation.name: one.measurements for one in result.results}
    faster, slower = by_name[goal.faster], by_name[goal.slower]
    ratios = [
        slower[r].facts["cpu_s"] / faster[r].facts["cpu_s"]
        if goal.cpu
        else slower[r].seconds / faster[r].seconds
        for r in faster
        if r in slower
    ]
    ratio = median(ratios)
    low, high = median_interval(ratios)
    met = None if ratio is None else ratio >= goal.at_least
    seconds = "cpu" if goal.cpu else "clock"
    return GoalResult(
        goal.faster, goal.slower, seconds, ratio, low, high, goal.at_least, met, len(ratios)
    )
