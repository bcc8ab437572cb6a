"""Headlines: the largest effects of a study, largest first, in at most five sentences."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence

from weather_hpc.analysis.accuracy import AccuracyKept
from weather_hpc.analysis.candidates import Work, fastest_of
from weather_hpc.analysis.claims.answers import Answer
from weather_hpc.analysis.claims.table import ClaimsTable
from weather_hpc.analysis.comparison import Comparison
from weather_hpc.analysis.devices import Kind
from weather_hpc.analysis.effects import Effect, effects
from weather_hpc.analysis.groups import Group
from weather_hpc.analysis.pop import imbalances, pop_table
from weather_hpc.analysis.questions import LIMITS
from weather_hpc.analysis.ratios import Ratio, Ratios, said, times
from weather_hpc.analysis.statistics import ratio_interval
from weather_hpc.analysis.steps import Verdict
from weather_hpc.analysis.subject import Subject, subject_of
from weather_hpc.analysis.table import Table
from weather_hpc.runs.row import Code, Finding, Severity
from weather_hpc.text import brief, counted

MOST = 5
"""So many sentences are headlines."""

ASKED = 10.0
"""The size of an answer to a question that was asked: above that of a measured effect."""

SMALLEST_SHARE = 0.2
"""Share of a run's time from which its start-up is worth a sentence."""


def headlines(
    comparison: Comparison, tables: Sequence[Table], findings: Iterable[Finding] = ()
) -> list[str]:
    """The largest effects. ``tables`` are those of the analysis besides the scaling tables.

    First what makes adding workers pointless, then by the size of the effect. Of one kind of
    effect only the largest is told; nothing that an error of the audit contradicts.
    """
    by_name = {table.name: table for table in tables}
    found = [
        *effects(comparison),
        *_devices(by_name.get("devices")),
        *_claims(by_name.get("claims")),
        *_load_balance(comparison),
        *_superlinear(comparison),
    ]
    subject = subject_of(comparison)
    if subject is not None and subject.work is not None:
        work, label = subject.work, subject.label
        found += [*_startup(work, label), *_cost(work, label), *_accuracy(work, label)]
        found += _asked(by_name.get("advice"), subject)
    wrong = _wrong_tables(findings)
    found = [one for one in found if not one.kind or one.kind[0] not in wrong]
    found.sort(key=lambda one: (not one.first, -one.size))
    largest: dict[tuple[object, ...], Effect] = {}
    for one in found:
        largest.setdefault(one.kind or (one.text,), one)
    if not largest and subject is not None:
        many = counted(len(subject.configurations), "configuration")
        return [f"{many} of {subject.of.title.lower()} measured: no effect is shown."]
    return [one.text for one in largest.values()][:MOST]


def _wrong_tables(findings: Iterable[Finding]) -> set[str]:
    """Tables whose configurations did not do the same work."""
    return {
        finding.source.removeprefix("tables/").removesuffix(".csv")
        for finding in findings
        if finding.severity is Severity.ERROR
        and finding.code is Code.REFERENCE_MISMATCH
        and "different stores" in finding.message
    }


def _devices(devices: Table | None) -> Iterator[Effect]:
    """A device against another, with equal settings if possible."""
    rows = devices.rows if devices else []
    sound = [
        row
        for row in rows
        if row["ratio"] and not row["audit_errors"] and row["verdict"] != Verdict.NO_DIFFERENCE
    ]
    for pair in dict.fromkeys((row["device"], row["against_device"]) for row in sound):
        of = [row for row in sound if (row["device"], row["against_device"]) == pair]
        same = [row for row in of if row["kind"] == Kind.SAME]
        fewest = min((row["world_size"] for row in same), default=None)
        chosen = [row for row in same if row["world_size"] == fewest] or of[:1]
        ratios = Ratios(
            [
                Ratio(
                    row["ratio"],
                    row["ratio_low"],
                    row["ratio_high"],
                    min(row["runs"], row["against_runs"]),
                )
                for row in chosen
            ]
        )
        if ratios.direction in (1, -1):
            first = chosen[0]
            one, other = (
                _device(first[name], first[model])
                for name, model in (("device", "device_name"), ("against_device", "against_name"))
            )
            text = said(one, ratios, other, plural=False)
            details = [first["strategy"], ratios.range(slower=ratios.middle < 1)]
            text = f"{text} ({'; '.join(filter(None, details))})."
            yield Effect(text[:1].upper() + text[1:], ratios.size)


