"""The comparison with a reference: regressions, improvements, and what cannot be compared."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from weather_hpc.analysis.statistics import Interval, overlap
from weather_hpc.analysis.table import ScalingTable, Table
from weather_hpc.collect.reference_csv import (
    IDENTITY,
    MEASUREMENTS,
    SETTINGS,
    Reference,
    ReferenceRow,
)
from weather_hpc.errors import UserError
from weather_hpc.runs.row import Code, Finding, Severity
from weather_hpc.text import counted

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
    "intervals do not overlap; an improvement is the opposite. The same holds for speedup, but a "
    "lower speedup is not a regression if the time is not one: then the baseline has become "
    "faster. The tolerance of test_accuracy is an absolute difference."
)

IMPLAUSIBLE = 5.0
"""A time shorter than the reference by more than this factor measured something else."""

_ROUNDING = 1e-5
"""Relative difference below which values are equal: tables hold six digits."""


@dataclass(frozen=True)
class Tolerance:
    """Largest difference from the reference that is not a regression."""

    time_s: float = 0.1
    """A fraction of the reference."""
    speedup: float = 0.1
    """A fraction of the reference."""
    test_accuracy: float = 0.02
    """Absolute: 0.02 is two percentage points."""

    @classmethod
    def parse(cls, text: str) -> "Tolerance":
        """``0.1`` (of times and speedups), or ``time_s=0.1,test_accuracy=0.02``.

        A name that is left out keeps its default. Raises UserError for anything else.
        """
        known = [field.name for field in fields(cls)]
        expected = f"expected a number such as 0.1, or {','.join(f'{k}=0.1' for k in known)}"
        parts = text.split(",")
        if len(parts) == 1 and "=" not in text:
            parts = [f"time_s={text}", f"speedup={text}"]
        values = {}
        for part in parts:
            name, _, number = (word.strip() for word in part.partition("="))
            try:
                values[name] = float(number)
            except ValueError:
                raise UserError(f"--tolerance {text}: {expected}") from None
            if name not in known:
                raise UserError(f"--tolerance {text}: unknown name {name!r}; {expected}")
            if not 0 <= values[name] <= 1:
                raise UserError(f"--tolerance {text}: expected a value from 0 to 1; 0.1 is 10 %")
        return cls(**values)


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

    @property
    def failed(self) -> bool:
        """Whether a nightly check fails: there is a regression, or nothing could be compared."""
        return self.regressions > 0 or self.compared == 0

    @property
    def summary(self) -> str:
        """The outcome in one line."""
        if self.compared == 0:
            return "reference: no configuration could be compared"
        worse = counted(self.regressions, "regression") if self.regressions else "no regression"
        return f"reference: {counted(self.compared, 'configuration')} compared, {worse}"


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
        matched = pairs(table, [row for row in reference.rows if row.table == table.name])
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
    if reference.unused:
        caption += f" Not used from the reference: {'; '.join(reference.unused)}."
    lines = [verdict.row for verdict in verdicts]
    result = Table("reference", "Comparison with the reference", caption, COLUMNS, lines)
    return ReferenceComparison(result, findings, regressions, compared)


@dataclass(frozen=True)
class ReferenceMatch:
    """A row of the reference and our row of the same configuration; None: there is none."""

    theirs: ReferenceRow
    ours: dict[str, Any] | None = None
    problem: str | None = None
    """Why the two cannot be compared."""


def pairs(table: ScalingTable, theirs: Sequence[ReferenceRow]) -> list[ReferenceMatch]:
    """Each of ``theirs`` with the row of ``table`` that is the same configuration.

    A setting that is missing on one side matches any value. ``problem`` says if several rows
    match, or if only other settings differ (epochs, precision, number of images).
    """
    matches = [_match(table, row) for row in theirs]
    taken = [pair.ours for pair in matches if pair.ours is not None]
    result = []
    for pair in matches:
        lines = [other.theirs.where for other in matches if other.ours is pair.ours]
        if pair.ours is not None and len(lines) > 1:
            problem = f"several rows of the reference match: {' and '.join(lines)}"
            pair = ReferenceMatch(pair.theirs, pair.ours, problem)
        elif pair.ours is None and pair.problem is None:
            pair = _match_other_work(table, pair.theirs, taken)
        result.append(pair)
    return result


def _match(table: ScalingTable, row: ReferenceRow) -> ReferenceMatch:
    """``row`` with ours of the same configuration, of the same study if that is there."""
    columns = (*IDENTITY[table.name], *SETTINGS[table.name])
    same = [ours for ours in table.rows if not _differences(columns, ours, row)]
    of_study = [ours for ours in same if ours.get("study") == row.key.get("study")]
    matching = of_study or same
    if len(matching) > 1:
        labels = "; ".join(map(table.label, matching))
        return ReferenceMatch(row, None, f"{len(matching)} configurations here match: {labels}")
    return ReferenceMatch(row, matching[0] if matching else None)


def _match_other_work(
    table: ScalingTable, row: ReferenceRow, taken: Sequence[dict[str, Any]]
) -> ReferenceMatch:
    """``row`` with ours of the same identity, if one alone is left; its settings differ."""
    named = [
        ours for ours in table.rows
        if not _differences(IDENTITY[table.name], ours, row)
        and not any(ours is other for other in taken)
    ]  # fmt: skip
    if len(named) != 1:
        return ReferenceMatch(row)
    return ReferenceMatch(
        row, named[0], "; ".join(_differences(SETTINGS[table.name], named[0], row))
    )


def _differences(columns: Sequence[str], ours: Mapping[str, Any], row: ReferenceRow) -> list[str]:
    """The settings that both sides have with different values."""
    return [
        f"{column} {ours[column]} here, {row.key[column]} in the reference"
        for column in columns
        if ours.get(column) is not None
        and column in row.key
        and not _equal(ours[column], row.key[column])
    ]


def _equal(ours: Any, theirs: Any) -> bool:
    """Whether two settings are equal; tables hold six digits of a number."""
    if isinstance(ours, float) and isinstance(theirs, float):
        return math.isclose(ours, theirs, rel_tol=1e-5)
    return bool(ours == theirs)


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
    if all(ours.get(name) is None for name in names):
        reason = (ours.get("note") or "has no such value") if ours else None
        yield verdict(names[0], MISSING, reason)
        return
    time_ok = False
    for name in names:
        if ours.get(name) is None:
            yield verdict(name, MISSING)
            continue
        limit = getattr(tolerance, name)
        outcome, explanation = _compare(name, ours, theirs.values, limit)
        if name == "time_s":
            time_ok = outcome != REGRESSION
        elif name == "speedup" and outcome == REGRESSION and time_ok:
            outcome = OK
            explanation = "time_s is no regression; the baseline is faster or a different one"
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
    if better and name == "time_s" and there > here * IMPLAUSIBLE:
        return NOT_COMPARED, f"{there / here:.0f} times shorter; check the unit and the work"
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
            f"{one.figure} {one.ours:.4g} against {one.reference:.4g} (tolerance {one.tolerance:g})"
            for one in verdicts
            if one.outcome == outcome
        ]
        text = f"{outcome}: {', '.join(values)}"
    message = f"{first.configuration}: {text}; {first.source}"
    return _mismatch(f"tables/{table.name}.csv", _SEVERITIES[outcome], message)


def _mismatch(source: str, severity: Severity, message: str) -> Finding:
    return Finding(source, severity, Code.REFERENCE_MISMATCH, message)
