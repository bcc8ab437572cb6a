"""StudyConfig: what to measure, from ``hpc/studies/*.yaml``."""

import itertools
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self, TypeVar

from pydantic import Field, PrivateAttr, create_model, model_validator

from weather_hpc.errors import nearest
from weather_hpc.study.recipe import RECIPES, settings_of
from weather_hpc.study.settings import REQUIRED, SETTINGS, TASKS, Setting
from weather_hpc.study.spec import Resources, Scaling, Stage
from weather_hpc.study.stages import MEASURED
from weather_hpc.study.tasks import (
    ArrayTask,
    Backend,
    Damaged,
    EdaTask,
    Part,
    PreprocessTask,
    Share,
    TrainTask,
    setting_field,
)
from weather_hpc.study.yaml_file import (
    MOST,
    Count,
    OneOrMany,
    Section,
    load,
    place,
    shipped,
    spelled,
)


class Synthetic(Section):
    """Synthetic images that the package generates, for a study without data."""

    images_per_class: Count = Field(24, description="number of images in each of the 11 classes")
    seed: int = Field(0, ge=0, le=MOST, description="seed of the images' content")


OF_STUDY = ("image_size", "images", "damaged", "max_unreadable")
"""Settings common to all runs of a study; images follow from its scaling."""


class Grid(Section):
    """Configurations of one kind of task: every combination of the values in its lists."""

    kind: ClassVar[str]

    def __getitem__(self, setting: str) -> Any:
        return getattr(self, setting)

    @property
    def size(self) -> int:
        """Number of combinations."""
        listed = [name for name in type(self).model_fields if SETTINGS[name].listed]
        return math.prod(len(self[name]) for name in listed)

    def combinations(self) -> Iterator[dict[str, Any]]:
        """The values of each configuration by setting, the last listed setting varying fastest."""
        values = {name: self[name] for name in type(self).model_fields}
        listed = [name for name in values if SETTINGS[name].listed]
        for chosen in itertools.product(*(values[name] for name in listed)):
            yield values | dict(zip(listed, chosen, strict=True))


AnyGrid = TypeVar("AnyGrid", bound=Grid)


def _with_settings(task: type[Part]) -> Callable[[type[AnyGrid]], type[AnyGrid]]:
    """Give a grid a key for each setting of ``task`` except those common to the whole study."""

    def extended(grid: type[AnyGrid]) -> type[AnyGrid]:
        fields: dict[str, Any] = {
            setting.name: _key(setting, task)
            for setting in TASKS[grid.kind]
            if setting.name not in OF_STUDY
        }
        return create_model(
            grid.__name__, __base__=grid, __doc__=grid.__doc__, __module__=__name__, **fields
        )

    return extended


def _key(setting: Setting, task: type[Part]) -> tuple[Any, Any]:
    """The type and field of a study file's key for ``setting``."""
    owner = Resources if setting.of == "resources" else task
    checked = owner.model_fields[setting.name]
    strict = [Field(strict=True, le=MOST)] if checked.annotation is int else []
    annotated: Any = Annotated  # subscripted here with types known only at run time
    kind: Any = checked.annotation
    for constraint in (*checked.metadata, *strict):
        kind = annotated[kind, constraint]
    default = setting.usual if setting.default is REQUIRED else setting.default
    if default is REQUIRED:
        default = ...
    elif setting.listed:
        default = [default]
    field = Field(default, description=setting.described, validate_default=True)
    many: Any = OneOrMany
    return (many[kind] if setting.listed else kind), field


def _check_backends(grid: Grid) -> None:
    """Raise ValueError where a backend does not have what the entry asks for."""
    if Backend.SEQUENTIAL in grid["backend"] and grid["workers"] != [1]:
        raise ValueError("backend sequential has 1 worker; give other backends their own entry")
    if Backend.DASK_JOBQUEUE in grid["backend"] and grid["cpus_per_worker"] is not None:
        raise ValueError(
            "backend dask-jobqueue has no cpus_per_worker: each worker is a job of one CPU; "
            "give other backends their own entry"
        )


