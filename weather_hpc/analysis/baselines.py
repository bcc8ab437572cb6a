"""Which rows did the same work, and which configuration each one is compared with."""

from collections import defaultdict
from collections.abc import Iterable

from weather_hpc.analysis.groups import Group
from weather_hpc.analysis.table import training_words
from weather_hpc.runs.row import ASKED, ROW_COLUMNS, Row
from weather_hpc.study.settings import WORK, Role, columns
from weather_hpc.study.spec import Scaling, Stage
from weather_hpc.study.stages import MEASURED, MeasuredStage
from weather_hpc.study.tasks import BatchMode, Device, Strategy
from weather_hpc.text import counted

_DETAILS = [c for c in columns(Role.DETAIL) if c in ROW_COLUMNS and c not in ASKED]
DETAILS = [
    "threads_per_rank", *(column for column in _DETAILS if column != "nodes"), "device_asked",
    "nodes",
]  # fmt: skip
"""Among several possible baselines the one most alike in these is used, if there is one such.

Runs that asked for a GPU and ran on the CPU, for want of one, have a baseline that did so too.
"""

_MEANING: dict[str | None, str] = {
    BatchMode.PER_DEVICE: " per device",
    BatchMode.GLOBAL: " of all devices",
}


_WORK = {kind: columns(*WORK, kind=kind) for kind in MEASURED}
_TASK = {kind: columns(Role.TASK, kind=kind) for kind in MEASURED}


class Baselines:
    """Finds each group's baseline among all groups of one stage.

    It has the stage's plain method, such as ``sequential`` or ``single``, or else the group's own,
    on one worker. It did the same work, see :func:`work`.
    """

    def __init__(self, groups: Iterable[Group]) -> None:
        self._candidates: dict[tuple[object, ...], list[Group]] = defaultdict(list)
        for group in groups:
            if group.measured and group.settings.workers == 1:
                self._candidates[method(group.settings), *work(group.settings)].append(group)

    def candidates(self, group: Group) -> list[Group]:
        """The groups that fit ``group`` best: several where nothing known tells which it is."""
        row = group.settings
        if row.workers is None:
            return []
        for name in (plain_method(row), method(row)):
            fitting = self._candidates.get((name, *work(row)), [])
            if any(candidate is group for candidate in fitting):
                return [group]
            if fitting:
                alike = [likeness(candidate.settings, row) for candidate in fitting]
                best = max(alike)
                return [c for c, score in zip(fitting, alike, strict=True) if score == best]
        return []


def method(row: Row) -> str | None:
    """How the work is distributed: the backend, the strategy or the engine."""
    name: str | None = getattr(row, measured(row).method)
    return name


def plain_method(row: Row) -> str:
    """The method that a baseline of ``row`` has."""
    return measured(row).plain


def measured(row: Row) -> MeasuredStage:
    """The measured stage of ``row``."""
    return MEASURED[Stage(str(row.stage))]


def work(row: Row) -> tuple[object, ...]:
    """What is equal in rows whose times may be divided by each other."""
    return (row.stage, *work_settings(row).values())


def work_settings(row: Row) -> dict[str, object]:
    """The values of :func:`work` by column.

    All settings that are part of the work. Of images and batch size, what scaling keeps constant
    (:func:`images_each`, :func:`batch_size`). Threads only on CPUs, where they are the rank's
    device; a GPU rank's threads only feed it.
    """
    values = _work_values(row)
    if row.stage == Stage.TRAIN:
        values["batch_size"] = batch_size(row)
        if row.device != Device.CPU:
            values["threads_per_rank"] = None
    return values


def work_on_any_device(row: Row) -> tuple[object, ...]:
    """What is equal in training rows that do the same work, on whatever device.

    As :func:`work`, without the device and the threads, and without the batch size: that of each
    device and that of all are columns of their own.
    """
    values = _work_values(row)
    for column in ("device", "threads_per_rank", "batch_size"):
        del values[column]
    return (row.stage, *values.values())


def _work_values(row: Row) -> dict[str, object]:
    values = {column: getattr(row, column, None) for column in _WORK[row_kind(row)]}
    return values | {"images_asked": images_each(row)}


def task(row: Row) -> dict[str, object]:
    """What rows do, however they compute it: configurations equal in this are alternatives."""
    values = {column: getattr(row, column) for column in _TASK[row_kind(row)]}
    del values["images_asked"]
    return values | {"images": images_each(row)}


def row_kind(row: Row) -> Stage:
    """The kind of task, as the table of settings names it."""
    return measured(row).stage


def batch_size(row: Row) -> int | None:
    """The batch size that stays the same while ranks are added, as ``batch_mode`` says.

    On one rank the batch of each device is that of all, so a baseline serves either mode. Where
    the mode is not known it is the batch size as stated.
    """
    each, together = row.batch_size_per_device, row.batch_size_global
    if row.batch_mode == BatchMode.GLOBAL:
        return together
    return together if each is None else each


def batch_words(row: Row) -> str:
    """The batch size with its meaning, such as ``batch 32 per device``."""
    if batch_size(row) is None:
        return "batch size not known"
    return f"batch {batch_size(row)}{_MEANING.get(row.batch_mode, '')}"


def baseline_label(baseline: Group) -> str:
    """``baseline`` in words, such as ``single on cpu, batch 32``."""
    row = baseline.settings
    if row.stage != Stage.TRAIN:
        return f"{method(row)}, {counted(row.workers, 'worker')}"
    words = [training_words(row.strategy, row.device)]
    if row.strategy != Strategy.SINGLE:
        words.append(counted(row.workers, "rank"))
    if batch_size(row) is not None:
        words.append(f"batch {batch_size(row)}")
    return ", ".join(words)


def images_each(row: Row) -> float | None:
    """What must be equal to compare: images in all (strong), or per worker (weak scaling)."""
    if row.images_asked is None or row.scaling != Scaling.WEAK:
        return row.images_asked
    return row.images_asked / (row.workers or 1)


def likeness(one: Row, other: Row) -> int:
    """How many of the details two rows have in common."""
    return sum(getattr(one, name) == getattr(other, name) for name in DETAILS)
