"""Comparing what was collected with figures of another day, so that a slowdown is found."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from weather_hpc.analysis.table import ScalingTable, Table
from weather_hpc.collect.reference_csv import (
    FIGURES,
    IDENTITY,
    SETTINGS,
    Reference,
    ReferenceRow,
    load_reference,
)
from weather_hpc.errors import UserError
from weather_hpc.runs.row import Code, Finding, Severity
from weather_hpc.text import counted


@dataclass(frozen=True)
class Pair:
    """A row of the reference, and what was found of ours for it."""

    theirs: ReferenceRow
    ours: dict[str, Any] | None = None
    problem: str | None = None
    """Why the two cannot be compared."""


def pairs(table: ScalingTable, theirs: Sequence[ReferenceRow]) -> list[Pair]:
    """Each of ``theirs`` with the row of ``table`` that is the same configuration.

    A key that one side does not tell fits any. Where that leaves several to choose from, or where
    only other settings differ (epochs, precision, number of images), ``problem`` says so.
    """
    found = [_exact(table, row) for row in theirs]
    taken = [pair.ours for pair in found if pair.ours is not None]
    result = []
    for pair in found:
        rivals = [p.theirs.where for p in found if p.ours is pair.ours]
        if pair.ours is not None and len(rivals) > 1:
            problem = f"several rows of the reference fit: {' and '.join(rivals)}"
            pair = Pair(pair.theirs, pair.ours, problem)
        elif pair.ours is None and pair.problem is None:
            pair = _other_work(table, pair.theirs, taken)
        result.append(pair)
    return result


def _exact(table: ScalingTable, row: ReferenceRow) -> Pair:
    columns = (*IDENTITY[table.name], *SETTINGS[table.name])
    same = [ours for ours in table.rows if not _differences(columns, ours, row)]
    of_study = [ours for ours in same if ours.get("study") == row.key.get("study")]
    fitting = of_study or same
    if len(fitting) > 1:
        labels = "; ".join(map(table.label, fitting))
        return Pair(row, None, f"{len(fitting)} configurations here fit: {labels}")
    return Pair(row, fitting[0] if fitting else None)


def _other_work(table: ScalingTable, row: ReferenceRow, taken: Sequence[dict[str, Any]]) -> Pair:
    named = [
        ours for ours in table.rows
        if not _differences(IDENTITY[table.name], ours, row)
        and not any(ours is other for other in taken)
    ]  # fmt: skip
    if len(named) != 1:
        return Pair(row)
    return Pair(row, named[0], "; ".join(_differences(SETTINGS[table.name], named[0], row)))


def _differences(columns: Sequence[str], ours: Mapping[str, Any], row: ReferenceRow) -> list[str]:
    """Where both sides tell a key and differ in it."""
    return [
        f"{column} {ours[column]} here, {row.key[column]} in the reference"
        for column in columns
        if ours.get(column) is not None
        and column in row.key
        and not _equal(ours[column], row.key[column])
    ]


def _equal(ours: Any, theirs: Any) -> bool:
    """Whether two settings are the same; tables hold six digits of a number."""
    if isinstance(ours, float) and isinstance(theirs, float):
        return math.isclose(ours, theirs, rel_tol=1e-5)
    return bool(ours == theirs)


__all__ = [
    "Reference",
    "ReferenceComparison",
    "Tolerance",
    "compare_with_reference",
    "load_reference",
]


OK, REGRESSION, IMPROVEMENT = "ok", "regression", "improvement"
MISSING, EXTRA, NOT_COMPARED = "missing here", "not in reference", "cannot be compared"

_SEVERITIES = {
    REGRESSION: Severity.ERROR,
    IMPROVEMENT: Severity.WARNING,  # the reference is out of date, or this measurement is wrong
    NOT_COMPARED: Severity.WARNING,
    MISSING: Severity.WARNING,
}
_WORST_FIRST = [REGRESSION, IMPROVEMENT, NOT_COMPARED, OK, MISSING]
"""One figure that is missing says nothing of a configuration whose others were compared."""

_CAPTION = (
    "Each configuration that was collected beside the reference {path}; ratio is ours over the "
    "reference. A time is a regression where it is longer than the reference by more than the "
    "tolerance (a fraction of it) and, where both have a 95 % interval, these do not overlap; an "
    "improvement is the same the other way round. So is speedup, except that a lower one is no "
    "regression where the time itself holds: then the baseline has become faster. test_accuracy "
    "may differ by the tolerance itself."
)

IMPLAUSIBLE = 5.0
"""A time that is so many times shorter than the reference is of something else."""

_ROUNDING = 1e-5
"""Tables hold six digits: what differs less is equal."""


@dataclass(frozen=True)
class Tolerance:
    """How far a figure may be from its reference."""

    time_s: float = 0.1
    """A fraction of the reference."""
    speedup: float = 0.1
    """A fraction of the reference."""
    test_accuracy: float = 0.02
    """Absolute: 0.02 is two points of a hundred."""

    @classmethod
    def parse(cls, text: str) -> "Tolerance":
        """``0.1`` (of times and speedups), or ``time_s=0.1,test_accuracy=0.02``.

        Raises UserError for anything else; what is not named keeps its default.
        """
        known = [field.name for field in fields(cls)]
        wanted = f"wanted is a number such as 0.1, or {','.join(f'{k}=0.1' for k in known)}"
        parts = text.split(",")
        if len(parts) == 1 and "=" not in text:
            parts = [f"time_s={text}", f"speedup={text}"]
        values = {}
        for part in parts:
            name, _, number = (word.strip() for word in part.partition("="))
            try:
                values[name] = float(number)
            except ValueError:
                raise UserError(f"--tolerance {text}: {wanted}") from None
            if name not in known:
                raise UserError(f"--tolerance {text}: no figure {name!r}; {wanted}")
            if not 0 <= values[name] <= 1:
                raise UserError(f"--tolerance {text}: is not within 0 and 1; 0.1 is 10 %")
        return cls(**values)


@dataclass(frozen=True)
class Verdict:
    """One row of reference.csv: a value of one configuration, here and in the reference."""

    configuration: str
    figure: str
    ours: float | None
    reference: float | None
    ratio: float | None
    """Ours over the reference."""
    tolerance: float | None
    verdict: str
    """OK, REGRESSION and so on, with an explanation after a colon."""
    source: str | None
    """File and line of the reference."""

    @classmethod
    def of(
        cls, label: str, theirs: ReferenceRow, figure: str, ours: float | None, verdict: str,
        tolerance: float | None = None,
    ) -> "Verdict":  # fmt: skip
        """The verdict on ``figure`` of the configuration ``label``."""
        there = theirs.figures[figure]
        ratio = ours / there if ours is not None and there else None
        return cls(label, figure, ours, there, ratio, tolerance, verdict, theirs.where)

    @property
    def outcome(self) -> str:
        """The verdict without its explanation."""
        return self.verdict.partition(":")[0]


COLUMNS = [field.name for field in fields(Verdict)]


@dataclass(frozen=True)
class ReferenceComparison:
    """What came of :func:`compare_with_reference`."""

    table: Table
    findings: list[Finding]
    regressions: int
    """Configurations that are worse than the reference."""
    compared: int
    """Configurations of which at least one figure was compared."""

    @property
    def failed(self) -> bool:
        """Whether a nightly check must not be green: a regression, or nothing was checked."""
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
    """Each row of ``tables`` beside the one row of ``reference`` that is the same configuration.

    A key that either side does not tell (a foreign table without ``device``) fits any; where
    several rows then fit, none is compared, and the verdict says why.
    """
    verdicts: list[Verdict] = []
    findings: list[Finding] = []
    outcomes: list[str] = []
    for table in tables:
        found = pairs(table, [row for row in reference.rows if row.table == table.name])
        for pair in found:
            of_pair = list(_verdicts(table, pair, tolerance))
            outcome = min((one.outcome for one in of_pair), key=_WORST_FIRST.index)
            verdicts += of_pair
            outcomes.append(outcome)
            if outcome in _SEVERITIES and (pair.ours is not None or pair.problem):
                findings.append(_finding(table, outcome, of_pair))
        absent = sum(pair.ours is None and pair.problem is None for pair in found)
        if absent:
            message = f"{counted(absent, 'configuration')} of {reference.path} not measured here"
            findings.append(_mismatch(f"tables/{table.name}.csv", Severity.WARNING, message))
        verdicts += _extra(table, found)
    regressions = outcomes.count(REGRESSION)
    compared = regressions + outcomes.count(OK) + outcomes.count(IMPROVEMENT)
    if compared == 0:
        message = f"nothing could be compared with {reference.path}; tables/reference.csv says why"
        findings.append(_mismatch("tables/reference.csv", Severity.ERROR, message))
    caption = _CAPTION.format(path=reference.path)
    if reference.unused:
        caption += f" Not used of the reference: {'; '.join(reference.unused)}."
    result = Table("reference", "Beside the reference", caption, COLUMNS, list(map(vars, verdicts)))
    return ReferenceComparison(result, findings, regressions, compared)


def _verdicts(table: ScalingTable, pair: Pair, tolerance: Tolerance) -> Iterator[Verdict]:
    """The verdicts on one row of the reference."""
    theirs, ours = pair.theirs, pair.ours or {}
    label = table.label(ours) if ours else theirs.label
    figures = [figure for figure in FIGURES if figure in theirs.figures]
    if pair.problem or all(ours.get(figure) is None for figure in figures):
        why = pair.problem or (ours and (ours.get("note") or "has no such figure"))
        verdict = (NOT_COMPARED if pair.problem else MISSING) + (f": {why}" if why else "")
        yield Verdict.of(label, theirs, figures[0], ours.get(figures[0]), verdict)
        return
    time_holds = False
    for figure in figures:
        if ours.get(figure) is None:
            yield Verdict.of(label, theirs, figure, None, MISSING)
            continue
        limit = getattr(tolerance, figure)
        verdict = _judge(figure, ours, theirs.figures, limit)
        if figure == "time_s":
            time_holds = verdict != REGRESSION
        elif figure == "speedup" and verdict == REGRESSION and time_holds:
            verdict = f"{OK}: the time holds, so the baseline is faster or another"
        yield Verdict.of(label, theirs, figure, ours[figure], verdict, limit)


def _judge(figure: str, ours: Mapping[str, Any], theirs: Mapping[str, float], limit: float) -> str:
    here, there = ours[figure], theirs[figure]
    if figure == "test_accuracy":
        worse, better = here < there - limit, here > there + limit
    else:
        below, above = here * (1 + limit) < there, here > there * (1 + limit)
        worse, better = (above, below) if figure == "time_s" else (below, above)
    if not (worse or better) or math.isclose(here, there, rel_tol=_ROUNDING):
        return OK
    if better and figure == "time_s" and there > here * IMPLAUSIBLE:
        return f"{NOT_COMPARED}: {there / here:.0f} times shorter; another unit, or other work?"
    if _overlap(_interval(figure, ours), _interval(figure, theirs)):
        return f"{OK}: within noise, the intervals overlap"
    return REGRESSION if worse else IMPROVEMENT


def _interval(figure: str, values: Mapping[str, Any]) -> tuple[float, float] | None:
    low, high = values.get(f"{figure}_low"), values.get(f"{figure}_high")
    return None if low is None or high is None else (low, high)


def _overlap(one: tuple[float, float] | None, other: tuple[float, float] | None) -> bool:
    """Whether both are known and have a value in common."""
    return one is not None and other is not None and one[0] <= other[1] and other[0] <= one[1]


def _extra(table: ScalingTable, found: Sequence[Pair]) -> Iterator[Verdict]:
    """What was measured here and is not in the reference."""
    for ours in table.measured:
        if not any(pair.ours is ours for pair in found):
            label, time_s = table.label(ours), ours["time_s"]
            yield Verdict(label, "time_s", time_s, None, None, None, EXTRA, None)


def _finding(table: ScalingTable, outcome: str, verdicts: Sequence[Verdict]) -> Finding:
    """The one finding for a configuration that is worse, better, or could not be compared."""
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
