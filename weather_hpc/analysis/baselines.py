"""Which configuration each one is compared with: the same work by one worker."""

from collections import defaultdict
from collections.abc import Iterable

from weather_hpc.analysis.groups import Group
from weather_hpc.analysis.table import training_words
from weather_hpc.runs.row import Row
from weather_hpc.study.spec import Backend, BatchMode, Device, Scaling, Stage, Strategy
from weather_hpc.text import counted

ALIKE = ("threads_per_rank", "learning_rate", "batch_norm", "seed", "warmup_steps", "nodes")
"""Among several possible baselines the one most alike in these is taken, if it is one."""
_MEANING: dict[str | None, str] = {
    BatchMode.PER_DEVICE: " per device",
    BatchMode.GLOBAL: " of all devices",
}


class Baselines:
    """Finds each group's baseline among all groups of one stage.

    It is ``sequential`` (preprocessing) or ``single`` (training), or else the group's own backend
    or strategy, on one worker. It did the same work, see :func:`work`.
    """

    def __init__(self, groups: Iterable[Group]) -> None:
        self._candidates: dict[tuple[object, ...], list[Group]] = defaultdict(list)
        for group in groups:
            if group.measured and group.asked.workers == 1:
                self._candidates[method(group.asked), *work(group.asked)].append(group)

    def of(self, group: Group) -> Group | None:
        """The group to compare ``group`` with, perhaps itself; None where none or several fit."""
        found = self.candidates(group)
        return found[0] if len(found) == 1 else None

    def candidates(self, group: Group) -> list[Group]:
        """The groups that fit ``group`` best: several where nothing known tells which it is."""
        asked = group.asked
        if asked.workers is None:
            return []
        for name in (plain_method(asked), method(asked)):
            fitting = self._candidates.get((name, *work(asked)), [])
            if any(candidate is group for candidate in fitting):
                return [group]
            if fitting:
                alike = [_alike(candidate.asked, asked) for candidate in fitting]
                best = max(alike)
                return [c for c, score in zip(fitting, alike, strict=True) if score == best]
        return []


def method(asked: Row) -> str | None:
    """How the work is spread: the backend or the strategy."""
    return asked.backend if asked.stage == Stage.PREPROCESS else asked.strategy


def plain_method(asked: Row) -> str:
    """The backend or strategy that spreads nothing."""
    return Backend.SEQUENTIAL if asked.stage == Stage.PREPROCESS else Strategy.SINGLE


def work(asked: Row) -> tuple[object, ...]:
    """What is equal in rows that are compared: the images and what is done to them.

    In preprocessing also the decoder. In training the device, the network, its recipe, how it is
    computed (precision, memory format, execution), the epochs and the batch size
    (:func:`batch_size`); on CPUs the threads too: a CPU rank's threads are its device, a GPU
    rank's only feed it.
    """
    same = (
        asked.stage, asked.study, asked.scaling, asked.data, asked.image_size_px,
        images_each(asked),
    )  # fmt: skip
    if asked.stage == Stage.PREPROCESS:
        return *same, asked.decoder
    threads = asked.threads_per_rank if asked.device == Device.CPU else None
    taught = asked.model, asked.recipe, asked.epochs
    computed = asked.precision, asked.memory_format, asked.execution
    return *same, asked.device, *taught, *computed, threads, batch_size(asked)


def batch_size(asked: Row) -> int | None:
    """The batch size that stays the same while ranks are added, as ``batch_mode`` says.

    On one rank the batch of each device is that of all, so a baseline serves either mode. Where
    the mode is not known it is the batch size as stated.
    """
    each, together = asked.batch_size_per_device, asked.batch_size_global
    if asked.batch_mode == BatchMode.GLOBAL:
        return together
    return together if each is None else each


def batch_words(asked: Row) -> str:
    """The batch size with its meaning, such as ``batch 32 per device``."""
    if batch_size(asked) is None:
        return "batch size not known"
    return f"batch {batch_size(asked)}{_MEANING.get(asked.batch_mode, '')}"


def describe(baseline: Group) -> str:
    """``baseline`` in words, such as ``single on cpu, batch 32``."""
    asked = baseline.asked
    if asked.stage == Stage.PREPROCESS:
        return f"{asked.backend}, {counted(asked.workers, 'worker')}"
    words = [training_words(asked.strategy, asked.device)]
    if asked.strategy != Strategy.SINGLE:
        words.append(counted(asked.workers, "rank"))
    if batch_size(asked) is not None:
        words.append(f"batch {batch_size(asked)}")
    return ", ".join(words)


def images_each(row: Row) -> float | None:
    """What must be equal to compare: images in all (strong), or per worker (weak scaling)."""
    if row.images_asked is None or row.scaling != Scaling.WEAK:
        return row.images_asked
    return row.images_asked / (row.workers or 1)


def _alike(one: Row, other: Row) -> int:
    return sum(getattr(one, name) == getattr(other, name) for name in ALIKE)
