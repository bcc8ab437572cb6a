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
from weather_hpc.analysis.statistics import CLAIMS_95_FROM
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
class Ratio:
    """How many times as fast one configuration is as another."""

    value: float
    low: float | None
    high: float | None
    runs: int
    """The fewest of either."""
    case: object = None
    """What tells it from the other cases, such as the batch size."""

    @classmethod
    def of(cls, group: Group, other: Group, case: object = None) -> "Ratio | None":
        """``group`` against ``other``; None where a speed is not known."""
        value = group.speedup(other)
        if not value:
            return None
        low, high = group.speedup_interval(other)
        return cls(value, low, high, min(len(group.speeds), len(other.speeds)), case)

    @property
    def direction(self) -> int:
        """1: faster, -1: slower, 0: the interval has both. Without an interval, by the value."""
        low, high = self.low or self.value, self.high or self.value
        return 1 if low > 1 else -1 if high < 1 else 0


@dataclass(frozen=True)
class Ratios:
    """The same comparison in several cases."""

    parts: Sequence[Ratio]

    @property
    def direction(self) -> int | None:
        """That of all; None where they differ."""
        found = {one.direction for one in self.parts}
        return found.pop() if len(found) == 1 else None

    @property
    def middle(self) -> float:
        """The geometric mean."""
        return math.exp(sum(math.log(one.value) for one in self.parts) / len(self.parts))

    @property
    def size(self) -> float:
        """The logarithm of the factor, without a sign."""
        return abs(math.log(self.middle))

    def range(self, slower: bool) -> str:
        """The interval of the only case, or the values of all, as they are told."""
        if len(self.parts) == 1:
            (one,) = self.parts
            if one.low is None or one.high is None:
                return _runs(one.runs)
            ends = one.low, one.high
            name = "95 % interval " if one.runs >= CLAIMS_95_FROM else "range "
        else:
            values = [one.value for one in self.parts]
            ends, name = (min(values), max(values)), ""
        low, high = sorted(1 / end if slower else end for end in ends)
        middle = 1 / self.middle if slower else self.middle
        texts = [times(end, like=middle) for end in (low, high)]
        if texts[0] == texts[1] and len(self.parts) == 1:
            texts = [f"{end:.3g}" for end in (low, high)]
        fewest = min(one.runs for one in self.parts)
        few = "" if all(one.low is not None for one in self.parts) else _runs(fewest)
        span = f"{name}{' to '.join(texts)}" if texts[0] != texts[1] else ""
        return "; ".join(filter(None, [span, few]))


def _runs(runs: int) -> str:
    return "one run each" if runs == 1 else f"{runs} runs each"


def times(ratio: float, like: float | None = None) -> str:
    """``2.6`` or ``1.44``: three digits where two would hide much; as many decimals as ``like``."""
    size = ratio if like is None else like
    return f"{ratio:.{2 if size < 1.95 else 1 if size < 9.95 else 0}f}"


def said(one: str, ratios: Ratios, other: str, *, weak: bool = False, plural: bool = True) -> str:
    """``4 GPUs take 2.6 times as long as 1``."""
    ratio = ratios.middle
    if weak:
        verb = "handle" if plural else "handles"
        return f"{one} {verb} {times(ratio)} times the images per second of {other}"
    if ratio < 1:
        verb = "take" if plural else "takes"
        return f"{one} {verb} {times(1 / ratio)} times as long as {other}"
    return f"{one} {'are' if plural else 'is'} {times(ratio)} times as fast as {other}"


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
        prefix = "" if stage is main else f"{stage.table.title}: "
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
        text += f"{worst.case} ({example.words}; {_runs(best.runs)})."
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
    for members in alike.values():
        best = max(members, key=lambda p: p.group.speedup(members[0].group) or 0.0)
        worst = min(members, key=lambda p: p.group.speedup(members[0].group) or 0.0)
        ratio = Ratio.of(best.group, worst.group)
        if ratio is None or ratio.direction != 1:
            continue
        ratios, where = Ratios([ratio]), best.workers(best.row.workers or 1)
        one, than = (f"batch {batch_size(point.row)}" for point in (best, worst))
        text = said(one.capitalize(), ratios, than, weak=best.group.is_weak, plural=False)
        text = f"{text} with {where} ({best.words}; {ratios.range(slower=False)})."
        yield Effect(text, 0.8 * ratios.size, ("batch",))


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
