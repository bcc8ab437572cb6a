"""Series: one configuration on more and more workers, as laws and comparisons need it."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from weather_hpc.analysis.baselines import (
    ALIKE,
    Baselines,
    batch_words,
    images_each,
    method,
    plain_method,
    work,
)
from weather_hpc.analysis.groups import Group, preprocess_groups, training_groups
from weather_hpc.analysis.speedup import is_weak
from weather_hpc.analysis.table import SETTINGS, training_words
from weather_hpc.runs.row import Row
from weather_hpc.study.spec import Stage
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
        return [point.asked.workers or 0 for point in self.points]

    @property
    def unit(self) -> str:
        """What a worker is called."""
        return "worker" if self.table == "preprocess" else "rank"


def all_series(rows: Sequence[Row]) -> list[Series]:
    """Every series in ``rows``, in the order of the tables.

    ``sequential`` and ``single``, which never have a second worker, are only baselines of others.
    """
    return [
        *_of_stage("preprocess", preprocess_groups(rows)),
        *_of_stage("training", training_groups(rows)),
    ]


def _of_stage(table: str, groups: Sequence[Group]) -> Iterable[Series]:
    baselines = Baselines(groups)
    alike: dict[tuple[object, ...], list[Group]] = defaultdict(list)
    for group in groups:
        asked = group.asked
        if asked.workers is not None and method(asked) != plain_method(asked):
            alike[method(asked), asked.batch_mode, *work(asked)].append(group)
    varying = [name for name in SETTINGS if len({getattr(g.asked, name) for g in groups}) > 1]
    if len({images_each(group.asked) for group in groups}) > 1:
        varying.append("images")
    for members in alike.values():
        for part, names in _apart([group for group in members if group.measured]):
            label = _label(members[0].asked if not part else part[0].asked, [*varying, *names])
            yield _series(table, label, part, baselines)


def _apart(members: list[Group]) -> list[tuple[list[Group], list[str]]]:
    """``members`` so that no number of workers comes twice, and the settings that part them."""
    parts: list[tuple[list[Group], list[str]]] = [(members, [])]
    for name in ALIKE:
        finer: list[tuple[list[Group], list[str]]] = []
        for part, names in parts:
            if _repeated(part) is None:
                finer.append((part, names))
                continue
            by_value: dict[object, list[Group]] = defaultdict(list)
            for group in part:
                by_value[getattr(group.asked, name)].append(group)
            parting = [*names, name] if len(by_value) > 1 else names
            finer += [(found, parting) for found in by_value.values()]
        parts = finer
    return parts


def _repeated(members: Iterable[Group]) -> int | None:
    """A number of workers that several of ``members`` have."""
    counts = Counter(group.asked.workers for group in members)
    return next((workers for workers, count in counts.items() if count > 1), None)


def _series(table: str, label: str, members: list[Group], baselines: Baselines) -> Series:
    points = sorted(members, key=lambda group: group.asked.workers or 0)
    twice, problem = _repeated(points), None
    if not points:
        problem = "no run was measured"
    elif twice is not None:
        many = counted(twice, "rank" if table == "training" else "worker")
        problem = f"several configurations have {many} and differ in what no column tells"
    elif points[0].asked.workers != 1:
        found = {id(baseline): baseline for g in points for baseline in baselines.candidates(g)}
        points = [*found.values(), *points]
        if len(found) > 1:
            problem = f"any of {len(found)} configurations may be its baseline"
    weak = bool(points) and is_weak(points[-1])
    return Series(table, label, tuple(points), weak, problem)


def _label(asked: Row, settings: Iterable[str]) -> str:
    if asked.stage == Stage.PREPROCESS:
        words = [str(asked.backend)]
    else:
        words = [training_words(asked.strategy, asked.device), batch_words(asked)]
    for name in dict.fromkeys(settings):
        value = images_each(asked) if name == "images" else getattr(asked, name)
        words.append(f"{name} {value:g}" if isinstance(value, float) else f"{name} {value}")
    return ", ".join(words)
