"""RunSpec: one planned run, all that a node needs to carry it out. Crosses from plan to launch."""

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
from weather_hpc.study.recipe import RECIPES


class Stage(StrEnum):
    """What a run does. ``prepare`` packs the store that every training run reads; unmeasured."""

    PREPARE = "prepare"
    PREPROCESS = "preprocess"
    TRAIN = "train"


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


class Strategy(StrEnum):
    """How training is spread over devices."""

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
    """The order of an image batch in memory: torch's own, or colours of a pixel side by side."""

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


CACHED = "cached"
"""Instead of a file of weights: the user's cache of torch."""


def _absolute(weights: str) -> str:
    return weights if weights == CACHED else str(Path(weights).absolute())


class Part(BaseModel):
    """Base of all parts of a spec: immutable, no unknown keys, no NaN."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Resources(Part):
    """What a run asks the scheduler for."""

    nodes: int = Field(1, ge=1, description="number of nodes")
    cpus_per_node: int = Field(1, ge=1, description="CPU cores on each node")
    gpus_per_node: int = Field(0, ge=0, description="GPUs on each node")
    time_limit_min: int = Field(60, ge=1, description="wall-clock limit, minutes")


class PreprocessTask(Part):
    """Images -> packed store."""

    kind: Literal["preprocess"] = "preprocess"
    backend: Backend = Field(description="how the work is spread")
    workers: int = Field(ge=1, description="worker processes")
    image_size: int = Field(256, ge=8, le=4096, description="height and width stored, pixels")
    images: int | None = Field(None, ge=1, description="use this many images; null: all")
    decoder: Decoder = Field(Decoder.FAST, description="how images are decoded")


class TrainTask(Part):
    """Packed store -> trained network."""

    kind: Literal["train"] = "train"
    strategy: Strategy = Field(description="how the work is spread")
    device: Device = Field(description="what it computes on")
    world_size: int = Field(ge=1, description="devices (ranks) in all, over all nodes")
    threads_per_rank: int = Field(1, ge=1, description="CPU threads of each rank")
    batch_size: int = Field(ge=1, description="images per step, as batch_mode counts them")
    batch_mode: BatchMode = Field(BatchMode.PER_DEVICE, description="what batch_size counts")
    epochs: int = Field(ge=1, description="measured epochs")
    warmup_steps: int = Field(2, ge=0, description="unmeasured steps first, then undone")
    model: str = Field("paper_cnn", description="the network's name")
    weights: Annotated[str, AfterValidator(_absolute)] | None = Field(
        None, min_length=1, description="file of ImageNet weights, or cached; null: drawn anew"
    )
    image_size: int = Field(256, ge=8, le=4096, description="the store's image side, pixels")
    recipe: str = Field("paper", description="how it is taught: a name in study/recipe.py")
    learning_rate: float | None = Field(
        None, gt=0, description="the optimizer's largest step size; null: the recipe's"
    )
    batch_norm: BatchNorm = Field(BatchNorm.LOCAL, description="whose images it normalises by")
    precision: Precision = Field(Precision.FP32, description="what the network computes in")
    memory_format: MemoryFormat = Field(
        MemoryFormat.CONTIGUOUS, description="order of an image batch in memory"
    )
    execution: Execution = Field(Execution.EAGER, description="how a step is carried out")
    seed: int = Field(0, ge=0, description="of weights, order and augmentation")
    images: int | None = Field(None, ge=1, description="train on this many images; null: all")

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
                f"a global batch_size of {self.batch_size} does not divide "
                f"by a world_size of {self.world_size}"
            )
        return self

    def _check_ways(self) -> None:
        """Not every strategy has every way of computing: none is silently left out."""
        replicas = self.strategy in (Strategy.SINGLE, Strategy.DDP)
        if not replicas and (self.precision is Precision.BF16 or self.execution.compiles):
            asked = "precision bf16" if self.precision is Precision.BF16 else self.execution
            raise ValueError(f"{asked} is for strategies single and ddp, not {self.strategy}")
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


Task = Annotated[PreprocessTask | TrainTask, Field(discriminator="kind")]


class RunSpec(Part):
    """One run of a plan. ``run_id`` joins it to the RunRecord that comes back."""

    study: str = Field(description="the study's name")
    stage: Stage = Field(description="what the run does")
    task: Task = Field(description="with what settings")
    resources: Resources = Field(default=Resources(), description="on what")
    scaling: Scaling = Field(Scaling.STRONG, description="how images grow with workers")
    repeat: int = Field(0, ge=0, description="which repetition of the same configuration")
    data: str = Field(description="absolute path of the image folder, or of the store read")

    @property
    def run_id(self) -> str:
        """A readable name, unique to what was asked: ``train-ddp-cpu-w2-b32-r0-1f0c9a2b``."""
        return "-".join([self.label, f"r{self.repeat}", short_hash(self.identity)])

    @property
    def identity(self) -> dict[str, Any]:
        """What makes this run another than those that differ in it: the spec as JSON.

        CPUs that a GPU run holds beside those that its threads compute on are not part of it.
        """
        asked = self.model_dump(mode="json")
        if isinstance(self.task, TrainTask) and self.resources.gpus_per_node:
            asked["resources"]["cpus_per_node"] = self.task.threads_per_node(self.resources.nodes)
        return asked

    @property
    def label(self) -> str:
        """The configuration in words: its repeats share it."""
        task = self.task
        if isinstance(task, PreprocessTask):
            return f"{self.stage}-{task.backend}-w{task.workers}"
        nodes = f"-n{self.resources.nodes}" if self.resources.nodes > 1 else ""
        return (
            f"{self.stage}-{task.strategy}-{task.device}{nodes}"
            f"-w{task.world_size}-b{task.batch_size}"
        )

    def as_dict(self) -> dict[str, Any]:
        """JSON-able form, ``run_id`` included for the reader's sake."""
        return {"run_id": self.run_id, **self.model_dump(mode="json")}

    @classmethod
    def from_dict(cls, value: dict[str, Any]) -> "RunSpec":
        """The spec that :meth:`as_dict` wrote. Raises ValueError where it does not fit."""
        return cls.model_validate({k: v for k, v in value.items() if k != "run_id"})
