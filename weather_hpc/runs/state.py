"""The state of each run of a plan, read from its files."""

import json
from collections.abc import Iterable
from enum import StrEnum

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
        status = json.loads(paths.record.read_bytes())["status"]
    except FileNotFoundError:
        # an exit code without a record: it failed before it wrote one
        return RunState.FAILED if paths.exit.exists() else RunState.TODO
    except (OSError, ValueError, KeyError, TypeError):
        return RunState.FAILED
    if status == "ok":
        return RunState.DONE
    return RunState.SKIPPED if status == "skipped" else RunState.FAILED


def run_states(paths: StudyPaths, specs: Iterable[RunSpec]) -> dict[str, RunState]:
    """The state of every run, by run_id."""
    return {spec.run_id: run_state(paths.run(spec.run_id)) for spec in specs}
