"""What a study asks for that cannot work, found before anything is written.

Planning knows the study, the table of networks and, in a sweep, how many images there are. What
only a node can tell (its memory, packages and GPUs, damaged images) is left to the run.
"""

from collections.abc import Iterable
from pathlib import Path

from weather_hpc.errors import UserError
from weather_hpc.study.config import StudyConfig
from weather_hpc.study.images import ImageCount
from weather_hpc.study.networks import (
    CACHED,
    CUT,
    NAMED_WEIGHTS,
    network,
    no_weights,
    unknown_network,
)
from weather_hpc.study.spec import RunSpec, Stage
from weather_hpc.study.stages import MEASURED
from weather_hpc.study.steps import held_apart_count, too_few
from weather_hpc.study.tasks import ArrayTask, Strategy, TrainTask
from weather_hpc.text import counted

MOST_RUNS = 5000
"""Of a study: they are planned within 5 s, and are more jobs than most clusters queue."""


def check_count(study: StudyConfig) -> None:
    """Raise UserError where the study has more than :data:`MOST_RUNS` runs, counted, not made."""
    grids = [grid for stage in MEASURED for grid in study.grids(stage)]
    configurations = sum(grid.size for grid in grids)
    asked = study.repeats * configurations
    if asked > MOST_RUNS:
        raise UserError(
            f"{study.at('repeats')}: {counted(study.repeats, 'repeat')} of "
            f"{counted(configurations, 'configuration')} are {asked} runs; "
            f"expected at most {MOST_RUNS} in a study"
        )


def check_train(study: StudyConfig, index: int, task: TrainTask, images: ImageCount | None) -> None:
    """Raise UserError where ``task``, of the ``index``-th entry of ``train``, cannot work.

    ``images``: None where they are not known.
    """
    known = network(task.model)
    if known is None:
        raise _refused(study, index, "model", f"{task.model}: {unknown_network(task.model)}")
    if refusal := known.refusal(task.image_size):
        where = study.at("image_size")
        raise UserError(f"{where}: {task.model} (train[{index}]) {refusal}")
    _check_weights(study, index, task)
    _check_stages(study, index, task, known.stages)
    _check_batch(study, index, task, images, batch_norm=known.batch_norm)


def check_array(study: StudyConfig, index: int, task: ArrayTask, images: ImageCount | None) -> None:
    """Raise UserError where ``task`` of the ``index``-th entry of ``array`` has too few chunks."""
    count = task.images or (images.total if images else None)
    if count is None:
        return
    chunks = -(-count // task.chunk_images)
    if task.workers > chunks:
        fits = max(1, count // task.workers)
        where = study.at("array", index, "workers")
        raise UserError(
            f"{where}: {task.workers} workers, but {counted(count, 'image')} in chunks of "
            f"{task.chunk_images} are {counted(chunks, 'chunk')}: use fewer workers, or "
            f"chunk_images of at most {fits}"
        )


def check_images(study: StudyConfig, specs: Iterable[RunSpec], images: ImageCount) -> None:
    """Raise UserError where weak scaling asks for more images than there are.

    It names the run that asks for the most.
    """
    asked = [spec for spec in specs if (spec.task.images or 0) > images.of(spec.stage)]
    if not asked:
        return
    most = max(asked, key=lambda spec: spec.workers / images.of(spec.stage))
    has = images.of(most.stage)
    fits = f"at most {has // most.workers}" if has >= most.workers else "more images"
    raise UserError(
        f"{study.at('images_per_worker')}: {most.label}: {most.workers} times "
        f"{study.images_per_worker} are {most.task.images} images, but "
        f"{images.noun(most.stage)}: use {fits}, or fewer workers"
    )


def _refused(study: StudyConfig, index: int, key: str, reason: str) -> UserError:
    return UserError(f"{study.at('train', index, key)}: {reason}")


def _check_weights(study: StudyConfig, index: int, task: TrainTask) -> None:
    if task.weights is None:
        return
    if reason := no_weights(task.model, task.weights):
        raise _refused(study, index, "weights", reason)
    if task.weights not in NAMED_WEIGHTS and not Path(task.weights).is_file():
        reason = f"{task.weights}: no such file; expected a file of weights, or {CACHED}"
        raise _refused(study, index, "weights", reason)


def _check_stages(study: StudyConfig, index: int, task: TrainTask, stages: int) -> None:
    if task.strategy is not Strategy.MODEL:
        return
    if stages == 1:
        reason = f"strategy model cuts {' and '.join(CUT)} only, not {task.model}"
        raise _refused(study, index, "strategy", reason)
    if task.world_size > stages:
        reason = f"{task.model} can be cut into {stages} stages at most, not {task.world_size}"
        raise _refused(study, index, "world_size", reason)


def _check_batch(
    study: StudyConfig, index: int, task: TrainTask, images: ImageCount | None, *, batch_norm: bool
) -> None:
    """Refuse steps that give some device too few images."""
    epoch = _training_images(task, images)
    if epoch is None:
        return
    if too_small := too_few(task, epoch, batch_norm):
        size = f"{task.batch_size} ({task.batch_mode}) with world_size {task.world_size}"
        raise _refused(study, index, "batch_size", f"{size} {too_small}")


def _training_images(task: TrainTask, images: ImageCount | None) -> int | None:
    """Images of an epoch; None: not known."""
    count = task.images or (images.training if images else None)
    return count and count - held_apart_count(task.held_apart, count)


def single_steps(specs: Iterable[RunSpec], images: ImageCount) -> str | None:
    """The notice that runs have one step an epoch, smaller than their batch; None: no run has."""
    labels = {
        spec.label: None
        for spec in specs
        if isinstance(spec.task, TrainTask)
        and spec.task.batch_size_global > (_training_images(spec.task, images) or 0)
    }
    if not labels:
        return None
    first, *others = labels
    which = first + (f" and {counted(len(others), 'other configuration')}" if others else "")
    return (
        f"{which}: a batch is larger than the training images of an epoch "
        f"({images.noun(Stage.TRAIN)}), so an epoch is one step with all of them"
    )
