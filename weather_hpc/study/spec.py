"""RunSpec: one planned run, with everything that a node needs to run it. From plan to launch."""

from collections.abc import Hashable
from enum import StrEnum
from typing import Any, TypeGuard

from pydantic import (
    Field,
)

from weather_hpc.files import short_hash
from weather_hpc.study.cpus import cpus_asked
from weather_hpc.study.settings import (
    CONFIGURATION,
    RESOURCES,
    Role,
    settings_of,
)
from weather_hpc.study.tasks import (
    ArrayTask,
    Backend,
    EdaTask,
    Part,
    PredictTask,
    PreprocessTask,
    Task,
    TrainTask,
    setting_field,
)


def is_file_name(value: object) -> TypeGuard[str]:
    """Whether ``value`` is a printable name of a file in a folder, and of no other folder's."""
    if not isinstance(value, str) or not value.isprintable() or "/" in value:
        return False
    return value not in ("", ".", "..") and len(value.encode()) <= LONGEST_NAME


LONGEST_NAME = 255
"""Bytes of a file's name, on Linux."""


class Stage(StrEnum):
    """What a run does. ``prepare`` packs the store that every training run reads, ``predict``
    classifies new images with the best trained network; both are unmeasured."""

    PREPARE = "prepare"
    PREPROCESS = "preprocess"
    EDA = "eda"
    ARRAY = "array"
    TRAIN = "train"
    PREDICT = "predict"


class Scaling(StrEnum):
    """``strong``: the same images whatever the workers. ``weak``: the same images per worker."""

    STRONG = "strong"
    WEAK = "weak"


class Resources(Part):
    """The resources that a run requests from the scheduler."""

    nodes: int = setting_field("nodes", ge=1)
    cpus_per_node: int = setting_field("cpus_per_node", ge=1)
    gpus_per_node: int = setting_field("gpus_per_node", ge=0)
    time_limit_min: int = setting_field("time_limit_min", ge=1)
    cpus_per_worker: float | None = setting_field(
        "cpus_per_worker", gt=0, strict=True, allow_inf_nan=False
    )
    oversubscribe: bool | None = setting_field("oversubscribe", strict=True)