@_with_settings(PreprocessTask)
class PreprocessGrid(Grid):
    """Preprocessing configurations: every combination of the lists."""

    kind = "preprocess"

    @model_validator(mode="after")
    def _check(self) -> Self:
        _check_backends(self)
        return self


@_with_settings(EdaTask)
class EdaGrid(Grid):
    """Configurations of exploration: every combination of the lists."""

    kind = "eda"

    @model_validator(mode="after")
    def _check(self) -> Self:
        _check_backends(self)
        return self


@_with_settings(ArrayTask)
class ArrayGrid(Grid):
    """Array operations: every combination of the lists."""

    kind = "array"


@_with_settings(TrainTask)
class TrainGrid(Grid):
    """Training configurations: every combination of the lists."""

    kind = "train"

    @model_validator(mode="after")
    def _check(self) -> Self:
        for name in self["recipe"]:
            if name not in RECIPES:
                raise ValueError(f"recipe {name}: no such recipe{nearest(name, list(RECIPES))}")
        return self

    def combinations(self) -> Iterator[dict[str, Any]]:
        """The same; what the entry leaves open is as each configuration's recipe sets it."""
        for values in super().combinations():
            own = settings_of(values["recipe"]).items()
            yield values | {k: v for k, v in own if k not in self.model_fields_set}


class StudyConfig(Section):
    """One study: what to measure, how often, on which images."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")] = Field(
        description="name of the study and its results folder: letters, digits, '_', '.', '-'"
    )
    about: str = Field("", description="purpose of the study in a sentence")
    repeats: Count = Field(3, description="number of runs of each configuration")
    image_size: int = Field(
        256, ge=8, le=4096, description="height and width of the stored images, pixels"
    )
    damaged: Damaged = setting_field("damaged")
    max_unreadable: Share = setting_field("max_unreadable", ge=0, le=1)
    scaling: Scaling = Field(
        Scaling.STRONG,
        description="strong: the same images for all workers together; weak: for each worker",
    )
    images_per_worker: Count | None = Field(
        None, description="number of images per worker; weak scaling only"
    )
    synthetic: Synthetic = Field(Synthetic(), description="synthetic images, used without --data")
    time_limit_min: Count = Field(60, description="wall-clock limit of each run, minutes")
    preprocess: list[PreprocessGrid] = Field(default=[], description="list of preprocessing grids")
    eda: list[EdaGrid] = Field(default=[], description="list of grids of exploration")
    array: list[ArrayGrid] = Field(default=[], description="list of grids of array operations")
    train: list[TrainGrid] = Field(default=[], description="list of training grids")
    _path: Path | None = PrivateAttr(None)

    def of_file(self, path: Path) -> Self:
        """The same study, which knows the file that it is from."""
        study = self.model_copy()
        study._path = path
        return study

    def at(self, *loc: int | str) -> str:
        """Where a key is, for messages: ``file:line: train[0].model``; without a file its name."""
        where = f"study {self.name}" if self._path is None else place(self._path, loc)
        return f"{where}: {spelled(loc)}"

    def grids(self, stage: Stage) -> list[Any]:
        """The entries of a measured stage, under the key of its name."""
        return list(getattr(self, stage))

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not any(map(self.grids, MEASURED)):
            raise ValueError(f"nothing to measure: expected one or more of {', '.join(MEASURED)}")
        weak = self.scaling is Scaling.WEAK
        if weak and self.images_per_worker is None:
            raise ValueError("weak scaling needs images_per_worker")
        if not weak and self.images_per_worker is not None:
            raise ValueError("images_per_worker is only for scaling: weak")
        return self


def load_study(name: str) -> StudyConfig:
    """The study in the file ``name``, or the shipped one of that name.

    Raises :class:`~weather_hpc.errors.UserError` where there is none or it is not valid.
    """
    path = shipped("studies", name)
    return load(path, StudyConfig).of_file(path)
