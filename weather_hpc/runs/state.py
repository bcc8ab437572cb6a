"""The state of each run of a plan, read from its files."""

from collections.abc import Iterable
from enum import StrEnum

from weather_hpc.errors import UserError
from weather_hpc.runs.paths import RunPaths, StudyPaths
from weather_hpc.runs.record import Status
from weather_hpc.runs.soundness import sound_record
from weather_hpc.study.spec import RunSpec


class RunState(StrEnum):
    """The state of a run."""

    TODO = "todo"
    PENDING = "pending"
    RUNNING = "running"
    DONE = "done"
    SKIPPED = "skipped"
    FAILED = "failed"


def run_state(paths: RunPaths, spec: RunSpec | None = None) -> RunState:
    """The state of one run, from its record: ``todo`` also covers queued and running.

    A run whose record is not valid, or not of ``spec``, has failed, whatever the record says.
    """
    if not paths.record.exists():
        # an exit code without a record: it failed before it wrote one
        return RunState.FAILED if paths.exit.exists() else RunState.TODO
    try:
        status = sound_record(paths, spec).status
    except UserError:
        return RunState.FAILED
    if status is Status.OK:
        return RunState.DONE
    return RunState.SKIPPED if status is Status.SKIPPED else RunState.FAILED


def run_states(paths: StudyPaths, specs: Iterable[RunSpec]) -> dict[str, RunState]:
    """The state of every run, by run_id."""
    return {spec.run_id: run_state(paths.run(spec.run_id), spec) for spec in specs}
