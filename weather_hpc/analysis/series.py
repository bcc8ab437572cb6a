"""Series: one configuration on more and more workers, as laws and comparisons need it."""

import dataclasses
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from weather_hpc.analysis.baselines import (
    DETAILS,
    Baselines,
    batch_words,
    images_each,
    measured,
    method,
    plain_method,
    work,
)
from weather_hpc.analysis.groups import Group
from weather_hpc.analysis.table import SETTINGS, training_words
from weather_hpc.runs.row import Row
from weather_hpc.study.spec import Stage
from weather_hpc.study.stages import BY_TABLE
from weather_hpc.text import counted


@dataclass(frozen=True)
class Series:
    """What differs only in the number of workers, ascending in it."""

    table: str
    """The table that holds its rows."""
    label: str
    """Its configuration in words, workers apart."""
    points: tuple[Group, ...]
    """The measured groups. Where none of them has one worker, the baseline comes first."""
    weak: bool
    problem: str | None = None
    """Why the points are no series; None: they are."""

    @property
    def baseline(self) -> Group | None:
        """The point with one worker: its own, so that its laws tell of scaling alone."""
        one = not self.problem and self.workers[0] == 1
        return self.points[0] if one else None

    @property
    def workers(self) -> list[int]:
        """How many workers each point has."""
        return [point.settings.workers or 0 for point in self.points]

    @property
    def with_own_cpus(self) -> "Series":
        """The series without the points whose workers shared CPUs: those do not show scaling."""
        if self.problem or not self.shared:
            return self
        points = tuple(point for point in self.points if not point.sharing)
        problem = None if points else "workers shared CPUs at every size"
        return dataclasses.replace(self, points=points or self.points, problem=problem)

    @property
    def shared(self) -> str | None:
        """How workers shared CPUs at some of the points; None: at no point."""
        return "; ".join(text for point in self.points for text in point.sharing) or None

    @property
    def unit(self) -> str:
        """What a worker is called."""
        return BY_TABLE[self.table].worker


def stage_series(table: str, groups: Sequence[Group], baselines: Baselines) -> Iterator[Series]:
    """Every series among the ``groups`` of one ``table``, in its order.

    Methods that never have a second worker, ``sequential`` and ``single``, are only baselines of
    others.
    """
    alike: dict[tuple[object, ...], list[Group]] = defaultdict(list)
    for group in groups:
        row = group.settings
        alone = measured(row).alone and method(row) == plain_method(row)
        if row.workers is not None and not alone:
            alike[method(row), row.batch_mode, *work(row)].append(group)
    varying = [
        name
        for name in SETTINGS
        if name not in DETAILS[1:] and len({getattr(g.settings, name) for g in groups}) > 1
    ]
    if len({images_each(group.settings) for group in groups}) > 1:
        varying.append("images")
    for members in alike.values():
        for part, names in apart([group for group in members if group.measured]):
            row = part[0].settings if part else members[0].settings
            label = _label(row, [*varying, *names])
            yield _series(table, label, part, baselines)


def apart(members: list[Group], along: str = "workers") -> list[tuple[list[Group], list[str]]]:
    """``members`` so that no value of ``along`` comes twice, and the settings that part them.

    A value may still come twice where its groups differ in no detail.
    """
    parts: list[tuple[list[Group], list[str]]] = [(members, [])]
    for name in DETAILS:
        finer: list[tuple[list[Group], list[str]]] = []
        for part, names in parts:
            if repeated(part, along) is None:
                finer.append((part, names))
                continue
            by_value: dict[object, list[Group]] = defaultdict(list)
            for group in part:
                by_value[getattr(group.settings, name)].append(group)
            parting = [*names, name] if len(by_value) > 1 else names
            finer += [(found, parting) for found in by_value.values()]
        parts = finer
    return parts


def repeated(members: Iterable[Group], along: str = "workers") -> Any:
    """A value of ``along``, such as a number of workers, that several of ``members`` have."""
    counts = Counter(getattr(group.settings, along) for group in members)
    return next((value for value, count in counts.items() if count > 1), None)


def _series(table: str, label: str, members: list[Group], baselines: Baselines) -> Series:
    points = sorted(members, key=lambda group: group.settings.workers or 0)
    twice, problem = repeated(points), None
    if not points:
        problem = "no run was measured"
    elif twice is not None:
        many = counted(twice, BY_TABLE[table].worker)
        problem = f"several configurations have {many} and differ in what no column tells"
    elif points[0].settings.workers != 1:
        found = {id(baseline): baseline for g in points for baseline in baselines.candidates(g)}
        points = [*found.values(), *points]
        if len(found) > 1:
            problem = f"any of {len(found)} configurations may be its baseline"
    weak = bool(points) and points[-1].is_weak
    return Series(table, label, tuple(points), weak, problem)


def _label(row: Row, settings: Iterable[str]) -> str:
    if row.stage != Stage.TRAIN:
        words = [*([row.operation] if row.operation else []), str(method(row))]
    else:
        words = [training_words(row.strategy, row.device), batch_words(row)]
    for name in dict.fromkeys(settings):
        value = images_each(row) if name == "images" else getattr(row, name)
        words.append(f"{name} {value:g}" if isinstance(value, float) else f"{name} {value}")
    return ", ".join(words)
