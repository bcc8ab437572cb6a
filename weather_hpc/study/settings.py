"""The table of settings: everything that a study can vary, each with its flag, help and default.

A setting is a field of a task such as :class:`~weather_hpc.study.tasks.TrainTask`, which checks it,
and is defined once, in this table. From it come the flags of the verbs, the keys of a study file,
the columns of rows and tables, and the answers to two questions: which runs are the same
configuration, and which did the same work.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Any

from weather_hpc.study.recipe import RECIPES


class Role(Enum):
    """What a setting means when runs are compared."""

    METHOD = "method"
    """How the work is distributed: backend, strategy."""
    SIZE = "size"
    """The number of workers or ranks, which scaling is measured over."""
    TASK = "task"
    """What is computed. Configurations that differ here are never alternatives to each other."""
    COMPUTING = "computing"
    """How it is computed. Equal in a speedup; configurations that differ here are alternatives."""
    DETAIL = "detail"
    """Part of the configuration, not of the work: a baseline with equal details is preferred."""
    LIMIT = "limit"
    """Not part of the configuration: limits of a run, such as its time limit."""


WORK = (Role.TASK, Role.COMPUTING)
"""Runs that are equal in these did the same work: the ratio of their times is a speedup."""

CONFIGURATION = (Role.METHOD, Role.SIZE, *WORK, Role.DETAIL)
"""Runs that are equal in these are repeats of one configuration."""


REQUIRED = object()
"""In place of a default: the setting must be given."""


@dataclass(frozen=True, kw_only=True)
class Setting:
    """One setting of a run."""

    name: str
    """The field of the task (or of the run spec or its resources)."""
    help: str
    role: Role
    default: Any = REQUIRED
    unset: str | None = None
    """What a default of None means."""
    usual: Any = REQUIRED
    """If there is no default: the value where a study file or command line gives none."""
    flag: str | None = None
    """The option of the verb, without dashes; None: the name."""
    metavar: str | None = None
    parse: Callable[[str], Any] = str
    """What the option's text is converted to."""
    column: str | None = None
    """Its column in rows and tables; None: the name."""
    listed: bool = False
    """Whether a study file may give several values: one configuration for each."""
    of: str = "task"
    """Owner of the field: ``task``, ``resources`` or ``run``."""

    @property
    def described(self) -> str:
        """The help with the meaning of null, for the reference of study files and specs."""
        return f"{self.help}; null: {self.unset}" if self.unset else self.help

    @property
    def option(self) -> str:
        """As typed: ``--batch-size``."""
        return "--" + (self.flag or self.name).replace("_", "-")


_IMAGE_SIZE = Setting(
    name="image_size", role=Role.TASK, default=256, flag="size", metavar="PIXELS", parse=int,
    column="image_size_px", help="height and width of the stored images, pixels",
)  # fmt: skip
_IMAGES = Setting(
    name="images", role=Role.TASK, default=None, metavar="N", parse=int, column="images_asked",
    unset="all",
    help="number of images, in the proportions of the classes",
)  # fmt: skip

RUN = (
    Setting(name="study", of="run", role=Role.TASK, help="name of the study"),
    Setting(name="scaling", of="run", role=Role.TASK, default="strong",
            help="strong: the same images for all workers together; weak: for each worker"),
    Setting(name="data", of="run", role=Role.TASK,
            help="absolute path of the image folder or store to read"),
)  # fmt: skip
"""Fields of RunSpec that every run of a study shares."""

_NODES = Setting(
    name="nodes", of="resources", role=Role.DETAIL, default=1, parse=int, listed=True,
    help="number of nodes that the ranks are distributed over",
)  # fmt: skip

_CPUS_PER_WORKER = Setting(
    name="cpus_per_worker", of="resources", role=Role.DETAIL, default=None, parse=float,
    unset="the site's; else one for each worker, or each thread of a rank",
    help="number of CPUs for each worker or rank, such as 0.5: two workers share a CPU",
)  # fmt: skip
_OVERSUBSCRIBE = Setting(
    name="oversubscribe", of="resources", role=Role.LIMIT, default=None, unset="the site's",
    help="whether a run that asks for more CPUs than any node has gets those of the largest node",
)  # fmt: skip

