"""RunSpec: one planned run, with everything that a node needs to run it. From plan to launch."""

from collections.abc import Hashable
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    model_validator,
)

from weather_hpc.errors import nearest
from weather_hpc.files import short_hash
from weather_hpc.study.cpus import cpus_asked
from weather_hpc.study.recipe import RECIPES
from weather_hpc.study.settings import (
    CONFIGURATION,
    REQUIRED,
    RESOURCES,
    SETTINGS,
    Role,
    settings_of,
)


class Stage(StrEnum):
    """What a run does. ``prepare`` packs the store that every training run reads, ``predict``
    classifies new images with the best trained network; both are unmeasured."""

    PREPARE = "prepare"
    PREPROCESS = "preprocess"
    EDA = "eda"
    ARRAY = "array"
    TRAIN = "train"
    PREDICT = "predict"


class Backend(StrEnum):
    """How images are preprocessed."""

    SEQUENTIAL = "sequential"
    MULTIPROCESSING = "multiprocessing"
    DASK = "dask"
    DASK_NAIVE = "dask-naive"
    DASK_JOBQUEUE = "dask-jobqueue"


class Decoder(StrEnum):
    """How an image becomes pixels: in the shortest time, or exactly as Pillow does it."""

    FAST = "fast"
    EXACT = "exact"


class Operation(StrEnum):
    """What is computed of all images: moments and counts of each channel, images or features."""

    MEAN_STD = "mean-std"
    HISTOGRAM = "histogram"
    EQUALIZATION = "equalization"
    FEATURES = "features"


class Engine(StrEnum):
    """What an array operation is computed with."""

    NUMPY = "numpy"
    DASK_ARRAY = "dask-array"
    OPENCV = "opencv"


class ArrayInput(StrEnum):
    """Where images are when the clock starts: in memory, or on disk, out of core."""

    MEMORY = "memory"
    DISK = "disk"


class Strategy(StrEnum):
    """How training is distributed over devices."""

    SINGLE = "single"
    DP = "dp"
    DDP = "ddp"
    MODEL = "model"


class Device(StrEnum):
    """What training computes on; ``auto`` is the GPU where there is one, else the CPU."""

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"


class BatchMode(StrEnum):
    """What ``batch_size`` counts: the images of one device's step, or of all devices' together."""

    PER_DEVICE = "per-device"
    GLOBAL = "global"


class BatchNorm(StrEnum):
    """Whose images batch norm takes its statistics from: one rank's, or the whole step's."""

    LOCAL = "local"
    SYNC = "sync"


class Precision(StrEnum):
    """What a network computes in: float32; float32 whose products are taken from 19 bits, on GPUs
    that can (``tf32``); or bfloat16 where that is safe (``bf16``). Weights stay float32.
    """

    FP32 = "fp32"
    TF32 = "tf32"
    BF16 = "bf16"


class MemoryFormat(StrEnum):
    """The order of an image batch in memory: torch's own, or the colours of a pixel adjacent."""

    CONTIGUOUS = "contiguous"
    CHANNELS_LAST = "channels-last"


class Execution(StrEnum):
    """How a step is carried out: operation by operation; with the network compiled by
    torch.compile; or recorded once as a CUDA graph and replayed (``graph``); or both of these.
    """

    EAGER = "eager"
    COMPILED = "compiled"
    GRAPH = "graph"
    COMPILED_GRAPH = "compiled-graph"

    @property
    def compiles(self) -> bool:
        """Whether the network is compiled."""
        return self in (Execution.COMPILED, Execution.COMPILED_GRAPH)

    @property
    def replays(self) -> bool:
        """Whether whole steps are CUDA graphs."""
        return self in (Execution.GRAPH, Execution.COMPILED_GRAPH)


class Scaling(StrEnum):
    """``strong``: the same images whatever the workers. ``weak``: the same images per worker."""

    STRONG = "strong"
    WEAK = "weak"


FEATURE_SIDE = 64
"""Features are computed from thumbnails of this side, pixels, which divides an image's side."""

CACHED = "cached"
"""In place of a file of weights: those in torch's cache."""


def _absolute(weights: str) -> str:
    return weights if weights == CACHED else str(Path(weights).absolute())


