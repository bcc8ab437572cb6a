"""Study -> Plan: every planned run, in the order of execution."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import ValidationError

from weather_hpc.errors import UserError
from weather_hpc.files import short_hash
from weather_hpc.study.config import StudyConfig, TrainGrid
from weather_hpc.study.cpus import cpus_asked
from weather_hpc.study.images import ImageCount
from weather_hpc.study.refusals import check_array, check_count, check_images, check_train
from weather_hpc.study.site import SiteProfile
from weather_hpc.study.spec import Resources, RunSpec, Scaling, Stage
from weather_hpc.study.stages import MEASURED
from weather_hpc.study.tasks import (
    ArrayTask,
    Backend,
    BatchNorm,
    Damaged,
    Device,
    EdaTask,
    PredictTask,
    PreprocessTask,
    Strategy,
    Task,
    TrainTask,
    WorkerTask,
)

AnyTask = TypeVar("AnyTask", bound=WorkerTask | TrainTask)

_WORKER_TASKS: dict[Stage, type[WorkerTask]] = {
    Stage.PREPROCESS: PreprocessTask,
    Stage.EDA: EdaTask,
    Stage.ARRAY: ArrayTask,
}
"""The tasks of the stages whose work is done by worker processes."""


@dataclass(frozen=True)
class Plan:
    """The runs of a study. ``prepare`` packs the store that others read; ``predict`` classifies new
    images with the best trained network. Both are not measured.
    """

    study: str
    data: str
    prepare: RunSpec | None
    runs: tuple[RunSpec, ...]
    predict: RunSpec | None = None

    @property
    def store_name(self) -> str:
        """The name of the store that runs read: the same images and size, the same store."""
        if self.prepare is None or not isinstance(self.prepare.task, PreprocessTask):
            raise ValueError(f"study {self.study} has no run that reads a store")
        task = self.prepare.task
        kept = [str(task.damaged)] * (task.damaged is Damaged.KEEP)
        return f"{task.image_size}px-{short_hash([self.data, task.image_size, *kept])}"

    @property
    def all(self) -> tuple[RunSpec, ...]:
        """Every run, the preparing one first, predictions last."""
        prepare, predict = ((spec,) if spec else () for spec in (self.prepare, self.predict))
        return prepare + self.runs + predict


def make_plan(
    study: StudyConfig,
    data: str,
    prepare_workers: int = 1,
    site: SiteProfile | None = None,
    new_images: str | None = None,
    images: ImageCount | None = None,
) -> Plan:
    """The plan of ``study`` on the images in the folder ``data`` (absolute path).

    Repeats are the outermost loop: drift of the machine during a study then affects
    every configuration equally.
    ``prepare_workers`` CPUs pack the training store. ``site`` says how many CPUs workers get where
    an entry of the study does not. ``new_images``: a folder (absolute path) to classify after
    training. ``images``: how many images ``data`` has; None: not known. Raises UserError where an
    entry of the study cannot work, or there are new images but no training.
    """
    check_count(study)
    site = site or SiteProfile()
    reading = [stage for stage, of in MEASURED.items() if of.reads_store and study.grids(stage)]
    prepare = _prepare(study, data, prepare_workers, site) if reading else None
    runs = [
        _spec(study, stage, task, resources, repeat, data)
        for stage in MEASURED
        for repeat in range(study.repeats)
        for task, resources in _configurations(study, stage, site, images)
    ]
    if images is not None:
        check_images(study, runs, images)
    unique = {spec.key: spec for spec in runs}
    predict = None if new_images is None else _predict(study, data, new_images)
    return Plan(study.name, data, prepare, tuple(unique.values()), predict)


def worker_resources(task: WorkerTask, **cpus: Any) -> Resources:
    """CPUs for all workers; one for a run whose workers are jobs of their own, of a CPU each.

    ``cpus``: the settings ``cpus_per_worker`` and ``oversubscribe``, where given.
    """
    each = cpus.get("cpus_per_worker")
    if getattr(task, "backend", None) is Backend.DASK_JOBQUEUE:
        return Resources(**cpus | {"cpus_per_worker": None})
    return Resources(cpus_per_node=cpus_asked(task, cpus_per_worker=each), **cpus)


def _prepare(study: StudyConfig, data: str, workers: int, site: SiteProfile) -> RunSpec:
    task = PreprocessTask(
        backend=Backend.MULTIPROCESSING if workers > 1 else Backend.SEQUENTIAL,
        workers=workers,
        image_size=study.image_size,
        **_unreadable(study),
    )
    resources = worker_resources(task, oversubscribe=site.oversubscribe)
    return _spec(study, Stage.PREPARE, task, resources, 0, data)


def _predict(study: StudyConfig, data: str, new_images: str) -> RunSpec:
    if not study.train:
        raise UserError(
            f"--new-images: study {study.name} trains no network; add an entry under train"
        )
    return _spec(study, Stage.PREDICT, PredictTask(new_images=new_images), Resources(), 0, data)


def _spec(
    study: StudyConfig, stage: Stage, task: Task, resources: Resources, repeat: int, data: str
) -> RunSpec:
    resources = resources.model_copy(update={"time_limit_min": study.time_limit_min})
    return RunSpec(
        study=study.name,
        stage=stage,
        task=task,
        resources=resources,
        scaling=study.scaling,
        repeat=repeat,
        data=data,
    )


def _unreadable(study: StudyConfig) -> dict[str, Any]:
    """What packing does about images that are damaged or cannot be read."""
    return {"damaged": study.damaged, "max_unreadable": study.max_unreadable}


def _images(study: StudyConfig, workers: int) -> int | None:
    """Images of a run: null (all) for strong scaling, in proportion to the workers for weak."""
    if study.scaling is Scaling.STRONG or study.images_per_worker is None:
        return None
    return study.images_per_worker * workers


def _configurations(
    study: StudyConfig, stage: Stage, site: SiteProfile, images: ImageCount | None
) -> Iterator[tuple[Task, Resources]]:
    """Every configuration of a measured stage, with the resources that it needs."""
    for index, grid in enumerate(study.grids(stage)):
        if isinstance(grid, TrainGrid):
            for task, resources in _train(study, grid, index, site):
                check_train(study, index, task, images)
                yield task, resources
            continue
        for values in grid.combinations():
            cpus = _cpus(values, site)
            values |= {"image_size": study.image_size, "images": _images(study, values["workers"])}
            if stage is Stage.PREPROCESS:
                values |= _unreadable(study)
            made = _checked(_WORKER_TASKS[stage], values, study, stage, index)
            if isinstance(made, ArrayTask):
                check_array(study, index, made, images)
            yield made, worker_resources(made, **cpus)


def _cpus(values: dict[str, Any], site: SiteProfile) -> dict[str, Any]:
    """The settings of CPUs, taken out of an entry's ``values``; the site's where it has none."""
    chosen = {}
    for name in ("cpus_per_worker", "oversubscribe"):
        own = values.pop(name)
        chosen[name] = getattr(site, name) if own is None else own
    return chosen


def _checked(
    task: type[AnyTask], values: dict[str, Any], study: StudyConfig, stage: Stage, index: int
) -> AnyTask:
    """The task with ``values``. Raises UserError with its first fault."""
    try:
        return task(**values)
    except ValidationError as error:
        reason = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise _refused(study, stage, index, reason) from None


def _refused(study: StudyConfig, stage: Stage, index: int, reason: str) -> UserError:
    return UserError(f"{study.at(stage.value, index)}: {reason}")


def _train(
    study: StudyConfig, grid: TrainGrid, index: int, site: SiteProfile
) -> Iterator[tuple[TrainTask, Resources]]:
    for values in grid.combinations():
        cpus = _cpus(values, site)
        nodes = values.pop("nodes")
        strategy, world_size = values["strategy"], values["world_size"]
        if world_size % nodes:
            reason = f"a world_size of {world_size} is not divisible by {nodes} nodes"
            raise _refused(study, Stage.TRAIN, index, reason)
        if nodes > 1 and strategy in (Strategy.SINGLE, Strategy.DP):
            reason = f"strategy {strategy} runs on one node, not on {nodes}"
            raise _refused(study, Stage.TRAIN, index, reason)
        if strategy is Strategy.DP and values["device"] is Device.CPU:
            raise _refused(study, Stage.TRAIN, index, "strategy dp needs device cuda, not cpu")
        if strategy is not Strategy.DDP:
            values["batch_norm"] = BatchNorm.LOCAL
        values |= {"image_size": study.image_size, "images": _images(study, world_size)}
        task = _checked(TrainTask, values, study, Stage.TRAIN, index)
        yield task, _train_resources(task, nodes, cpus)


def _train_resources(task: TrainTask, nodes: int, cpus: dict[str, Any]) -> Resources:
    gpus = 0 if task.device is Device.CPU else task.world_size // nodes
    return Resources(
        nodes=nodes,
        cpus_per_node=cpus_asked(task, nodes, gpus, cpus["cpus_per_worker"]),
        gpus_per_node=gpus,
        **cpus,
    )
