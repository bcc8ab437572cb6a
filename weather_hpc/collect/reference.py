"""Comparing what was collected with figures of another day, so that a slowdown is found."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from weather_hpc.analysis.table import ScalingTable, Table
from weather_hpc.collect.reference_csv import (
    FIGURES,
    Reference,
    ReferenceRow,
    load_reference,
)
from weather_hpc.collect.reference_match import Pair, pairs
from weather_hpc.errors import UserError
from weather_hpc.runs.finding import Code, Finding, Severity
from weather_hpc.text import counted

__all__ = [
    "Reference",
    "ReferenceComparison",
    "Tolerance",
    "compare_with_reference",
    "load_reference",
]

COLUMNS = [
    "configuration", "figure", "ours", "reference", "ratio", "tolerance", "verdict", "source",
]  # fmt: skip

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
    lines: list[dict[str, Any]] = []
    findings: list[Finding] = []
    outcomes: list[str] = []
    for table in tables:
        found = pairs(table, [row for row in reference.rows if row.table == table.name])
        for pair in found:
            told = list(_told(table, pair, tolerance))
            outcome = min((_word(line) for line in told), key=_WORST_FIRST.index)
            lines += told
            outcomes.append(outcome)
            if outcome in _SEVERITIES and (pair.ours is not None or pair.problem):
                findings.append(_finding(table, outcome, told))
        absent = sum(pair.ours is None and pair.problem is None for pair in found)
        if absent:
            message = f"{counted(absent, 'configuration')} of {reference.path} not measured here"
            findings.append(_mismatch(f"tables/{table.name}.csv", Severity.WARNING, message))
        lines += _extra(table, found)
    regressions = outcomes.count(REGRESSION)
    compared = regressions + outcomes.count(OK) + outcomes.count(IMPROVEMENT)
    if compared == 0:
        message = f"nothing could be compared with {reference.path}; tables/reference.csv says why"
        findings.append(_mismatch("tables/reference.csv", Severity.ERROR, message))
    caption = _CAPTION.format(path=reference.path)
    if reference.unused:
        caption += f" Not used of the reference: {'; '.join(reference.unused)}."
    result = Table("reference", "Beside the reference", caption, COLUMNS, lines)
    return ReferenceComparison(result, findings, regressions, compared)


def _told(table: ScalingTable, pair: Pair, tolerance: Tolerance) -> Iterator[dict[str, Any]]:
    """The lines of the comparison for one row of the reference."""
    theirs, ours = pair.theirs, pair.ours or {}
    label = table.label(ours) if ours else theirs.label
    figures = [figure for figure in FIGURES if figure in theirs.figures]
    if pair.problem or all(ours.get(figure) is None for figure in figures):
        why = pair.problem or (ours and (ours.get("note") or "has no such figure"))
        verdict = (NOT_COMPARED if pair.problem else MISSING) + (f": {why}" if why else "")
        yield _line(label, theirs, figures[0], ours.get(figures[0]), None, verdict)
        return
    time_holds = False
    for figure in figures:
        if ours.get(figure) is None:
            yield _line(label, theirs, figure, None, None, MISSING)
            continue
        limit = getattr(tolerance, figure)
        verdict = _judge(figure, ours, theirs.figures, limit)
        if figure == "time_s":
            time_holds = verdict != REGRESSION
        elif figure == "speedup" and verdict == REGRESSION and time_holds:
            verdict = f"{OK}: the time holds, so the baseline is faster or another"
        yield _line(label, theirs, figure, ours[figure], limit, verdict)


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


def _line(
    label: str, theirs: ReferenceRow, figure: str, ours: float | None, limit: float | None,
    verdict: str,
) -> dict[str, Any]:  # fmt: skip
    there = theirs.figures[figure]
    values = [label, figure, ours, there, ours / there if ours is not None and there else None,
              limit, verdict, theirs.where]  # fmt: skip
    return dict(zip(COLUMNS, values, strict=True))


def _extra(table: ScalingTable, found: Sequence[Pair]) -> Iterator[dict[str, Any]]:
    """What was measured here and is nowhere in the reference."""
    for ours in table.measured:
        if not any(pair.ours is ours for pair in found):
            told = {"configuration": table.label(ours), "figure": "time_s", "verdict": EXTRA}
            yield dict.fromkeys(COLUMNS) | told | {"ours": ours["time_s"]}


def _word(line: Mapping[str, Any]) -> str:
    """The verdict without its explanation."""
    return str(line["verdict"]).partition(":")[0]


def _finding(table: ScalingTable, outcome: str, lines: Sequence[Mapping[str, Any]]) -> Finding:
    """The one finding for a configuration that is worse, better, or could not be compared."""
    label, where = lines[0]["configuration"], lines[0]["source"]
    text = str(lines[0]["verdict"])
    if outcome in (REGRESSION, IMPROVEMENT):
        figures = [
            f"{line['figure']} {line['ours']:.4g} against {line['reference']:.4g}"
            f" (tolerance {line['tolerance']:g})"
            for line in lines
            if _word(line) == outcome
        ]
        text = f"{outcome}: {', '.join(figures)}"
    source = f"tables/{table.name}.csv"
    return _mismatch(source, _SEVERITIES[outcome], f"{label}: {text}; {where}")


def _mismatch(source: str, severity: Severity, message: str) -> Finding:
    return Finding(source, severity, Code.REFERENCE_MISMATCH, message)