class Part(BaseModel):
    """Base of all parts of a spec: immutable, no unknown keys, no NaN."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def _setting(name: str, **limits: Any) -> Any:
    """The field of setting ``name``: default and help come from the table of settings."""
    setting = SETTINGS[name]
    default = ... if setting.default is REQUIRED else setting.default
    return Field(default, description=setting.described, validate_default=True, **limits)


class Resources(Part):
    """The resources that a run requests from the scheduler."""

    nodes: int = _setting("nodes", ge=1)
    cpus_per_node: int = _setting("cpus_per_node", ge=1)
    gpus_per_node: int = _setting("gpus_per_node", ge=0)
    time_limit_min: int = _setting("time_limit_min", ge=1)
    cpus_per_worker: float | None = _setting(
        "cpus_per_worker", gt=0, strict=True, allow_inf_nan=False
    )
    oversubscribe: bool | None = _setting("oversubscribe", strict=True)


class PreprocessTask(Part):
    """Images -> packed store."""

    kind: Literal["preprocess"] = "preprocess"
    backend: Backend = _setting("backend")
    workers: int = _setting("workers", ge=1)
    image_size: int = _setting("image_size", ge=8, le=4096)
    images: int | None = _setting("images", ge=1)
    decoder: Decoder = _setting("decoder")

    def threads_per_node(self, nodes: int) -> int:
        """CPU threads that compute on each of ``nodes``."""
        return -(-self.workers // nodes)


class EdaTask(Part):
    """Packed store -> what exploration computes of its pixels."""

    kind: Literal["eda"] = "eda"
    backend: Backend = _setting("backend")
    workers: int = _setting("workers", ge=1)
    augmentation: str = _setting("augmentation")
    image_size: int = _setting("image_size", ge=8, le=4096)
    images: int | None = _setting("images", ge=1)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.backend is Backend.DASK_NAIVE:
            raise ValueError("backend dask-naive is for preprocessing; eda has dask")
        augmenting = [name for name, recipe in RECIPES.items() if recipe.augments]
        if self.augmentation not in augmenting:
            raise ValueError(
                f"augmentation {self.augmentation}: no recipe that augments images; "
                f"known: {', '.join(augmenting)}"
            )
        return self

    def threads_per_node(self, nodes: int) -> int:
        """CPU threads that compute on each of ``nodes``."""
        return -(-self.workers // nodes)


class ArrayTask(Part):
    """Packed store -> one operation on all its images as an array."""

    kind: Literal["array"] = "array"
    operation: Operation = _setting("operation")
    engine: Engine = _setting("engine")
    workers: int = _setting("workers", ge=1)
    chunk_images: int = _setting("chunk_images", ge=1)
    array_input: ArrayInput = _setting("array_input")
    image_size: int = _setting("image_size", ge=8, le=4096)
    images: int | None = _setting("images", ge=1)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.operation is Operation.FEATURES and self.image_size % FEATURE_SIDE:
            raise ValueError(
                f"operation features needs an image_size that is a multiple of {FEATURE_SIDE}, "
                f"not {self.image_size}"
            )
        return self

    def threads_per_node(self, nodes: int) -> int:
        """CPU threads that compute on each of ``nodes``."""
        return -(-self.workers // nodes)


class TrainTask(Part):
    """Packed store -> trained network."""

    kind: Literal["train"] = "train"
    strategy: Strategy = _setting("strategy")
    device: Device = _setting("device")
    world_size: int = _setting("world_size", ge=1)
    threads_per_rank: int = _setting("threads_per_rank", ge=1)
    batch_size: int = _setting("batch_size", ge=1)
    batch_mode: BatchMode = _setting("batch_mode")
    epochs: int = _setting("epochs", ge=1)
    warmup_steps: int = _setting("warmup_steps", ge=0)
    model: str = _setting("model")
    weights: Annotated[str, AfterValidator(_absolute)] | None = _setting("weights", min_length=1)
    image_size: int = _setting("image_size", ge=8, le=4096)
    recipe: str = _setting("recipe")
    learning_rate: float | None = _setting("learning_rate", gt=0)
    batch_norm: BatchNorm = _setting("batch_norm")
    precision: Precision = _setting("precision")
    memory_format: MemoryFormat = _setting("memory_format")
    execution: Execution = _setting("execution")
    seed: int = _setting("seed", ge=0)
    images: int | None = _setting("images", ge=1)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.strategy is Strategy.SINGLE and self.world_size != 1:
            raise ValueError("strategy single has world_size 1")
        if self.recipe not in RECIPES:
            raise ValueError(
                f"recipe {self.recipe}: no such recipe{nearest(self.recipe, list(RECIPES))}"
            )
        if self.batch_norm is BatchNorm.SYNC and self.strategy is not Strategy.DDP:
            raise ValueError(
                "batch_norm sync is for strategy ddp, whose ranks each see a part of a step; "
                f"under {self.strategy} leave it local"
            )
        self._check_ways()
        if self.batch_mode is BatchMode.GLOBAL and self.batch_size % self.world_size:
            raise ValueError(
                f"a global batch_size of {self.batch_size} is not "
                f"divisible by a world_size of {self.world_size}"
            )
        return self

    def _check_ways(self) -> None:
        """Refuse combinations that a strategy does not support, instead of ignoring a setting."""
        replicas = self.strategy in (Strategy.SINGLE, Strategy.DDP)
        if not replicas and (self.precision is Precision.BF16 or self.execution.compiles):
            setting = "precision bf16" if self.precision is Precision.BF16 else self.execution
            raise ValueError(f"{setting} is for strategies single and ddp, not {self.strategy}")
        if self.memory_format is MemoryFormat.CHANNELS_LAST and self.strategy is Strategy.MODEL:
            raise ValueError("memory_format channels-last is for strategies single, dp and ddp")
        if not self.execution.replays:
            return
        if self.strategy is not Strategy.SINGLE:
            raise ValueError(
                f"execution {self.execution} is for strategy single; under {self.strategy} "
                "use eager" + (" or compiled" if replicas else "")
            )
        if self.device is not Device.CUDA:
            raise ValueError(f"execution {self.execution} needs device cuda, not {self.device}")

    @property
    def peak_learning_rate(self) -> float:
        """The optimizer's largest step size."""
        if self.learning_rate is not None:
            return self.learning_rate
        return RECIPES[self.recipe].learning_rate

    @property
    def batch_size_per_device(self) -> int:
        """Images in one device's step. Under ``model`` every device sees the whole batch."""
        if self.batch_mode is BatchMode.PER_DEVICE or self.strategy is Strategy.MODEL:
            return self.batch_size
        return self.batch_size // self.world_size

    @property
    def workers(self) -> int:
        """Number of ranks."""
        return self.world_size

    def threads_per_node(self, nodes: int) -> int:
        """CPU threads that compute on each of ``nodes``; DP's one process drives all its GPUs."""
        processes = 1 if self.strategy is Strategy.DP else self.world_size // nodes
        return processes * self.threads_per_rank

    @property
    def batch_size_global(self) -> int:
        """Images in one optimizer step."""
        if self.strategy is Strategy.MODEL:
            return self.batch_size
        return self.batch_size_per_device * self.world_size


