"""What a run that reads a store asks for: its spec, and the rows of the store."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from weather_hpc.dataset.image_file import printable
from weather_hpc.dataset.store import Store
from weather_hpc.errors import UserError
from weather_hpc.runs.writer import read_spec
from weather_hpc.study.flags import check_agreement, make_task
from weather_hpc.study.plan import worker_resources
from weather_hpc.study.spec import RunSpec, Stage
from weather_hpc.study.tasks import ArrayTask, EdaTask

StoreTask = TypeVar("StoreTask", EdaTask, ArrayTask)


def spec_and_task(
    kind: type[StoreTask],
    store: Store,
    given: Mapping[str, Any],
    defaults: Mapping[str, Any],
    run_dir: Path | None,
) -> tuple[RunSpec, StoreTask]:
    """The launcher's spec where it left one in ``run_dir``, else one made from the flags.

    ``given``: the settings that were typed; ``defaults``: the verb's own for others. Raises
    UserError naming a flag that is out of range or differs from the spec.
    """
    spec = read_spec(run_dir)
    if spec is not None:
        if not isinstance(spec.task, kind):
            stage = kind.model_fields["kind"].default
            raise UserError(f"{run_dir}/spec.json: is of stage {spec.stage}, not {stage}")
        check_agreement(spec.task, given, f"{run_dir}/spec.json")
        return spec, spec.task
    task = make_task(kind, {**defaults, **given, "image_size": store.size})
    spec = RunSpec(
        study="adhoc",
        stage=Stage(task.kind),
        task=task,
        resources=worker_resources(task),
        data=printable(str(store.path.absolute())),
    )
    return spec, task


def check_size(task: EdaTask | ArrayTask, store: Store) -> None:
    """Raise UserError where ``store`` has images of another size than ``task``."""
    if task.image_size != store.size:
        raise UserError(
            f"{store.path}: has images of {store.size} pixels, the run asks for {task.image_size}"
        )


def chosen_rows(store: Store, images: int | None) -> npt.NDArray[np.int64]:
    """All valid rows of ``store``, or ``images`` of them at equal distances, which leaves classes
    in proportion. Raises UserError where there are fewer, or none."""
    rows = store.rows()
    if not len(rows):
        raise UserError(f"{store.path}: has no image that could be decoded")
    if images is None:
        return rows
    if images > len(rows):
        raise UserError(f"--images {images}: {store.path} has {len(rows)} images")
    return rows[np.linspace(0, len(rows) - 1, images).round().astype(np.int64)]
