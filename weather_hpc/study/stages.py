"""The measured stages: the tables that hold them, and how each distributes its work."""

from dataclasses import dataclass

from weather_hpc.study.spec import Stage
from weather_hpc.study.tasks import Backend, Engine, Strategy


@dataclass(frozen=True, kw_only=True)
class MeasuredStage:
    """One stage whose runs are timed; its name is the kind of its tasks, too."""

    stage: Stage
    table: str
    """Name of its scaling table and of the files that hold it."""
    title: str
    """Heading, also the first word of sentences."""
    worker: str
    """What one of its processes is called."""
    method: str
    """Column of the setting that says how the work is distributed."""
    methods: tuple[str, ...]
    """Its values in the order of the table. A baseline has the first, on one worker."""
    alone: bool
    """Whether the first method never has a second worker, so that it is no series of its own."""
    programs: bool = False
    """Whether its methods are different programs, so that the speedup of one over another may
    exceed the number of workers."""
    workers_column: str = "workers"
    """Column of its table that holds the number of workers."""
    reads_store: bool = True
    """Whether its runs read the store that stage ``prepare`` packs."""

    @property
    def plain(self) -> str:
        """The method that a baseline has."""
        return self.methods[0]


MEASURED = {
    of.stage: of
    for of in (
        MeasuredStage(
            stage=Stage.PREPROCESS, table="preprocess", title="Preprocessing", worker="worker",
            method="backend", methods=tuple(Backend), alone=True, reads_store=False,
        ),
        MeasuredStage(
            stage=Stage.EDA, table="eda", title="Exploration", worker="worker",
            method="backend", methods=tuple(Backend), alone=True,
        ),
        MeasuredStage(
            stage=Stage.ARRAY, table="array", title="Array operations", worker="worker",
            method="engine", methods=tuple(Engine), alone=False, programs=True,
        ),
        MeasuredStage(
            stage=Stage.TRAIN, table="training", title="Training", worker="rank",
            method="strategy", methods=tuple(Strategy), alone=True, workers_column="world_size",
        ),
    )
}  # fmt: skip
"""By stage, in the order in which a study runs them."""

BY_TABLE = {of.table: of for of in MEASURED.values()}
"""By the name of their tables."""


def reads_store(stage: Stage) -> bool:
    """Whether runs of ``stage`` read the store that stage ``prepare`` packs."""
    return stage in MEASURED and MEASURED[stage].reads_store


def measured_stage(name: str | None) -> MeasuredStage | None:
    """The measured stage of this name; None for other stages."""
    return next((of for stage, of in MEASURED.items() if stage == name), None)
