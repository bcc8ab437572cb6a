"""plan.json: the plan of a results folder, read by every later command."""

import dataclasses
import os
from pathlib import Path

from weather_hpc.errors import UserError
from weather_hpc.files import write_json
from weather_hpc.reading import LARGEST_FILE, read_object
from weather_hpc.runs.paths import RunPaths, StudyPaths
from weather_hpc.runs.soundness import readable_spec
from weather_hpc.runs.spec_file import spec_of
from weather_hpc.runs.state import RunState, run_state
from weather_hpc.study.plan import Plan
from weather_hpc.study.spec import RunSpec, is_file_name

NO_STUDY = "no study has been run here; give its folder with --results"


def save_plan(paths: StudyPaths, plan: Plan) -> None:
    """Write ``plan`` into the results folder.

    Raises :class:`UserError` where the folder has runs of another study or other images, which
    would be mixed in one table.
    """
    if paths.plan.exists():
        before = load_plan(paths)
        for what, old, new in (
            ("study", before.study, plan.study),
            ("images", before.data, plan.data),
        ):
            if old != new:
                raise UserError(
                    f"{paths.root}: holds {what} {old}, not {new}; give another --results"
                )
    write_json(
        paths.plan,
        {
            "study": plan.study,
            "data": plan.data,
            "prepare": plan.prepare.as_dict() if plan.prepare else None,
            "runs": [spec.as_dict() for spec in plan.runs],
            "predict": plan.predict.as_dict() if plan.predict else None,
        },
    )


def with_known_names(paths: StudyPaths, plan: Plan) -> Plan:
    """``plan``, in which a run that already has a folder keeps its name.

    The folder is known by the configuration and repeat in its spec.json: an earlier version
    or an earlier edit of the study may have named it. Of several folders, the finished one.
    """
    names: dict[tuple[str, int], str] = {}
    planned = {spec.run_id: spec.key for spec in plan.all}
    folders = sorted(paths.runs.iterdir()) if paths.runs.is_dir() else []
    for folder in folders:
        spec = _spec_in(RunPaths(folder))
        if spec is None or not is_file_name(folder.name):
            continue
        if planned.get(folder.name, spec.key) != spec.key:
            continue  # in the folder of another run of this plan
        if spec.key not in names or run_state(RunPaths(folder)) is RunState.DONE:
            names[spec.key] = folder.name

    def known(spec: RunSpec) -> RunSpec:
        return spec.named(names.get(spec.key, spec.run_id))

    prepare, predict = (
        None if spec is None else known(spec) for spec in (plan.prepare, plan.predict)
    )
    runs = tuple(map(known, plan.runs))
    return dataclasses.replace(plan, prepare=prepare, runs=runs, predict=predict)


def with_earlier_predict(paths: StudyPaths, plan: Plan) -> Plan:
    """``plan``, which keeps the folder's run of predictions where it has none of its own."""
    if plan.predict is not None or not paths.plan.exists():
        return plan
    before = load_plan(paths)
    if (before.study, before.data) != (plan.study, plan.data):
        return plan
    return dataclasses.replace(plan, predict=before.predict)


def _spec_in(run: RunPaths) -> RunSpec | None:
    """The spec in a run folder; a run that was skipped has it only in its record."""
    if run.spec.exists():
        return readable_spec(run)
    try:
        return spec_of(read_object(run.record).get("spec"), run.record)
    except UserError:
        return None


def check_results(paths: StudyPaths) -> None:
    """Raise UserError where ``paths`` is no results folder: no sweep has left anything there."""
    left = (paths.plan, paths.lock, paths.runs, paths.stores, paths.submissions)
    if not any(map(os.path.lexists, left)):
        raise UserError(f"{paths.root}: {NO_STUDY}")


def load_plan(paths: StudyPaths) -> Plan:
    """The plan of a results folder. Raises :class:`UserError` where there is none."""
    if not os.path.lexists(paths.plan):
        raise UserError(f"{paths.root}: {NO_STUDY}")
    try:
        return _plan_in(paths.plan)
    except UserError as error:
        reason = str(error).removeprefix(f"{paths.plan}: ")
        raise UserError(f"{paths.plan}: not a plan of this version: {reason}") from None


def _plan_in(path: Path) -> Plan:
    value = read_object(path, LARGEST_FILE)
    study, data, specs = (value.get(key) for key in ("study", "data", "runs"))
    if not (isinstance(study, str) and isinstance(data, str) and isinstance(specs, list) and specs):
        raise UserError(f"{path}: expected study and data, which are text, and runs, a list")
    prepare, predict = (
        # plans of earlier versions have no predictions
        None if value.get(key) is None else spec_of(value[key], path)
        for key in ("prepare", "predict")
    )
    return Plan(study, data, prepare, tuple(spec_of(s, path) for s in specs), predict)
