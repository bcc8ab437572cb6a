"""Tasks: what a run of each kind computes, and the values that its settings take."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    model_validator,
)

from weather_hpc.errors import nearest
from weather_hpc.study.networks import NAMED_WEIGHTS, PACKAGED
from weather_hpc.study.recipe import RECIPES
from weather_hpc.study.settings import (
    REQUIRED,
    SETTINGS,
)


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


class Color(StrEnum):
    """Whether the colours of an image with an ICC profile are converted to sRGB."""

    MANAGED = "managed"
    IGNORE = "ignore"


class Damaged(StrEnum):
    """What becomes of images with damaged pixels: left out and listed, or packed and told."""

    QUARANTINE = "quarantine"
    KEEP = "keep"


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


FEATURE_SIDE = 64
"""Features are computed from thumbnails of this side, pixels, which divides an image's side."""


def _share(value: Any) -> Any:
    """``1%`` as 0.01."""
    text = str(value).strip()
    try:
        return float(text[:-1]) / 100 if text.endswith("%") else value
    except ValueError:
        return value


Share = Annotated[float, BeforeValidator(_share)]
"""A share from 0 to 1, or in percent with the sign."""


def _absolute(weights: str) -> str:
    return weights if weights in NAMED_WEIGHTS else str(Path(weights).absolute())


class Part(BaseModel):
    """Base of all parts of a spec: immutable, no unknown keys, no NaN."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def setting_field(name: str, **limits: Any) -> Any:
    """The field of setting ``name``: default and help come from the table of settings."""
    setting = SETTINGS[name]
    default = ... if setting.default is REQUIRED else setting.default
    return Field(default, description=setting.described, validate_default=True, **limits)


class PreprocessTask(Part):
    """Images -> packed store."""

    kind: Literal["preprocess"] = "preprocess"
    backend: Backend = setting_field("backend")
    workers: int = setting_field("workers", ge=1)
    image_size: int = setting_field("image_size", ge=8, le=4096)
    images: int | None = setting_field("images", ge=1)
    decoder: Decoder = setting_field("decoder")
    color: Color = setting_field("color")
    damaged: Damaged = setting_field("damaged")
    max_unreadable: Share = setting_field("max_unreadable", ge=0, le=1)

    def threads_per_node(self, nodes: int) -> int:
        """CPU threads that compute on each of ``nodes``."""
        return -(-self.workers // nodes)


class EdaTask(Part):
    """Packed store -> what exploration computes of its pixels."""

    kind: Literal["eda"] = "eda"
    backend: Backend = setting_field("backend")
    workers: int = setting_field("workers", ge=1)
    augmentation: str = setting_field("augmentation")
    image_size: int = setting_field("image_size", ge=8, le=4096)
    images: int | None = setting_field("images", ge=1)

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
    operation: Operation = setting_field("operation")
    engine: Engine = setting_field("engine")
    workers: int = setting_field("workers", ge=1)
    chunk_images: int = setting_field("chunk_images", ge=1)
    array_input: ArrayInput = setting_field("array_input")
    image_size: int = setting_field("image_size", ge=8, le=4096)
    images: int | None = setting_field("images", ge=1)

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
    strategy: Strategy = setting_field("strategy")
    device: Device = setting_field("device")
    world_size: int = setting_field("world_size", ge=1)
    threads_per_rank: int = setting_field("threads_per_rank", ge=1)
    batch_size: int = setting_field("batch_size", ge=1)
    batch_mode: BatchMode = setting_field("batch_mode")
    epochs: int = setting_field("epochs", ge=1)
    warmup_steps: int = setting_field("warmup_steps", ge=0)
    model: str = setting_field("model")
    weights: Annotated[str, AfterValidator(_absolute)] | None = setting_field(
        "weights", min_length=1
    )
    image_size: int = setting_field("image_size", ge=8, le=4096)
    recipe: str = setting_field("recipe")
    learning_rate: float | None = setting_field("learning_rate", gt=0)
    batch_norm: BatchNorm = setting_field("batch_norm")
    precision: Precision = setting_field("precision")
    memory_format: MemoryFormat = setting_field("memory_format")
    execution: Execution = setting_field("execution")
    held_apart: float = setting_field("held_apart", ge=0, le=0.5)
    seed: int = setting_field("seed", ge=0)
    images: int | None = setting_field("images", ge=1)

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
        self._check_probe()
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

    def _check_probe(self) -> None:
        """Refuse what a recipe that fits the last layer alone would ignore."""
        if not RECIPES[self.recipe].fits_head:
            return
        if self.weights is None:
            raise ValueError(f"recipe {self.recipe} needs weights: a file, or {PACKAGED}")
        for name, wanted in (
            ("strategy", Strategy.SINGLE), ("execution", Execution.EAGER), ("epochs", 1),
            ("learning_rate", None),
        ):  # fmt: skip
            if (value := getattr(self, name)) != wanted:
                right = "none" if wanted is None else wanted
                raise ValueError(f"recipe {self.recipe} has {name} {right}, not {value}")

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
    new_images: str = setting_field("new_images", min_length=1)

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
