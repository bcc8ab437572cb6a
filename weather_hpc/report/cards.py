"""The cards of the first screen: time, cost, where scaling stops, and what became of accuracy."""

from collections.abc import Sequence

from weather_hpc.analysis.accuracy import AccuracyKept
from weather_hpc.analysis.candidates import Candidate, ties
from weather_hpc.analysis.choices import NO_NODE_HOURS, no_same_work
from weather_hpc.analysis.groups import Group
from weather_hpc.analysis.ratios import times
from weather_hpc.analysis.statistics import (
    NO_INTERVAL,
    Interval,
    interval_name,
    median_interval,
)
from weather_hpc.analysis.subject import Stop, Subject, series_label
from weather_hpc.report.section import Card
from weather_hpc.study.spec import Stage
from weather_hpc.study.tasks import Device
from weather_hpc.text import counted, significant

_NOT_MEASURED = "not measured"


def cards(subject: Subject, stop: Stop | None, *, trusted: bool) -> list[Card]:
    """The four cards on ``subject``; no superlative unless the numbers are ``trusted``.

    ``stop`` is where the main series stops scaling; None where there is none.
    """
    if subject.work is None:
        reason = "every configuration has errors in the audit"
        labels = ("Time", "Cost", "Scaling", "Result")
        return [Card(label, _NOT_MEASURED, detail=reason) for label in labels]
    return [
        _fastest(subject, subject.work.candidates, trusted),
        _cheapest(subject, subject.work.candidates, trusted),
        _stop(subject, stop),
        _result(subject),
    ]


def _label(word: str, plain: str, tied: int | None, trusted: bool) -> str:
    """``word`` as far as it is shown; ``tied`` None: without intervals nobody knows."""
    if not trusted:
        return plain
    if tied is None:
        return f"{word.capitalize()}, not tested"
    return f"Among the {word}" if tied else word.capitalize()


def _tied(best: Candidate, among: Sequence[Candidate], column: str | None = None) -> int | None:
    """How many others may be as good; None where it has no interval."""
    values = best.group.values(column) if column else best.group.speeds
    return None if median_interval(values) == NO_INTERVAL else len(ties(best, among, column))


def _ties(tied: int | None) -> str:
    return f"tied with {counted(tied, 'other')}" if tied else ""


def _fastest(subject: Subject, candidates: Sequence[Candidate], trusted: bool) -> Card:
    best = subject.fastest
    if best is None:
        return Card("Time", _NOT_MEASURED)
    group, tied = best.group, _tied(best, candidates)
    unit = "images/s" if group.is_weak else "s"
    label = _label("fastest", "Time", tied, trusted and len(candidates) > 1)
    middle = group.median("images_per_s" if group.is_weak else "time_s")
    value = f"{significant(middle or 0.0)} {unit}"
    work = subject.work.words if subject.work else ""
    detail = _detail(subject.label(group), work, _over_baseline(subject, group), _ties(tied))
    return Card(label, value, _interval(median_interval(group.speeds), len(group.speeds)), detail)


def _over_baseline(subject: Subject, group: Group) -> str:
    """``1.90 times as fast as single on cpu, batch 32 (1.76 to 2.04)``."""
    one = subject.configuration(group)
    if one is None or one.speedup is None or one.baseline is None:
        return "no baseline was measured"
    if one.baseline is group:
        return "itself the baseline"
    low, high = one.speedup_interval
    ends = ""
    if low is not None and high is not None:
        ends = f" ({times(low, like=one.speedup)} to {times(high, like=one.speedup)})"
    return f"{times(one.speedup)} times as fast as {one.cells['baseline']}{ends}"


def _cheapest(subject: Subject, among: Sequence[Candidate], trusted: bool) -> Card:
    priced = [c for c in among if c.node_hours is not None]
    if subject.work is not None and subject.work.weak:
        return Card("Cost", "not comparable", detail=no_same_work("the cheapest"))
    if not priced:
        return Card("Cost", _NOT_MEASURED, detail=NO_NODE_HOURS)
    best = min(priced, key=lambda c: c.node_hours or 0.0)
    hours, tied = best.group.values("node_hours"), _tied(best, priced, "node_hours")
    one = subject.configuration(best.group)
    baseline = one.baseline.median("node_hours") if one and one.baseline else None
    share = ""
    if one and one.baseline is best.group:
        share = "itself the baseline"
    elif baseline and best.node_hours is not None and one:
        percent = 100 * best.node_hours / baseline
        share = f"{percent:.0f} % of the node-hours of {one.cells['baseline']}"
    label = _label("cheapest", "Cost", tied, trusted and len(priced) > 1)
    value = f"{significant(best.node_hours or 0.0)} node-hours"
    detail = _detail(subject.label(best.group), share, _ties(tied))
    return Card(label, value, _interval(median_interval(hours), len(hours)), detail)


