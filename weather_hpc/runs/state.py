"""The state of each run of a plan, read from its files."""

import os
from collections.abc import Iterable
from enum import StrEnum

from weather_hpc.errors import UserError
from weather_hpc.reading import read_object
from weather_hpc.runs.paths import RunPaths, StudyPaths
from weather_hpc.study.spec import RunSpec


class RunState(StrEnum):
    """The state of a run."""

    TODO = "todo"
    PENDING = "pending"
    RUNNING = "running"
    DONE = "done"
    SKIPPED = "skipped"
    FAILED = "failed"


def run_state(paths: RunPaths) -> RunState:
    """The state of one run, from its record: ``todo`` also covers queued and running."""
    try:
        status = read_object(paths.record).get("status")
    except UserError:
        if os.path.lexists(paths.record):
            return RunState.FAILED
        # an exit code without a record: it failed before it wrote one
        return RunState.FAILED if paths.exit.exists() else RunState.TODO
    if status == "ok":
        return RunState.DONE
    return RunState.SKIPPED if status == "skipped" else RunState.FAILED


def run_states(paths: StudyPaths, specs: Iterable[RunSpec]) -> dict[str, RunState]:
    """The state of every run, by run_id."""
    return {spec.run_id: run_state(paths.run(spec.run_id)) for spec in specs}
