"""How far the numbers can be trusted: green, amber or red, and why, in one sentence.

docs/measuring.md has the rules. A run that was skipped, for lack of a GPU for example, is no fault.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from weather_hpc.analysis.comparison import Comparison
from weather_hpc.analysis.groups import Group
from weather_hpc.analysis.statistics import median_interval
from weather_hpc.analysis.steps import repeats_needed
from weather_hpc.runs.ending import NEVER_STARTED, was_interrupted
from weather_hpc.runs.record import Status
from weather_hpc.runs.row import Code, Finding, Row, Severity
from weather_hpc.text import counted

SMALL = 0.05
"""Share of the runs or configurations up to which a disturbance is told, but changes no colour."""

LARGE = 0.5
"""Share of the runs from which failures and foreign load make the verdict red."""

WIDE = 0.2
"""Width of an interval, as a share of the median, above which it is called wide."""

OUTLYING = 0.1
"""Share of outlying runs that is usual where nothing is wrong."""

ENOUGH_REPEATS = repeats_needed(1)
"""Repeats with which a test can show that one configuration is faster than another."""

MOST_NAMED = 3
"""So many causes are named, the rest are counted."""


class Trust(StrEnum):
    """How far the numbers can be trusted."""

    GREEN = "green"
    AMBER = "amber"
    RED = "red"


@dataclass(frozen=True)
class Verdict:
    """How far the numbers can be trusted, and why, in one sentence."""

    trust: Trust
    text: str


@dataclass(frozen=True)
class Cause:
    """One reason for caution."""

    trust: Trust
    share: float
    """Of the runs, or configurations, that it touches: 0..1."""
    text: str


def verdict(comparison: Comparison, findings: Iterable[Finding]) -> Verdict | None:
    """The verdict on all measured runs; None where none was measured and none failed."""
    rows = comparison.rows
    measured = [row for row in rows if row.table is not None]
    failed = [row for row in rows if _failed(row)]
    if not measured:
        text = f"Nothing was measured: {_of(len(failed), len(rows), 'run')} failed."
        return Verdict(Trust.RED, text) if failed else None
    groups = [g for stage in comparison.stages for g in stage.groups if g.measured]
    causes = [
        *_errors(measured, findings),
        *_failures(measured, failed),
        *_warnings(measured, findings),
        *_disturbed(measured),
        *_hardware(measured),
        *_repeats(groups),
        *_spread(measured, groups),
    ]
    order = list(Trust)
    causes.sort(key=lambda cause: (-order.index(cause.trust), -cause.share))
    worst = max((cause.trust for cause in causes), key=order.index, default=Trust.GREEN)
    if worst is Trust.GREEN:
        return Verdict(worst, _sound(measured, groups, causes))
    named = [cause.text for cause in causes if cause.trust is not Trust.GREEN]
    if len(named) > MOST_NAMED:
        rest = counted(len(named) - MOST_NAMED + 1, "more cause")
        named = [*named[: MOST_NAMED - 1], f"{rest} in the audit"]
    begin = "Do not rely on these numbers" if worst is Trust.RED else "Use with care"
    return Verdict(worst, f"{begin}: {_listed(named)}.")


def _failed(row: Row) -> bool:
    """Whether it was started to be measured and has no time, for another reason than that it was
    skipped, interrupted, or is a copy."""
    if not row.is_rejected or row.status in (Status.SKIPPED, Status.OK):
        return False
    return row.reason != NEVER_STARTED and not was_interrupted(row)


def _cause(touched: int, total: int, text: str, red_from: float | None = None) -> Iterator[Cause]:
    """A cause that touches so many; green where they are few."""
    share = touched / total
    if touched:
        level = Trust.AMBER if share > SMALL else Trust.GREEN
        yield Cause(Trust.RED if red_from is not None and share >= red_from else level, share, text)


def _errors(measured: Sequence[Row], findings: Iterable[Finding]) -> Iterator[Cause]:
    """Errors in runs that are in tables, and in tables."""
    known = {row.run_id for row in measured}
    errors = [f for f in findings if f.severity is Severity.ERROR]
    runs = {f.source for f in errors if f.source in known}
    runs |= {row.run_id for row in measured if row.audit_errors}
    if runs:
        text = f"the audit found errors in {_of(len(runs), len(measured), 'run')}"
        yield Cause(Trust.RED, len(runs) / len(measured), text)
    tables = [f for f in errors if f.source.startswith("tables/") and not _of_reference(f)]
    if tables:
        text = f"the audit found {counted(len(tables), 'error')} in {tables[0].source}"
        yield Cause(Trust.RED, 1.0, text)


def _of_reference(finding: Finding) -> bool:
    """Whether it is about a difference from a reference, which tells nothing of these runs."""
    return finding.code is Code.REFERENCE_MISMATCH and "different stores" not in finding.message


def _failures(measured: Sequence[Row], failed: Sequence[Row]) -> Iterator[Cause]:
    total = len(measured) + len(failed)
    text = f"{_of(len(failed), total, 'run')} failed"
    yield from _cause(len(failed), total, text, red_from=LARGE)


_WARNINGS = {
    Code.FOREIGN_LOAD: "other processes used the CPUs in {runs}",
    Code.RESTARTED: "{runs} restarted",
    Code.INCOMPLETE_EPOCHS: "epochs are missing in {runs}",
}
"""Warnings that have their own words; the rest are told together."""


def _warnings(measured: Sequence[Row], findings: Iterable[Finding]) -> Iterator[Cause]:
    """Warnings on runs that are in tables."""
    known = {row.run_id for row in measured}
    touched: dict[Code | None, set[str]] = defaultdict(set)
    for finding in findings:
        if finding.severity is Severity.WARNING and finding.source in known:
            code = finding.code if finding.code in _WARNINGS else None
            touched[code].add(finding.source)
    touched[Code.RESTARTED] |= {row.run_id for row in measured if row.restarts}
    for code, runs in touched.items():
        words = _WARNINGS[code] if code else "the audit warns of {runs}"
        text = words.format(runs=_of(len(runs), len(measured), "run"))
        red_from = LARGE if code is Code.FOREIGN_LOAD else None
        yield from _cause(len(runs), len(measured), text, red_from)


def _disturbed(measured: Sequence[Row]) -> Iterator[Cause]:
    """Runs that had fewer CPUs than threads, or another device than they asked for."""
    total = len(measured)
    shared = sum(row.oversubscribed is not None for row in measured)
    yield from _cause(shared, total, f"workers shared CPUs in {_of(shared, total, 'run')}")
    other = sum(row.device_asked not in (None, "auto", row.device) for row in measured)
    text = f"{_of(other, total, 'run')} ran on another device than asked for"
    yield from _cause(other, total, text)


def _hardware(measured: Sequence[Row]) -> Iterator[Cause]:
    """Runs on other hardware than most of the same study, table and device."""
    models: dict[tuple[str | None, ...], Counter[tuple[object, ...]]] = defaultdict(Counter)
    for row in measured:
        if row.cpu_model or row.device_name:
            model = (row.device_name, row.cpu_model, row.cpu_count)
            models[row.study, row.table, row.device][model] += 1
    other = sum(count.total() - max(count.values()) for count in models.values())
    text = f"{_of(other, len(measured), 'run')} used other hardware than the rest"
    yield from _cause(other, len(measured), text)


def _repeats(groups: Sequence[Group]) -> Iterator[Cause]:
    few = sum(len(group.measured) < ENOUGH_REPEATS for group in groups)
    text = f"{_of(few, len(groups), 'configuration')} "
    text += "has" if few == 1 else "have"
    text += f" fewer than {ENOUGH_REPEATS} repeats"
    if few and max(len(group.measured) for group in groups) == 1:
        text = "no configuration was repeated"
    yield from _cause(few, len(groups), text)


def _spread(measured: Sequence[Row], groups: Sequence[Group]) -> Iterator[Cause]:
    """Wide intervals, and many outliers."""
    wide = sum(_is_wide(group) for group in groups)
    where = _of(wide, len(groups), "configuration")
    text = f"intervals are wider than {100 * WIDE:.0f} % of the time in {where}"
    yield from _cause(wide, len(groups), text)
    far = sum(len(group.outliers) for group in groups)
    if far > OUTLYING * len(measured):
        yield from _cause(far, len(measured), f"{_of(far, len(measured), 'run')} are outliers")


def _is_wide(group: Group) -> bool:
    (low, high), middle = median_interval(group.values("time_s")), group.median("time_s")
    if low is None or high is None or middle is None:
        return False
    return high - low > WIDE * middle


def _sound(measured: Sequence[Row], groups: Sequence[Group], causes: Sequence[Cause]) -> str:
    """What is said of a green study."""
    counts = [len(group.measured) for group in groups]
    least, most = min(counts), max(counts)
    repeats = f"{least} repeats of each" if least == most else f"{least} to {most} repeats of each"
    runs, kinds = counted(len(measured), "run"), counted(len(groups), "configuration")
    few = [cause.text for cause in causes[:1]] or ["none was disturbed"]
    return f"{runs} of {kinds}, {repeats}, no audit error; {_listed(few)}."


def _of(touched: int, total: int, noun: str) -> str:
    """``3 of 8 runs``, ``all 8 runs``, ``the only run``."""
    if touched == total:
        return f"the only {noun}" if total == 1 else f"all {total} {noun}s"
    return f"{touched} of {counted(total, noun)}"


def _listed(parts: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(parts[:-1]), parts[-1]]))