RESOURCES = (
    _NODES,
    Setting(name="cpus_per_node", of="resources", role=Role.DETAIL, default=1, parse=int,
            help="number of CPU cores on each node"),
    Setting(name="gpus_per_node", of="resources", role=Role.DETAIL, default=0, parse=int,
            help="number of GPUs on each node"),
    Setting(name="time_limit_min", of="resources", role=Role.LIMIT, default=60, parse=int,
            help="wall-clock limit, minutes"),
    _CPUS_PER_WORKER,
    _OVERSUBSCRIBE,
)  # fmt: skip
"""Fields of Resources."""

_BACKEND = Setting(
    name="backend", role=Role.METHOD, metavar="NAME", listed=True,
    help="how the work is distributed: sequential, multiprocessing, dask, dask-jobqueue, "
    "or (preprocessing only) dask-naive",
)  # fmt: skip
_BY_WORKERS = (
    Setting(name="workers", role=Role.SIZE, usual=1, metavar="N", parse=int, listed=True,
            help="number of worker processes"),
    _IMAGE_SIZE,
    _IMAGES,
    _CPUS_PER_WORKER,
    _OVERSUBSCRIBE,
)  # fmt: skip
"""The last settings of every task whose work is done by worker processes."""

PREPROCESS = (
    _BACKEND,
    Setting(name="decoder", role=Role.COMPUTING, default="fast", metavar="NAME", listed=True,
            help="fast, or exact: bit-identical to decoding and resizing with Pillow"),
    Setting(name="color", role=Role.TASK, default="managed", metavar="HOW", listed=True,
            help="ICC profiles of images: managed (colours are converted to sRGB) or ignore"),
    Setting(name="damaged", role=Role.TASK, default="quarantine", metavar="HOW",
            help="images with damaged pixels: quarantine (left out and listed) or keep"),
    Setting(name="max_unreadable", role=Role.LIMIT, default=0.01, metavar="SHARE",
            help="share, 0 to 1, of image files that may be unreadable or damaged: with more of "
            "them, and more than one file, the run fails"),
    *_BY_WORKERS,
)  # fmt: skip
"""Fields of PreprocessTask, and CPUs, in the order in which a study's runs are made."""

EDA = (
    _BACKEND,
    Setting(name="augmentation", role=Role.TASK, default="strong", metavar="NAME",
            help="training recipe whose augmentation of images is measured: "
            + ", ".join(name for name, recipe in RECIPES.items() if recipe.augments)),
    *_BY_WORKERS,
)  # fmt: skip
"""Fields of EdaTask, and CPUs, in the order in which a study's runs are made."""

ARRAY = (
    Setting(name="operation", role=Role.TASK, metavar="NAME", listed=True,
            help="what is computed of all images: mean-std, histogram, equalization or features"),
    Setting(name="array_input", role=Role.TASK, default="memory", flag="input", metavar="NAME",
            listed=True, help="where the images are when measured time begins: memory, or disk "
            "(out of core: read chunk by chunk in measured time)"),
    Setting(name="engine", role=Role.METHOD, metavar="NAME", listed=True,
            help="what computes it: numpy, dask-array or opencv (the kernels of eda)"),
    Setting(name="chunk_images", role=Role.COMPUTING, default=32, metavar="N", parse=int,
            listed=True, help="number of images that are computed on together"),
    *_BY_WORKERS,
)  # fmt: skip
"""Fields of ArrayTask, and CPUs, in the order in which a study's runs are made."""

