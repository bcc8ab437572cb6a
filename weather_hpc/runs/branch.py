"""Which runs differ in size only, and what a results folder already holds of them."""

from collections.abc import Hashable

from weather_hpc.files import short_hash
from weather_hpc.runs.paths import StudyPaths
from weather_hpc.runs.reader import read_run
from weather_hpc.runs.run import Run
from weather_hpc.study.spec import PreprocessTask, RunSpec, Scaling


def earlier_runs(paths: StudyPaths) -> list[Run]:
    """Every run folder of a results folder, read; none where nothing was run yet."""
    folders = sorted(paths.runs.iterdir()) if paths.runs.is_dir() else []
    return [read_run(folder) for folder in folders if folder.is_dir()]


def workers_of(spec: RunSpec) -> int:
    """How many workers or ranks ``spec`` has."""
    task = spec.task
    return task.workers if isinstance(task, PreprocessTask) else task.world_size


def branch_of(spec: RunSpec) -> Hashable:
    """What is equal in runs that differ in workers (or ranks) and repeat only.

    Runs on another number of nodes are another branch. Under weak scaling the images per worker
    are equal, else the images.
    """
    images: float | None = spec.task.images
    if images is not None and spec.scaling is Scaling.WEAK:
        images /= workers_of(spec)
    return kind_of(spec), spec.resources.nodes, images, getattr(spec.task, "epochs", None)


def kind_of(spec: RunSpec) -> str:
    """What is equal in runs that differ in workers, nodes, images, epochs and repeat only."""
    size = {"workers", "world_size", "images", "epochs"}
    asked = spec.model_dump(mode="json", exclude={"repeat": True, "resources": True, "task": size})
    return short_hash(asked)
