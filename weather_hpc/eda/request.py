"""The spec of a run that reads a store: the launcher's, else one made from the flags."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

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
    kind: type[StoreTask], store: Store, settings: Mapping[str, Any], run_dir: Path | None
) -> tuple[RunSpec, StoreTask]:
    """The launcher's spec where it left one in ``run_dir``, else one made from ``settings``.

    The image size is the store's. Raises UserError naming a flag that is out of range or differs
    from the spec.
    """
    values = {**settings, "image_size": store.size}
    spec = read_spec(run_dir)
    if spec is not None:
        if not isinstance(spec.task, kind):
            raise UserError(f"{run_dir}: its spec.json is for stage {spec.stage}")
        check_agreement(spec.task, values, f"{run_dir}/spec.json")
        return spec, spec.task
    task = make_task(kind, values)
    spec = RunSpec(
        study="adhoc",
        stage=Stage(task.kind),
        task=task,
        resources=worker_resources(task),
        data=printable(str(store.path.absolute())),
    )
    return spec, task
