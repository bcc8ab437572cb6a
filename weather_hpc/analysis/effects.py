"""Effects: by what factor one setting changes the speed, over everything else that was measured.

An effect that has the same direction in all cases (all batch sizes, say) is told as one sentence.
Configurations with audit errors, with speedups above their workers, or whose workers shared CPUs
are no cases.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from weather_hpc.analysis.baselines import batch_size, measured, method
from weather_hpc.analysis.candidates import Work, all_works
from weather_hpc.analysis.comparison import Comparison, Configuration
from weather_hpc.analysis.groups import Group
from weather_hpc.analysis.ratios import Ratio, Ratios, runs_words, said, times
from weather_hpc.analysis.statistics import (
    mann_whitney,
    median_interval,
    overlap,
    smallest_p,
)
from weather_hpc.analysis.steps import LEVEL
from weather_hpc.analysis.table import training_words
from weather_hpc.runs.row import Row
from weather_hpc.study.spec import Stage
from weather_hpc.study.tasks import Device
from weather_hpc.text import counted


@dataclass(frozen=True)
class Effect:
    """A sentence, and how much it matters."""

    text: str
    size: float
    """The logarithm of the factor, times how important such a factor is."""
    kind: tuple[object, ...] = ()
    """Of the effects of one kind only the largest is told."""
    first: bool = False
    """Whether it is told before larger ones."""


@dataclass(frozen=True)
class _Point:
    """A configuration of one work."""

    group: Group
    configuration: Configuration
    work: Work
    superlinear: bool

    @property
    def row(self) -> Row:
        return self.group.settings

    @property
    def way(self) -> tuple[str, str]:
        """Method and device."""
        return str(method(self.row)), str(self.row.device)

    @property
    def words(self) -> str:
        """The method in words, such as ``ddp on cpu``."""
        if self.row.stage == Stage.TRAIN:
            return training_words(self.row.strategy, self.row.device)
        return str(method(self.row))

    @property
    def others(self) -> tuple[object, ...]:
        """Settings besides method, workers and batch size that must be equal."""
        row = self.row
        return row.study, row.threads_per_rank, row.precision, row.execution, row.memory_format

    def workers(self, number: int) -> str:
        """``4 GPUs``."""
        gpu = self.row.stage == Stage.TRAIN and self.row.device == Device.CUDA
        return counted(number, "GPU" if gpu else measured(self.row).worker)


def effects(comparison: Comparison) -> Iterator[Effect]:
    """Every effect of workers, methods and batch size, in any order."""
    main = max(
        (stage for stage in comparison.stages if stage.table.measured),
        key=lambda stage: stage.table.name == "training",
        default=None,
    )
    for work in all_works(comparison):
        (stage,) = (one for one in comparison.stages if one.table.name == work.stage)
        by_group = {id(one.group): one for one in stage.configurations}
        points = [
            _Point(c.group, by_group[id(c.group)], work, c.superlinear)
            for c in work.candidates
            if c.group.speeds and c.workers and not c.group.sharing
        ]
        about = [] if stage is main else [stage.table.title]
        about += [work.words] if work.words else []
        prefix = ", ".join(about)
        prefix = f"{prefix[:1].upper()}{prefix[1:]}: " if prefix else ""
        for effect in (*_workers(points), *_methods(points), *_batches(points)):
            yield Effect(
                prefix + effect.text, effect.size, (work.stage, *effect.kind), effect.first
            )


def _workers(points: Iterable[_Point]) -> Iterator[Effect]:
    """More workers against one, and against the next smaller number."""
    ways: dict[tuple[object, ...], list[_Point]] = defaultdict(list)
    for point in points:
        ways[*point.way, *point.others].append(point)
    for members in ways.values():
        by_size: dict[int, list[Ratio]] = defaultdict(list)
        for point in members:
            baseline, size = point.configuration.baseline, point.row.workers or 1
            if size == 1 or baseline is None or baseline.errors or baseline.sharing:
                continue
            ratio = Ratio.of(point.group, baseline, batch_size(point.row))
            if ratio is not None and not point.superlinear:
                by_size[size].append(ratio)
        found = {size: Ratios(ratios) for size, ratios in by_size.items()}
        yield from _against_one(members[0], found)
        yield from _last_step(members, found)


def _against_one(example: _Point, found: dict[int, Ratios]) -> Iterator[Effect]:
    slow = {size: ratios for size, ratios in found.items() if ratios.direction == -1}
    fast = {size: ratios for size, ratios in found.items() if ratios.direction == 1}
    weak = example.group.is_weak
    for name, chosen in (("slower", slow), ("faster", fast)):
        if not chosen:
            continue
        size = max(chosen, key=lambda size: chosen[size].size)
        ratios = chosen[size]
        text = said(example.workers(size), ratios, "1", weak=weak)
        text = f"{text}{_everywhere(ratios)} ({_details(example, ratios)})."
        yield Effect(text, ratios.size, (name, "workers"), first=name == "slower")
    rest = [size for size in found if size not in slow and size not in fast]
    if rest and not fast:
        size = max(rest, key=lambda size: max(one.value for one in found[size].parts))
        yield from _mixed(example, size, found[size])


def _mixed(example: _Point, size: int, ratios: Ratios) -> Iterator[Effect]:
    """Workers that help in some cases only, or are not shown to help in any."""
    many = example.workers(size)
    best = max(ratios.parts, key=lambda one: one.value)
    worst = min(ratios.parts, key=lambda one: one.value)
    if best.direction == 1 and worst.direction == -1:
        one = said(many, Ratios([best]), "1", weak=example.group.is_weak)
        other = said("", Ratios([worst]), "", weak=example.group.is_weak).strip()
        text = f"{one} with batch {best.case}, but {other.removesuffix(' as')} with batch "
        text += f"{worst.case} ({example.words}; {runs_words(best.runs)})."
        yield Effect(text, math.log(best.value / worst.value), ("mixed", "workers"))
        return
    if best.direction != 1:
        text = f"{many} are not shown to be faster than 1{_everywhere(ratios)}: "
        text += f"{times(ratios.middle)} times as fast ({_details(example, ratios)})."
        yield Effect(text, 0.3 * math.log(size), ("mixed", "workers"))


def _last_step(members: Sequence[_Point], found: dict[int, Ratios]) -> Iterator[Effect]:
    """The largest number of workers, where it is slower than a smaller one in all cases."""
    sizes = sorted({point.row.workers or 1 for point in members} - {1})
    if len(sizes) < 2 or (found.get(sizes[-1]) and found[sizes[-1]].direction == -1):
        return
    fewer, more = sizes[-2:]
    before = {batch_size(p.row): p for p in members if p.row.workers == fewer}
    after = [p for p in members if p.row.workers == more and batch_size(p.row) in before]
    ratios = Ratios(
        [
            ratio
            for p in after
            if (ratio := Ratio.of(p.group, before[batch_size(p.row)].group, batch_size(p.row)))
        ]
    )
    if ratios.parts and ratios.direction == -1:
        example = members[0]
        weak = example.group.is_weak
        text = said(example.workers(more), ratios, str(fewer), weak=weak)
        text = f"{text}{_everywhere(ratios)} ({_details(example, ratios)})."
        yield Effect(text, ratios.size + math.log(more / fewer), ("step", "workers"))


def _methods(points: Iterable[_Point]) -> Iterator[Effect]:
    """One way of distributing the work against another, with as many workers."""
    cases: dict[tuple[object, ...], dict[str, _Point]] = defaultdict(dict)
    for point in points:
        row = point.row
        if (row.workers or 1) > 1:
            case = row.workers, row.batch_size_per_device, row.device, *point.others
            cases[case].setdefault(point.way[0], point)
    pairs: dict[tuple[str, str], list[tuple[Ratio, _Point, _Point]]] = defaultdict(list)
    for case, by_method in cases.items():
        for one, other in combinations(by_method, 2):
            ratio = Ratio.of(by_method[one].group, by_method[other].group, case[0])
            if ratio is not None:
                pairs[one, other].append((ratio, by_method[one], by_method[other]))
    for found in pairs.values():
        ratios = Ratios([ratio for ratio, _, _ in found])
        if ratios.direction in (1, -1):
            _, first, second = found[0]
            weak = first.group.is_weak
            text = said(first.words, ratios, second.words, weak=weak, plural=False)
            same = {ratio.case for ratio in ratios.parts}
            many = first.workers(first.row.workers or 1)
            text += f" with {many}" if len(same) == 1 else " at every size"
            values = ratios.range(slower=ratios.middle < 1 and not weak)
            yield Effect(text + (f" ({values})." if values else "."), ratios.size, ("method",))


def _batches(points: Iterable[_Point]) -> Iterator[Effect]:
    """The fastest batch size against the slowest, where all else is equal."""
    alike: dict[tuple[object, ...], list[_Point]] = defaultdict(list)
    for point in points:
        if batch_size(point.row) is not None:
            alike[*point.way, point.row.workers, *point.others].append(point)
    pairs = sum(math.comb(len(members), 2) for members in alike.values())
    for members in alike.values():
        best = max(members, key=lambda p: p.group.speedup(members[0].group) or 0.0)
        worst = min(members, key=lambda p: p.group.speedup(members[0].group) or 0.0)
        ratio = Ratio.of(best.group, worst.group)
        if ratio is None or ratio.direction != 1 or _may_be_chance(best.group, worst.group, pairs):
            continue
        ratios, where = Ratios([ratio]), best.workers(best.row.workers or 1)
        one, than = (f"batch {batch_size(point.row)}" for point in (best, worst))
        text = said(one.capitalize(), ratios, than, weak=best.group.is_weak, plural=False)
        text = f"{text} with {where} ({best.words}; {ratios.range(slower=False)})."
        yield Effect(text, 0.8 * ratios.size, ("batch",))


def _may_be_chance(best: Group, worst: Group, pairs: int) -> bool:
    """Whether they may differ because they were chosen as the extremes, of so many ``pairs``.

    The interval of their ratio is too narrow for that. Either their own intervals overlap, or a
    test that is corrected for the number of pairs, where repeats are enough for one, shows nothing.
    """
    if overlap(median_interval(best.speeds), median_interval(worst.speeds)):
        return True
    enough = smallest_p(len(best.speeds), len(worst.speeds)) * pairs <= LEVEL
    return enough and mann_whitney(best.speeds, worst.speeds) * pairs > LEVEL


def _everywhere(ratios: Ratios) -> str:
    """``at every batch size``, where there are several."""
    return " at every batch size" if len({one.case for one in ratios.parts}) > 1 else ""


def _details(example: _Point, ratios: Ratios) -> str:
    """Method, batch size if it is the only one, interval."""
    (case, *more) = {one.case for one in ratios.parts}
    words: list[Any] = [example.words]
    if case is not None and not more:
        words.append(f"batch {case}")
    slower = ratios.middle < 1 and not example.group.is_weak
    return "; ".join(filter(None, [", ".join(words), ratios.range(slower)]))