def _device(device: str, model: str | None) -> str:
    word = {"cuda": "one GPU", "cpu": "the CPU"}.get(device, device)
    return f"{word} ({model})" if model else word


def _asked(advice: Table | None, subject: Subject) -> Iterator[Effect]:
    """Answers to a deadline and a budget, of what the study is mainly about."""
    rows = [row for row in advice.rows if row.get("stage") == subject.of.table] if advice else []
    for asked in LIMITS:
        row = next((row for row in rows if str(row["question"]).startswith(asked)), None)
        if row is not None:
            answer = row["answer"] or f"no answer, {row['reason']}"
            time_s = f" ({brief(row['time_s'])} s)" if row["time_s"] else ""
            yield Effect(f"{subject.of.title}, {row['question']}: {answer}{time_s}.", ASKED)


def _claims(claims: Table | None) -> Iterator[Effect]:
    """How many conclusions hold here."""
    if isinstance(claims, ClaimsTable) and claims.rows and claims.findings:
        contradicted = any(row["here"] == Answer.FAILS for row in claims.rows)
        if contradicted or any(row["here"] == Answer.HOLDS for row in claims.rows):
            yield Effect(claims.findings[0], 0.5 if contradicted else 0.1)


def _load_balance(comparison: Comparison) -> Iterator[Effect]:
    table = pop_table(comparison)
    excess = [row["slowest_excess"] for row in table.rows if row["slowest_excess"]]
    for sentence in imbalances(table)[:1]:
        yield Effect(sentence, math.log(1 + max(excess, default=0.0)))


def _superlinear(comparison: Comparison) -> Iterator[Effect]:
    """The speedup that is farthest above its workers."""
    found: list[tuple[float, str]] = []
    for stage in comparison.stages:
        for row in stage.table.rows:
            if stage.table.superlinear(row) and not row["audit_errors"]:
                text = f"{stage.table.label(row)}, {times(row['speedup'])} times as fast"
                found.append((row["efficiency"], text))
    if found:
        efficiency, text = max(found)
        many = counted(len(found), "configuration")
        verb = "is" if len(found) == 1 else "are"
        yield Effect(
            f"{many} {verb} faster than their workers explain ({text}): check the baseline.",
            math.log(efficiency),
        )


def _startup(work: Work, label: Callable[[Group], str]) -> Iterator[Effect]:
    fastest = fastest_of(work.candidates)
    startup, time_s = fastest.group.median("startup_s"), fastest.time_s
    if startup and time_s and startup / (startup + time_s) >= SMALLEST_SHARE:
        share = startup / (startup + time_s)
        text = (
            f"Start-up takes {brief(startup)} s before {brief(time_s)} s of measured time "
            f"({100 * share:.0f} %) with {label(fastest.group)}."
        )
        yield Effect(text, -0.5 * math.log(1 - share))


def _cost(work: Work, label: Callable[[Group], str]) -> Iterator[Effect]:
    """The node-hours of the fastest against the least."""
    fastest = fastest_of(work.candidates)
    priced = [] if work.weak else [c for c in work.candidates if c.node_hours]
    if not priced or not fastest.node_hours:
        return
    least = min(priced, key=lambda c: c.node_hours or math.inf)
    low, high = ratio_interval(*(c.group.values("node_hours") for c in (fastest, least)))
    ratio = fastest.node_hours / (least.node_hours or math.inf)
    if least is fastest or ratio <= 1 or (low is not None and low <= 1):
        return
    interval = ""
    if low is not None and high is not None:
        interval = f" ({times(low, like=ratio)} to {times(high, like=ratio)})"
    text = f"{label(fastest.group)} costs {times(ratio)} times the node-hours of "
    yield Effect(f"{text}{label(least.group)}{interval}.", 0.7 * math.log(ratio))


def _accuracy(work: Work, label: Callable[[Group], str]) -> Iterator[Effect]:
    """What the fastest loses of the best accuracy, where it is shown."""
    kept = AccuracyKept.among(work.candidates)
    if kept is not None and kept.is_lost and kept.top.accuracy and kept.fastest.accuracy:
        text = (
            f"{label(kept.fastest.group)} has a test accuracy of {kept.fastest.accuracy:.3f}, "
            f"{label(kept.top.group)} one of {kept.top.accuracy:.3f}."
        )
        yield Effect(text, 3 * math.log(kept.top.accuracy / kept.fastest.accuracy))
