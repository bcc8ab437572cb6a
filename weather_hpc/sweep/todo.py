"""Which runs of a plan are to be made now."""

import fnmatch
from collections.abc import Container

from weather_hpc.errors import UserError
from weather_hpc.runs.paths import StudyPaths
from weather_hpc.runs.state import State, states
from weather_hpc.study.plan import Plan
from weather_hpc.study.spec import RunSpec, Stage


def chosen_runs(plan: Plan, only: str | None) -> list[RunSpec]:
    """The runs whose run_id matches the pattern ``only``. Raises UserError where none does."""
    chosen = [spec for spec in plan.runs if fnmatch.fnmatch(spec.run_id, only or "*")]
    if not chosen:
        example = plan.runs[0].run_id
        raise UserError(f"--only {only}: matches no run; a run_id is such as {example}")
    return chosen


def runs_to_make(
    plan: Plan,
    paths: StudyPaths,
    only: str | None = None,
    only_failed: bool = False,
    in_hand: Container[str] = (),
) -> list[RunSpec]:
    """What is still to be run, but for runs ``in_hand``, which wait or run already.

    A skipped run is looked at anew: the machine may have changed.

    The run that packs the store comes along whenever a chosen training run needs it.
    """
    state = states(paths, plan.all)
    chosen = chosen_runs(plan, only)
    if only_failed:
        chosen = [s for s in chosen if state[s.run_id] is State.FAILED]
    chosen = [s for s in chosen if state[s.run_id] is not State.DONE and s.run_id not in in_hand]
    store = plan.prepare
    wanted = any(s.stage is Stage.TRAIN for s in chosen)
    if store and wanted and store.run_id not in in_hand:
        packed = paths.store(plan.store_name).exists()
        if state[store.run_id] is not State.DONE or not packed:
            chosen.insert(0, store)
    return chosen
