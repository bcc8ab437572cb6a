"""The same work on other devices: how many times as fast a GPU is as the CPU, and how certain.

A row of the scaling tables keeps its own baseline, which ran on the same device. Here training
configurations on different devices are compared: those that are the same in all but the device,
and the best of each device for one task. A run counts for the device that it used, so one that
asked for a GPU and ran on the CPU is a CPU run.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from itertools import combinations
from typing import Any

from weather_hpc.analysis.baselines import DETAILS, batch_size, work_on_any_device
from weather_hpc.analysis.candidates import Candidate, all_works
from weather_hpc.analysis.comparison import Comparison, StageComparison
from weather_hpc.analysis.groups import Group
from weather_hpc.analysis.published import published_comparison
from weather_hpc.analysis.statistics import holm, mann_whitney
from weather_hpc.analysis.steps import LEVEL, repeats_note, verdict_of
from weather_hpc.analysis.table import SETTINGS, Table
from weather_hpc.study.tasks import Device


class Kind(StrEnum):
    """What the two configurations of a comparison have in common."""

    SAME = "same configuration"
    """All but the device, and the threads that compute on a CPU."""
    BEST = "best of each"
    """The task; each is the fastest on its device."""


DEVICE_COLUMNS = [
    "kind", "strategy", "world_size", "batch_size_per_device", "batch_size_global", "device",
    "device_name", "against_device", "against_name", "against_threads", "time_s",
    "against_time_s", "images_per_s", "against_images_per_s", "ratio", "ratio_low", "ratio_high",
    "runs", "against_runs", "p_value", "p_holm", "verdict", "configuration", "against",
    "published_ratio", "study", "audit_errors", "note",
]  # fmt: skip

_CAPTION = (
    "A configuration on one device against one on another; a scaling table's baseline is always on "
    f"the row's own device. {Kind.SAME}: the two differ only in the device, and in threads, which "
    "compute only on a CPU (against_threads: of each rank there). "
    f"{Kind.BEST}: the fastest of each device for the same task; note says in what they differ. "
    "ratio says how many times as fast as the other device it is (medians of time; weak scaling: "
    "of images per second), with its bootstrap interval. p_value is that of the exact two-sided "
    "Mann-Whitney test, p_holm the same after Holm's correction for the comparisons that differ "
    f"only in ranks and threads; a difference is shown where p_holm is at most {LEVEL}. One run "
    "has no p_value. published_ratio is the ratio of the times that the reproduced study printed "
    "for the same strategy, ranks and devices, whose batch size it did not state."
)


@dataclass(frozen=True)
class _Pair:
    """Two measured configurations on different devices."""

    kind: Kind
    group: Group
    label: str
    against: Group
    against_label: str
    notes: tuple[str, ...] = ()

    @property
    def family(self) -> tuple[object, ...]:
        """Equal for the comparisons that a test is corrected for together."""
        if self.kind is Kind.BEST:
            return (id(self),)
        row, other = self.group.settings, self.against.settings
        work = work_on_any_device(row)
        return (row.strategy, batch_size(row), row.device, other.device, *work)


def devices_table(comparison: Comparison) -> Table:
    """One row for each comparison; none where only one device was measured."""
    training = comparison.training
    pairs = [*_same(training), *_best_of_each(comparison)]
    return Table("devices", "Across devices", _CAPTION, DEVICE_COLUMNS, list(_lines(pairs)))


def measured_devices(comparison: Comparison) -> list[str]:
    """The devices that training ran on, each once, in order."""
    groups = comparison.training.groups
    return sorted({str(g.settings.device) for g in groups if g.measured and g.settings.device})


def _same(stage: StageComparison) -> Iterator[_Pair]:
    """Configurations that differ only in the device; the CPU is what others are compared with."""
    labels = {id(one.group): stage.label(one) for one in stage.configurations}
    alike: dict[tuple[object, ...], list[Group]] = defaultdict(list)
    for group in stage.groups:
        if group.speeds and group.settings.device is not None:
            alike[_all_but_device(group)].append(group)
    for members in alike.values():
        for device, other in _device_pairs(g.settings.device for g in members):
            against = [g for g in members if g.settings.device == other]
            groups = [g for g in members if g.settings.device == device]
            fastest = _fastest_threads(against) if other == Device.CPU else None
            for found in against:
                for group in _most_alike(groups, found):
                    notes = [_differences(group, found)]
                    if found is fastest:
                        counts = len({g.settings.threads_per_rank for g in against})
                        notes.append(f"the fastest of {counts} thread counts on {other}")
                    yield _Pair(
                        Kind.SAME, group, labels[id(group)], found, labels[id(found)], tuple(notes)
                    )


def _all_but_device(group: Group) -> tuple[object, ...]:
    row = group.settings
    sizes = row.workers, row.batch_size_per_device, row.batch_size_global
    return (row.strategy, *sizes, *work_on_any_device(row))


def _device_pairs(devices: Iterable[str | None]) -> Iterator[tuple[str, str]]:
    """Each two of ``devices``, the one that the other is compared with last: the CPU if any."""
    known = sorted({device for device in devices if device}, key=lambda d: (d == Device.CPU, d))
    yield from combinations(known, 2)


def _most_alike(groups: Sequence[Group], other: Group) -> list[Group]:
    """Those of ``groups`` whose details are most like those of ``other``."""
    scores = [len(DETAILS) - len(_details(group, other)) for group in groups]
    return [g for g, score in zip(groups, scores, strict=True) if score == max(scores)]


def _details(group: Group, other: Group) -> list[str]:
    """The details in which the two differ."""
    return [d for d in DETAILS if getattr(group.settings, d) != getattr(other.settings, d)]


def _fastest_threads(groups: Sequence[Group]) -> Group | None:
    """The fastest of ``groups``, where they have several thread counts."""
    if len({group.settings.threads_per_rank for group in groups}) < 2:
        return None
    return max(groups, key=lambda group: group.speedup(groups[0]) or 0.0)


def _differences(group: Group, other: Group) -> str:
    differing = [name for name in _details(group, other) if name != "threads_per_rank"]
    return ", ".join(map(_against(group, other), differing))


def _against(group: Group, other: Group) -> Callable[[str], str]:
    """Says one setting of both."""
    row, against = group.settings, other.settings
    return lambda name: (
        f"{_COLUMNS.get(name, name)} {getattr(row, name)} against {getattr(against, name)}"
    )


_COLUMNS = {"workers": "world_size"}
"""Columns of rows that have another name in tables."""

_NAMED = ("strategy", "workers", "batch_size_per_device", "nodes")
"""What the best of each are said to differ in, besides settings."""


def _best_of_each(comparison: Comparison) -> Iterator[_Pair]:
    """The fastest configuration of each device for one task."""
    for work in all_works(comparison):
        if work.stage != comparison.training.table.name:
            continue
        by_device: dict[str, list[Candidate]] = defaultdict(list)
        for candidate in work.candidates:
            if candidate.group.speeds and candidate.group.settings.device:
                by_device[candidate.group.settings.device].append(candidate)
        best = {d: min(found, key=lambda c: c.slowness) for d, found in by_device.items()}
        for device, other in _device_pairs(best):
            one, against = best[device], best[other]
            names = [name for name in (*_NAMED, *SETTINGS) if name != "device"]
            rows = one.group.settings, against.group.settings
            differing = [n for n in dict.fromkeys(names) if len({getattr(r, n) for r in rows}) > 1]
            words = ", ".join(map(_against(one.group, against.group), differing))
            counts = (
                f"of {len(by_device[device])} on {device} and {len(by_device[other])} on {other}"
            )
            notes = (counts, words or "the same in all but the device")
            yield _Pair(Kind.BEST, one.group, one.label, against.group, against.label, notes)


def _lines(pairs: Sequence[_Pair]) -> Iterator[dict[str, Any]]:
    families: dict[tuple[object, ...], list[_Pair]] = defaultdict(list)
    for pair in pairs:
        families[pair.family].append(pair)
    tests: dict[int, tuple[float, float]] = {}
    for members in families.values():
        p_values = [mann_whitney(p.group.speeds, p.against.speeds) for p in members]
        for pair, *found in zip(members, p_values, holm(p_values), strict=True):
            tests[id(pair)] = found[0], found[1]
    for pair in pairs:
        yield _line(pair, *tests[id(pair)], len(families[pair.family]))


def _line(pair: _Pair, p_value: float, adjusted: float, family: int) -> dict[str, Any]:
    group, against = pair.group, pair.against
    row, other = group.settings, against.settings
    low, high = group.speedup_interval(against)
    repeated = min(len(group.speeds), len(against.speeds)) > 1
    verdict = verdict_of(group, against, adjusted, family)
    notes = [*pair.notes, repeats_note(verdict, family), *map(_note, (group, against))]
    return {
        "kind": str(pair.kind),
        "strategy": row.strategy,
        "world_size": row.workers,
        "batch_size_per_device": row.batch_size_per_device,
        "batch_size_global": row.batch_size_global,
        "device": row.device,
        "device_name": _model(group),
        "against_device": other.device,
        "against_name": _model(against),
        "against_threads": other.threads_per_rank if other.device == Device.CPU else None,
        "time_s": group.median("time_s"),
        "against_time_s": against.median("time_s"),
        "images_per_s": group.median("images_per_s"),
        "against_images_per_s": against.median("images_per_s"),
        "ratio": group.speedup(against),
        "ratio_low": low,
        "ratio_high": high,
        "runs": len(group.speeds),
        "against_runs": len(against.speeds),
        "p_value": p_value if repeated else None,
        "p_holm": adjusted if repeated else None,
        "verdict": str(verdict),
        "configuration": pair.label,
        "against": pair.against_label,
        "published_ratio": None if group.is_weak else _published().get(_published_key(pair)),
        "study": row.study,
        "audit_errors": "; ".join(sorted({*group.errors, *against.errors})) or None,
        "note": "; ".join(filter(None, notes)) or None,
    }


@lru_cache(maxsize=1)
def _published() -> dict[tuple[object, ...], float | None]:
    """The ratios of the reproduced study's own times."""
    pairs = _same(published_comparison().training)
    return {_published_key(pair): pair.group.speedup(pair.against) for pair in pairs}


def _published_key(pair: _Pair) -> tuple[object, ...]:
    """Equal for our comparison and the study's for the same."""
    row, other = pair.group.settings, pair.against.settings
    return pair.kind, row.strategy, row.workers, row.device, other.device


def _note(group: Group) -> str:
    """The group's own note, with the device that it is about."""
    return f"{group.settings.device}: {group.note}" if group.note else ""


def _model(group: Group) -> str | None:
    """The model of the device, such as ``Tesla P100``; all of them where repeats differ in it."""
    column = "cpu_model" if group.settings.device == Device.CPU else "device_name"
    found = {getattr(row, column) for row in group.measured}
    return " or ".join(sorted(filter(None, found))) or None
