"""The most that runs can cost, in node-hours: what no run exceeds, whatever happens to it."""

from dataclasses import dataclass

from weather_hpc.launch.sbatch import CHECK_TIME_LIMIT_MIN, COLLECT
from weather_hpc.launch.slurm_executor import COLLECT as COLLECTING
from weather_hpc.runs.node_hours import MINUTES_PER_HOUR
from weather_hpc.runs.paths import StudyPaths
from weather_hpc.slurm import ledger
from weather_hpc.study.site import SiteProfile
from weather_hpc.study.spec import RunSpec

COLLECTING_H = COLLECT.nodes * COLLECT.time_limit_min / MINUTES_PER_HOUR
"""Node-hours of the job that collects, at most; it is not requeued."""


@dataclass(frozen=True)
class Bound:
    """How often a run may start, and how long each of its jobs may take."""

    requeues: int = 0
    """Each try may take the whole time limit."""
    worker_limit_min: int | None = None
    """Of the jobs of Dask workers; None: that of the run."""

    @classmethod
    def by(cls, executor: str, site: SiteProfile) -> "Bound":
        """The bound of runs that ``executor`` (its name) starts at ``site``."""
        slurm = site.slurm
        requeued = executor != "local" and slurm.requeue
        return cls(slurm.max_requeues if requeued else 0, slurm.dask_time_limit_min)

    def of(self, spec: RunSpec) -> float:
        """Node-hours of all tries of ``spec``, each until its time limit.

        A Dask worker that is lost is replaced, so that one job of each is there as long as the run;
        the last may go on until its own limit where the run cannot cancel it.
        """
        limit = spec.resources.time_limit_min
        minutes: float = spec.resources.nodes * limit
        if spec.submits_workers:
            minutes += spec.workers * max(limit, self.worker_limit_min or 0)
        return (1 + self.requeues) * minutes / MINUTES_PER_HOUR


NO_REQUEUES = Bound()
"""Of runs on this machine."""


def other_jobs(paths: StudyPaths) -> float:
    """Node-hours of the folder's jobs so far that made no run, each until its time limit."""
    hours = {
        COLLECTING: COLLECTING_H,
        "check_1node": CHECK_TIME_LIMIT_MIN / MINUTES_PER_HOUR,
        "check_2node": 2 * CHECK_TIME_LIMIT_MIN / MINUTES_PER_HOUR,
    }
    return sum(hours.get(entry.about, 0.0) for entry in ledger.load(paths))
