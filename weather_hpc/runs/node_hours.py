"""Node-hours that a run used, including its earlier tries."""

from typing import Any

from weather_hpc.errors import UserError
from weather_hpc.reading import read_object
from weather_hpc.runs.clock import seconds_of
from weather_hpc.runs.inputs import LARGEST
from weather_hpc.runs.paths import RunPaths
from weather_hpc.runs.record import Status
from weather_hpc.runs.row import Row
from weather_hpc.runs.run import SECONDS_PER_HOUR, Run
from weather_hpc.study.spec import RunSpec

MINUTES_PER_HOUR = 60.0


def nodes_of(spec: RunSpec) -> int:
    """The most nodes that a run uses: each Dask worker with its own job may have its own node."""
    return spec.resources.nodes + (spec.workers if spec.submits_workers else 0)


def hours_of(run: Run) -> float | None:
    """Hours that a run took, including start-up; None if unknown. Its workers' jobs do not count.

    Where the whole job's time is not known, it is that of the run's process.
    """
    return _hours(run.row)


def _hours(row: Row) -> float | None:
    seconds = row.total_s if row.slurm_elapsed_s is None else row.slurm_elapsed_s
    return None if seconds is None else seconds / SECONDS_PER_HOUR


def spent(run: Run, row: Row | None = None) -> float:
    """Node-hours of all tries of a run, as far as their durations are known.

    A run that hit its time limit and recorded no duration counts as long as the limit. Where those
    of its workers' jobs are not known, each counts as long as the run. ``row``: the run's, where it
    is at hand.
    """
    if run.spec is None:
        return 0.0
    row = row or run.row
    if row.node_hours is not None:
        return row.node_hours + _earlier_tries(run)
    hours = _hours(row)
    if hours is None and run.status is Status.TIMEOUT:
        hours = run.spec.resources.time_limit_min / MINUTES_PER_HOUR
    if hours is None:
        hours = _until_exit_h(run)
    return hours * nodes_of(run.spec) + _earlier_tries(run)


def _earlier_tries(run: Run) -> float:
    try:
        hours: Any = read_object(RunPaths(run.folder).earlier_tries).get("node_hours")
    except UserError:
        return 0.0
    return float(hours) if type(hours) in (int, float) and 0 <= hours <= LARGEST else 0.0


def _until_exit_h(run: Run) -> float:
    """From a failed run's start to its exit, h; 0 where it recorded neither."""
    started = run.record.provenance.started_at if run.record else None
    begin, end = seconds_of(started), seconds_of(run.ended_at)
    return 0.0 if begin is None or end is None else max(0.0, end - begin) / SECONDS_PER_HOUR