def _stop(subject: Subject, stop: Stop | None) -> Card:
    """Up to how many workers each step is faster than the one before."""
    if stop is None:
        return Card("Scaling stops", _NOT_MEASURED, detail="no series of several sizes was run")
    gpu = stop.point.settings.device == Device.CUDA and subject.of.stage == Stage.TRAIN
    unit = "GPU" if gpu else stop.series.unit
    untested = "" if stop.tested else "too few repeats to test it"
    at = "" if stop.workers == stop.series.workers[0] else _efficiency(subject, stop)
    if stop.workers == stop.largest:
        value = f"not up to {counted(stop.largest, unit)}"
        return Card("Scaling stops", value, untested, _detail(series_label(stop.series), at))
    nearest = next(size for size in stop.series.workers if size > stop.workers)
    if stop.slower_from == nearest:
        ratio = stop.after.speedup(stop.point) or 1.0
        after = f"{nearest} take {times(1 / ratio)} times as long"
        if stop.series.weak:
            after = f"{nearest} handle {times(ratio)} times the images per second"
    else:
        after = f"{nearest} are not shown to be faster"
    value = counted(stop.workers, unit)
    return Card("Scaling stops at", value, untested, _detail(series_label(stop.series), at, after))


def _efficiency(subject: Subject, stop: Stop) -> str:
    one = subject.configuration(stop.point)
    if one is None or one.cells["efficiency"] is None:
        return ""
    low, high = (one.cells[f"efficiency_{end}"] for end in ("low", "high"))
    ends = "" if low is None else f" ({100 * low:.0f} to {100 * high:.0f} %)"
    return f"efficiency {100 * one.cells['efficiency']:.0f} %{ends}"


def _result(subject: Subject) -> Card:
    """Whether the fastest gives as good a result."""
    if subject.of.stage is not Stage.TRAIN:
        return _same_store(subject)
    kept = AccuracyKept.among(subject.work.candidates) if subject.work else None
    if kept is None or kept.fastest.accuracy is None:
        return Card("Accuracy", _NOT_MEASURED, detail="no test accuracy of the fastest is known")
    lost = kept.is_lost
    label = "Accuracy lost" if lost else "Accuracy" if lost is None else "Accuracy kept"
    low, high = kept.interval
    interval = "" if low is None or high is None else f"95 %: {low:.3f} to {high:.3f}"
    best = f"best: {kept.top.accuracy or 0.0:.3f} with {subject.label(kept.top.group)}"
    if kept.top is kept.fastest:
        best = "no other configuration has a higher one"
    elif lost is False:
        best += ", not distinguishable"
        label = "Accuracy, no loss shown"
    images = kept.fastest.group.median("test_images")
    number = f"{images:.0f} test images" if images else "number of test images not known"
    value = f"{kept.fastest.accuracy:.3f}"
    return Card(label, value, interval, _detail(subject.label(kept.fastest.group), best, number))


def _same_store(subject: Subject) -> Card:
    """Whether all configurations made the same store."""
    runs = [row for one in subject.configurations for row in one.group.measured]
    stores = {row.store_checksum for row in runs}
    if subject.of.stage is not Stage.PREPROCESS or None in stores:
        return Card("Same result", _NOT_MEASURED, detail="not every run has a checksum")
    if len(stores) > 1:
        return Card("Same result", "no", detail=f"the runs packed {len(stores)} different stores")
    return Card("Same result", "yes", detail=f"{counted(len(runs), 'run')} packed the same store")


def _interval(interval: Interval, repeats: int) -> str:
    """``range of the repeats 1.21 to 1.35``, or how few runs there are."""
    low, high = interval
    if interval == NO_INTERVAL or low is None or high is None:
        return "one run" if repeats == 1 else counted(repeats, "run")
    return f"{interval_name(repeats)} {significant(low)} to {significant(high)}"


def _detail(*parts: str) -> str:
    return "; ".join(filter(None, parts))