class RunSpec(Part):
    """One run of a plan. Identified by configuration and repeat; ``run_id`` is a readable label."""

    study: str = setting_field("study")
    stage: Stage = Field(description=f"stage of the pipeline: {', '.join(Stage)}")
    task: Task = Field(description="settings of the task")
    resources: Resources = Field(
        default=Resources(), description="resources requested from the scheduler"
    )
    scaling: Scaling = setting_field("scaling")
    repeat: int = Field(0, ge=0, description="number of the repeat of the configuration, from 0")
    data: str = setting_field("data")
    name: str | None = Field(
        None, exclude=True, description="run_id; null: derived from the configuration"
    )

    @property
    def identity(self) -> dict[str, Any]:
        """The configuration as JSON-able values by setting, without those that have their default.

        A setting that did not exist when the run was made has its default, so that the run keeps
        its identity. CPUs that a GPU run has besides those that its threads compute on are left
        out too: no result depends on them. An oversubscribed run counts with the CPUs that it
        would have on a node that is large enough.
        """
        fields = self.model_dump(mode="json")
        values = fields | fields["task"] | fields["resources"]
        asked = self.resources
        if isinstance(self.task, TrainTask) and asked.gpus_per_node:
            values["cpus_per_node"] = self.task.threads_per_node(asked.nodes)
        elif asked.oversubscribe and not self.submits_workers:
            values["cpus_per_node"] = cpus_asked(
                self.task, asked.nodes, cpus_per_worker=asked.cpus_per_worker
            )
        settings = settings_of(self.task.kind, *CONFIGURATION)
        named = {s.name: values[s.name] for s in settings if values[s.name] != s.default}
        return {"stage": values["stage"], **named}

    @property
    def configuration(self) -> str:
        """The configuration as a readable name that all its repeats share."""
        return f"{self.label}-{short_hash(self.identity)}"

    @property
    def key(self) -> tuple[str, int]:
        """Configuration and repeat: unique in a results folder."""
        return self.configuration, self.repeat

    def differences(self, other: "RunSpec") -> list[str]:
        """The names of the settings that differ, ``repeat`` included."""
        mine, theirs = ({**spec.identity, "repeat": spec.repeat} for spec in (self, other))
        return [name for name in mine | theirs if mine.get(name) != theirs.get(name)]

    @property
    def run_id(self) -> str:
        """A readable label, and the name of the run's folder: ``train-ddp-cpu-w2-b32-r0-1f0c9a2b``.

        The name that an earlier version, or an earlier edit of the study, gave it is kept.
        """
        return self.name or self._default_name

    @property
    def _default_name(self) -> str:
        return f"{self.label}-r{self.repeat}-{short_hash(self.identity)}"

    @property
    def label(self) -> str:
        """A readable label of the configuration, not unique."""
        task = self.task
        if isinstance(task, PreprocessTask | EdaTask):
            return f"{self.stage}-{task.backend}-w{task.workers}"
        if isinstance(task, ArrayTask):
            return f"{self.stage}-{task.operation}-{task.engine}-w{task.workers}"
        if isinstance(task, PredictTask):
            return str(self.stage)
        nodes = f"-n{self.resources.nodes}" if self.resources.nodes > 1 else ""
        return (
            f"{self.stage}-{task.strategy}-{task.device}{nodes}"
            f"-w{task.world_size}-b{task.batch_size}"
        )

    @property
    def workers(self) -> int:
        """Number of worker processes or ranks."""
        return self.task.workers

    @property
    def submits_workers(self) -> bool:
        """Whether its workers are jobs of their own."""
        backend = getattr(self.task, "backend", None)
        return backend is Backend.DASK_JOBQUEUE

    @property
    def images_per_worker(self) -> float | None:
        """What scaling keeps constant: images over all workers (strong), or for each (weak)."""
        images = self.task.images
        return images if images is None or self.scaling is Scaling.STRONG else images / self.workers

    def same_except(self, *settings: str) -> str:
        """A name that runs share which differ in ``settings`` only (and repeat and resources)."""
        left_out = {*settings, *(setting.name for setting in RESOURCES)}
        return short_hash({k: v for k, v in self.identity.items() if k not in left_out})

    @property
    def series(self) -> Hashable:
        """Equal for runs that differ only in workers (or ranks) and repeat.

        Runs on different numbers of nodes are in different series. Within a
        series, weak scaling has equal images per worker, strong scaling equal images.
        """
        size = (s.name for s in settings_of(self.task.kind, Role.SIZE))
        return self.same_except(*size, "images"), self.resources.nodes, self.images_per_worker

    def as_dict(self) -> dict[str, Any]:
        """JSON-able form, ``run_id`` first."""
        return {"run_id": self.run_id, **self.model_dump(mode="json")}

    @classmethod
    def from_dict(cls, value: dict[str, Any]) -> "RunSpec":
        """The spec that :meth:`as_dict` wrote. Raises ValueError where it does not fit."""
        spec = cls.model_validate({k: v for k, v in value.items() if k != "run_id"})
        run_id = value.get("run_id", spec.run_id)
        if not is_file_name(run_id):
            raise ValueError("run_id: expected the name of a folder, without '/'")
        return spec if run_id == spec.run_id else spec.named(run_id)

    def within(self, most: int | None) -> "RunSpec":
        """The same run on ``most`` CPUs of a node (None: unknown), where it asks for more.

        Only where it may be oversubscribed; configuration and name stay the same.
        """
        resources = self.resources
        if not resources.oversubscribe or most is None or resources.cpus_per_node <= max(1, most):
            return self
        fewer = resources.model_copy(update={"cpus_per_node": max(1, most)})
        return self.model_copy(update={"resources": fewer})

    def named(self, run_id: str) -> "RunSpec":
        """The same run with a different label."""
        return self.model_copy(update={"name": None if run_id == self._default_name else run_id})