TRAIN = (
    Setting(name="strategy", role=Role.METHOD, metavar="NAME", listed=True,
            help="how the work is distributed: single or dp; with torchrun ddp or model"),
    Setting(name="device", role=Role.COMPUTING, usual="auto", metavar="NAME", listed=True,
            help="device to compute on: auto, cpu or cuda"),
    Setting(name="model", role=Role.TASK, default="paper_cnn", metavar="NAME", listed=True,
            help="paper_cnn, weather_net, or a torchvision classifier such as resnet18"),
    Setting(name="recipe", role=Role.TASK, default="paper", metavar="NAME", listed=True,
            help="training recipe: "
            + "; ".join(f"{name}: {recipe.text}" for name, recipe in RECIPES.items())),
    Setting(name="precision", role=Role.COMPUTING, default="fp32", metavar="NAME", listed=True,
            help="arithmetic of the network: fp32, tf32 or bf16"),
    Setting(name="memory_format", role=Role.COMPUTING, default="contiguous", metavar="NAME",
            listed=True, help="memory order of an image batch: contiguous or channels-last"),
    Setting(name="execution", role=Role.COMPUTING, default="eager", metavar="NAME", listed=True,
            help="how a step is executed: eager or compiled; on one GPU also graph, "
            "compiled-graph"),
    Setting(name="epochs", role=Role.TASK, usual=20, metavar="E", parse=int,
            help="number of measured epochs"),
    _NODES,
    Setting(name="world_size", role=Role.SIZE, usual=1, metavar="N", parse=int, column="workers",
            listed=True, help="number of ranks (devices) on all nodes together"),
    Setting(name="threads_per_rank", role=Role.COMPUTING, default=1, flag="threads", metavar="T",
            parse=int, listed=True, help="number of CPU threads of each rank"),
    Setting(name="batch_size", role=Role.COMPUTING, usual=32, metavar="B", parse=int, listed=True,
            help="number of images per step, per device or global (batch_mode)"),
    Setting(name="batch_mode", role=Role.DETAIL, default="per-device", metavar="MODE",
            help="what the batch size counts: per-device or global"),
    Setting(name="warmup_steps", role=Role.DETAIL, default=2, metavar="W", parse=int,
            help="number of unmeasured steps at the start; the weights are then reset"),
    Setting(name="weights", role=Role.DETAIL, default=None, metavar="FILE",
            unset="random",
            help="ImageNet weights to start from (torchvision only): a file, or cached"),
    _IMAGE_SIZE,
    Setting(name="learning_rate", role=Role.DETAIL, default=None, flag="lr", metavar="LR",
            parse=float, unset="the recipe's", help="largest learning rate of the optimizer"),
    Setting(name="batch_norm", role=Role.DETAIL, default="local", metavar="HOW",
            help="ddp: statistics of one rank's images (local) or of the whole step's (sync)"),
    Setting(name="seed", role=Role.DETAIL, default=0, metavar="S", parse=int,
            help="seed of weights, order, dropout and augmentation"),
    _IMAGES,
    _CPUS_PER_WORKER,
    _OVERSUBSCRIBE,
    Setting(name="held_apart", role=Role.TASK, default=0.0, metavar="SHARE", parse=float,
            help="share of the training images that calibrate the probabilities instead of "
            "training, 0 to 0.5"),
)  # fmt: skip
"""Fields of TrainTask, nodes and CPUs, in the order in which a study's runs are made."""

PREDICT = (
    Setting(name="new_images", role=Role.TASK, metavar="DIR",
            help="absolute path of the folder of new images to classify"),
)  # fmt: skip
"""Fields of PredictTask."""

TASKS = {
    "preprocess": PREPROCESS, "train": TRAIN, "eda": EDA, "array": ARRAY, "predict": PREDICT,
}  # fmt: skip
"""The settings of each kind of task, as its ``kind`` names it."""

SETTINGS = {
    setting.name: setting
    for setting in (*RUN, *RESOURCES, *PREPROCESS, *EDA, *ARRAY, *TRAIN, *PREDICT)
}
"""Every setting by its name."""


def settings_of(kind: str, *roles: Role) -> Iterator[Setting]:
    """The settings of runs with this ``kind`` of task, each once; ``roles``: only those in them."""
    chosen = {setting.name: setting for setting in (*RUN, *TASKS[kind], *RESOURCES)}
    return (setting for setting in chosen.values() if not roles or setting.role in roles)


def columns(*roles: Role, kind: str | None = None) -> list[str]:
    """The columns of the settings in ``roles`` (none given: all), each once, in table order.

    ``kind``: of one kind of task alone.
    """
    chosen = (
        s.column or s.name for k in TASKS if kind in (None, k) for s in settings_of(k, *roles)
    )
    return list(dict.fromkeys(chosen))