class PredictTask(Part):
    """Trained network and new images -> their predicted classes, by one process."""

    kind: Literal["predict"] = "predict"
    new_images: str = _setting("new_images", min_length=1)

    @property
    def workers(self) -> int:
        """Number of processes."""
        return 1

    @property
    def images(self) -> int | None:
        """Number of images that it is limited to: none, all in the folder are classified."""
        return None

    def threads_per_node(self, nodes: int) -> int:
        """CPU threads that compute on each of ``nodes``."""
        return 1


WorkerTask = PreprocessTask | EdaTask | ArrayTask
"""A task whose work is done by worker processes."""

Task = Annotated[WorkerTask | TrainTask | PredictTask, Field(discriminator="kind")]


class RunSpec(Part):
    """One run of a plan. Identified by configuration and repeat; ``run_id`` is a readable label."""

    study: str = _setting("study")
    stage: Stage = Field(description=f"stage of the pipeline: {', '.join(Stage)}")
    task: Task = Field(description="settings of the task")
    resources: Resources = Field(
        default=Resources(), description="resources requested from the scheduler"
    )
    scaling: Scaling = _setting("scaling")
    repeat: int = Field(0, ge=0, description="number of the repeat of the configuration, from 0")
    data: str = _setting("data")
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
        return spec if run_id == spec.run_id else spec.named(str(run_id))

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
