"""The comparison with a reference: regressions, improvements, and what cannot be compared."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from weather_hpc.analysis.statistics import Interval, overlap
from weather_hpc.analysis.table import ScalingTable, Table, above
from weather_hpc.collect.reference_csv import Reference
from weather_hpc.collect.reference_match import ReferenceMatch, pairs
from weather_hpc.collect.reference_row import MEASUREMENTS
from weather_hpc.collect.reference_tolerance import Tolerance
from weather_hpc.collect.reference_units import another_unit
from weather_hpc.runs.row import Code, Finding, Severity
from weather_hpc.text import alike, brief, counted

OK, REGRESSION, IMPROVEMENT = "ok", "regression", "improvement"
MISSING, EXTRA, NOT_COMPARED = "missing here", "not in reference", "cannot be compared"

_SEVERITIES = {
    REGRESSION: Severity.ERROR,
    IMPROVEMENT: Severity.WARNING,  # the reference is out of date, or this measurement is wrong
    NOT_COMPARED: Severity.WARNING,
    MISSING: Severity.WARNING,
}
_WORST_FIRST = [REGRESSION, IMPROVEMENT, NOT_COMPARED, OK, MISSING]
"""MISSING is last: it counts only if no measurement of the configuration was compared."""

_CAPTION = (
    "Each configuration compared with the reference {path}; ratio is ours over the reference. A "
    "time is a regression if it is longer than the reference by more than the tolerance (a "
    "fraction) and, where both have an interval (docs/measuring.md gives its coverage), the "
    "intervals do not overlap; an improvement is the opposite. The same holds for speedup and "
    "images_per_s, which are worse if they are lower, but a lower speedup is not a regression if "
    "the time is not one: then the baseline has become faster. images_per_s has the tolerance of "
    "time_s; that of test_accuracy is an absolute difference."
)

IMPLAUSIBLE = 5.0
"""A run faster than the reference by more than this factor measured something else."""

_NO_RATE = "images_per_s is not known here, and the reference has no time_s"

_ROUNDING = 1e-5
"""Relative difference below which values are equal: tables hold six digits."""


@dataclass(frozen=True)
class ComparedValue:
    """A measurement of one configuration, here and in the reference."""

    configuration: str
    figure: str
    """One of MEASUREMENTS."""
    ours: float | None
    reference: float | None
    outcome: str
    """OK, REGRESSION and so on."""
    explanation: str | None = None
    tolerance: float | None = None
    source: str | None = None
    """File and line of the reference."""

    @property
    def ratio(self) -> float | None:
        """Ours over the reference."""
        return self.ours / self.reference if self.ours is not None and self.reference else None

    @property
    def verdict(self) -> str:
        """The outcome, and its explanation after a colon."""
        return f"{self.outcome}: {self.explanation}" if self.explanation else self.outcome

    @property
    def row(self) -> dict[str, Any]:
        """Its row of reference.csv."""
        return {column: getattr(self, column) for column in COLUMNS}


COLUMNS = [
    "configuration", "figure", "ours", "reference", "ratio", "tolerance", "verdict", "source",
]  # fmt: skip


@dataclass(frozen=True)
class ReferenceComparison:
    """The result of :func:`compare_with_reference`."""

    table: Table
    findings: list[Finding]
    regressions: int
    """Configurations that are worse than the reference."""
    compared: int
    """Configurations with at least one measurement that was compared."""
    reason: str | None = None
    """Why the others could not be compared: each reason, with how many values it is of."""
    notes: tuple[str, ...] = ()
    """How the reference was read, where that is not plain."""

    @property
    def failed(self) -> bool:
        """Whether a nightly check fails: there is a regression, or nothing could be compared."""
        return self.regressions > 0 or self.compared == 0

    @property
    def summary(self) -> str:
        """The outcome in one line."""
        if self.compared == 0:
            why = f": {self.reason}" if self.reason else ""
            return f"reference: no configuration could be compared{why}"
        worse = counted(self.regressions, "regression") if self.regressions else "no regression"
        notes = f" ({'; '.join(self.notes)})" if self.notes else ""
        return f"reference: {counted(self.compared, 'configuration')} compared, {worse}{notes}"


def compare_with_reference(
    tables: Sequence[ScalingTable], reference: Reference, tolerance: Tolerance
) -> ReferenceComparison:
    """Compare each row of ``tables`` with the row of ``reference`` of the same configuration.

    A setting that is missing on one side (a foreign table without ``device``) matches any value.
    If several rows match, none is compared, and the verdict says why.
    """
    verdicts: list[ComparedValue] = []
    findings: list[Finding] = []
    outcomes: list[str] = []
    for table in tables:
        theirs = [row for row in reference.rows if row.table == table.name]
        matched = _with_units(pairs(table, theirs))
        for pair in matched:
            of_pair = list(_verdicts(table, pair, tolerance))
            outcome = min((one.outcome for one in of_pair), key=_WORST_FIRST.index)
            verdicts += of_pair
            outcomes.append(outcome)
            if outcome in _SEVERITIES and (pair.ours is not None or pair.problem):
                findings.append(_finding(table, outcome, of_pair))
        absent = sum(pair.ours is None and pair.problem is None for pair in matched)
        if absent:
            message = f"{counted(absent, 'configuration')} of {reference.path} not measured here"
            findings.append(_mismatch(f"tables/{table.name}.csv", Severity.WARNING, message))
        verdicts += _extra(table, matched)
    regressions = outcomes.count(REGRESSION)
    compared = regressions + outcomes.count(OK) + outcomes.count(IMPROVEMENT)
    if compared == 0:
        message = (
            f"no configuration could be compared with {reference.path}; see tables/reference.csv"
        )
        findings.append(_mismatch("tables/reference.csv", Severity.ERROR, message))
    caption = _CAPTION.format(path=reference.path)
    if reference.notes:
        caption += f" Read from the reference: {'; '.join(reference.notes)}."
    if reference.unused:
        caption += f" Not used from the reference: {'; '.join(reference.unused)}."
    lines = [verdict.row for verdict in verdicts]
    result = Table("reference", "Comparison with the reference", caption, COLUMNS, lines)
    reason = "; ".join(_kinds(v.explanation for v in verdicts if v.outcome == NOT_COMPARED)) or None
    return ReferenceComparison(result, findings, regressions, compared, reason, reference.notes)


def _kinds(explanations: Iterable[str | None]) -> Iterator[str]:
    """Each explanation that is not another one with other numbers, the most frequent first."""
    kinds: dict[str, list[str]] = {}
    for text in filter(None, explanations):
        kinds.setdefault(alike(text), []).append(text)
    for texts in sorted(kinds.values(), key=len, reverse=True):
        yield texts[0] if len(kinds) == 1 else f"{texts[0]} ({counted(len(texts), 'value')})"


def _with_units(matches: Sequence[ReferenceMatch]) -> list[ReferenceMatch]:
    """``matches``, with the problem that all times of one file are in another unit."""
    files: dict[str, list[ReferenceMatch]] = {}
    for pair in matches:
        files.setdefault(pair.theirs.path, []).append(pair)
    problems = {path: another_unit(of_file) for path, of_file in files.items()}
    return [
        replace(pair, problem=problem)
        if pair.ours is not None and pair.problem is None and "time_s" in pair.theirs.values
        and (problem := problems[pair.theirs.path])
        else pair
        for pair in matches
    ]  # fmt: skip


def _verdicts(
    table: ScalingTable, pair: ReferenceMatch, tolerance: Tolerance
) -> Iterator[ComparedValue]:
    """The verdicts on one row of the reference."""
    theirs, ours = pair.theirs, pair.ours or {}
    label = table.label(ours) if ours else theirs.label
    names = [name for name in MEASUREMENTS if name in theirs.values]

    def verdict(
        name: str, outcome: str, explanation: str | None = None, limit: float | None = None
    ) -> ComparedValue:
        values = ours.get(name), theirs.values[name]
        return ComparedValue(label, name, *values, outcome, explanation, limit, theirs.where)

    if pair.problem:
        yield verdict(names[0], NOT_COMPARED, pair.problem)
        return
    if names == ["images_per_s"] and ours.get("time_s") and ours.get("images_per_s") is None:
        yield verdict(names[0], NOT_COMPARED, _NO_RATE)
        return
    if all(ours.get(name) is None for name in names):
        reason = (ours.get("note") or "has no such value") if ours else None
        yield verdict(names[0], MISSING, reason)
        return
    time_ok = False
    for name in names:
        if ours.get(name) is None:
            yield verdict(name, MISSING)
            continue
        limit = tolerance.of(name)
        outcome, explanation = _compare(name, ours, theirs.values, limit)
        if name == "time_s":
            time_ok = outcome != REGRESSION
        elif name == "speedup" and outcome == REGRESSION and time_ok:
            outcome = OK
            explanation = "time_s is no regression; the baseline is faster or a different one"
        if name == "speedup" and above(theirs.values[name], None, table.workers(ours)):
            told = f"the reference's is super-linear on {table.workers(ours)} workers"
            explanation = "; ".join(filter(None, (explanation, told)))
        yield verdict(name, outcome, explanation, limit)


def _compare(
    name: str, ours: Mapping[str, Any], theirs: Mapping[str, float], limit: float
) -> tuple[str, str | None]:
    """Outcome and explanation for the measurement ``name``, which both sides have."""
    here, there = ours[name], theirs[name]
    if name == "test_accuracy":
        worse, better = here < there - limit, here > there + limit
    else:
        below, above = here * (1 + limit) < there, here > there * (1 + limit)
        worse, better = (above, below) if name == "time_s" else (below, above)
    if not (worse or better) or math.isclose(here, there, rel_tol=_ROUNDING):
        return OK, None
    ratio = there / here if name == "time_s" else here / there
    if better and name in ("time_s", "images_per_s") and ratio > IMPLAUSIBLE:
        word = "shorter" if name == "time_s" else "more"
        return NOT_COMPARED, f"{ratio:.0f} times {word}; check the unit and the work"
    if overlap(_interval(name, ours), _interval(name, theirs)):
        return OK, "within noise, the intervals overlap"
    return (REGRESSION if worse else IMPROVEMENT), None


def _interval(name: str, values: Mapping[str, Any]) -> Interval:
    return values.get(f"{name}_low"), values.get(f"{name}_high")


def _extra(table: ScalingTable, matched: Sequence[ReferenceMatch]) -> Iterator[ComparedValue]:
    """Configurations that were measured here and are not in the reference."""
    for ours in table.measured:
        if not any(pair.ours is ours for pair in matched):
            yield ComparedValue(table.label(ours), "time_s", ours["time_s"], None, EXTRA)


def _finding(table: ScalingTable, outcome: str, verdicts: Sequence[ComparedValue]) -> Finding:
    """The finding on a configuration that is worse, better, or could not be compared."""
    first = verdicts[0]
    text = first.verdict
    if outcome in (REGRESSION, IMPROVEMENT):
        values = [
            f"{one.figure} {brief(one.ours, 4)} against {brief(one.reference, 4)} "
            f"(tolerance {one.tolerance:g})"
            for one in verdicts
            if one.outcome == outcome and one.ours is not None and one.reference is not None
        ]
        text = f"{outcome}: {', '.join(values)}"
    message = f"{first.configuration}: {text}; {first.source}"
    return _mismatch(f"tables/{table.name}.csv", _SEVERITIES[outcome], message)


def _mismatch(source: str, severity: Severity, message: str) -> Finding:
    return Finding(source, severity, Code.REFERENCE_MISMATCH, message)
