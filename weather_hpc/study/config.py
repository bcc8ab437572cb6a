"""StudyConfig: what to measure, as ``hpc/studies/*.yaml`` says it."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from weather_hpc.errors import nearest
from weather_hpc.study.recipe import RECIPES
from weather_hpc.study.shipped import shipped
from weather_hpc.study.spec import (
    Backend,
    BatchMode,
    BatchNorm,
    Decoder,
    Device,
    Execution,
    MemoryFormat,
    Precision,
    Scaling,
    Strategy,
)
from weather_hpc.study.yaml_file import Count, OneOrMany, Section, load


class Synthetic(Section):
    """Images that the package makes itself, for anyone without data."""

    images_per_class: Count = Field(24, description="images of each of the 11 classes")
    seed: int = Field(0, ge=0, description="of the images' content")


class PreprocessGrid(Section):
    """Preprocessing configurations: every combination of the lists."""

    backend: OneOrMany[Backend] = Field(description="how the work is spread")
    workers: OneOrMany[Count] = Field(default=[1], description="worker processes")
    decoder: OneOrMany[Decoder] = Field(
        default=[Decoder.FAST], description="fast, or exact: Pillow's to the bit"
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if Backend.SEQUENTIAL in self.backend and self.workers != [1]:
            raise ValueError("backend sequential has 1 worker; give the others their own entry")
        return self


class TrainGrid(Section):
    """Training configurations: every combination of the lists."""

    strategy: OneOrMany[Strategy] = Field(description="how the work is spread")
    device: OneOrMany[Device] = Field(default=[Device.AUTO], description="what it computes on")
    world_size: OneOrMany[Count] = Field(default=[1], description="devices (ranks) in all")
    nodes: OneOrMany[Count] = Field(default=[1], description="nodes the ranks are spread over")
    threads_per_rank: OneOrMany[Count] = Field(default=[1], description="CPU threads of a rank")
    batch_size: OneOrMany[Count] = Field(default=[32], description="as batch_mode counts it")
    batch_mode: BatchMode = Field(
        default=BatchMode.PER_DEVICE, description="what batch_size counts"
    )
    epochs: Count = Field(20, description="measured epochs")
    warmup_steps: int = Field(2, ge=0, description="unmeasured steps first")
    model: OneOrMany[str] = Field(default=["paper_cnn"], description="the network's name")
    weights: str | None = Field(
        None, min_length=1, description="file of ImageNet weights, or cached; null: drawn anew"
    )
    recipe: OneOrMany[str] = Field(default=["paper"], description="how the network is taught")
    learning_rate: float | None = Field(
        None, gt=0, description="the optimizer's largest step size; null: the recipe's"
    )
    batch_norm: BatchNorm = Field(BatchNorm.LOCAL, description="ddp only: sync over all ranks")
    precision: OneOrMany[Precision] = Field(
        default=[Precision.FP32], description="what the network computes in"
    )
    memory_format: OneOrMany[MemoryFormat] = Field(
        default=[MemoryFormat.CONTIGUOUS], description="order of an image batch in memory"
    )
    execution: OneOrMany[Execution] = Field(
        default=[Execution.EAGER], description="how a step is carried out"
    )
    seed: int = Field(0, ge=0, description="of weights, order and augmentation")

    @model_validator(mode="after")
    def _check(self) -> Self:
        for name in self.recipe:
            if name not in RECIPES:
                raise ValueError(f"recipe {name}: no such recipe{nearest(name, list(RECIPES))}")
        return self


class StudyConfig(Section):
    """One study: what to measure, how often, on which images."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")] = Field(
        description="letters, digits, '_', '.', '-': also names the results folder"
    )
    about: str = Field("", description="what the study is for, in a sentence")
    repeats: Count = Field(3, description="runs of each configuration")
    image_size: int = Field(256, ge=8, le=4096, description="height and width stored, pixels")
    scaling: Scaling = Field(Scaling.STRONG, description="how images grow with workers")
    images_per_worker: Count | None = Field(None, description="weak scaling only")
    synthetic: Synthetic = Field(Synthetic(), description="the images where --data names none")
    time_limit_min: Count = Field(60, description="of each run, minutes")
    preprocess: list[PreprocessGrid] = Field(default=[], description="preprocessing grids")
    train: list[TrainGrid] = Field(default=[], description="training grids")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.preprocess and not self.train:
            raise ValueError("nothing to measure: give preprocess, train or both")
        weak = self.scaling is Scaling.WEAK
        if weak and self.images_per_worker is None:
            raise ValueError("weak scaling needs images_per_worker")
        if not weak and self.images_per_worker is not None:
            raise ValueError("images_per_worker goes with scaling: weak")
        return self


def load_study(name: str) -> StudyConfig:
    """The study in the file ``name``, or the shipped one of that name.

    Raises :class:`~weather_hpc.errors.UserError` where there is none or it is not valid.
    """
    return load(shipped("studies", name), StudyConfig)
