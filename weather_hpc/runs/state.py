"""Where each run of a plan stands, read from what is on disk."""

import json
from collections.abc import Iterable
from enum import StrEnum

from weather_hpc.runs.paths import RunPaths, StudyPaths
from weather_hpc.study.spec import RunSpec


class RunState(StrEnum):
    """Where a run stands. ``done`` and ``skipped`` need nothing more."""

    TODO = "todo"
    PENDING = "pending"
    RUNNING = "running"
    DONE = "done"
    SKIPPED = "skipped"
    FAILED = "failed"


def run_state(paths: RunPaths) -> RunState:
    """The state of one run, from its record: not whether a scheduler has it in hand."""
    try:
        status = json.loads(paths.record.read_bytes())["status"]
    except FileNotFoundError:
        # an exit code without a record: it died before it could say anything
        return RunState.FAILED if paths.exit.exists() else RunState.TODO
    except (OSError, ValueError, KeyError, TypeError):
        return RunState.FAILED
    if status == "ok":
        return RunState.DONE
    return RunState.SKIPPED if status == "skipped" else RunState.FAILED


def run_states(paths: StudyPaths, specs: Iterable[RunSpec]) -> dict[str, RunState]:
    """The state of every run, by run_id."""
    return {spec.run_id: run_state(paths.run(spec.run_id)) for spec in specs}
