"""How long the jobs of Dask workers took, as Slurm tells after their end."""

import time
from collections.abc import Collection
from datetime import datetime
from typing import Any

from weather_hpc.errors import FailedError
from weather_hpc.slurm.accounting import ask_sacct
from weather_hpc.slurm.client import Slurm, SlurmError
from weather_hpc.slurm.jobs import QueueState, parse_sacct, status_of

ENDING_S = 10.0
"""How long cancelled jobs may take to end, s."""

LOOK_EVERY_S = 0.2

_FORMAT = "%i|%T|%S|%e|%N"


def ended_jobs(name: str, job_ids: Collection[str]) -> list[dict[str, Any]]:
    """Each job of a run's workers: ``job_id``, and ``elapsed_s`` (None: not known).

    Jobs with ``name`` count too where sbatch's answer with their id was lost. The controller
    remembers ended jobs for some minutes; accounting, where there is some, knows older ones.
    """
    known = _until_all_ended(name)
    missing = [job_id for job_id in job_ids if job_id not in known]
    if missing:
        known |= _accounted(name, missing)
    every = dict.fromkeys([*job_ids, *known])
    return [{"job_id": job_id, "elapsed_s": known.get(job_id)} for job_id in every]


def _until_all_ended(name: str) -> dict[str, float | None]:
    """Elapsed seconds by job id, as far as the controller knows; None: the job has not ended."""
    options = ("--noheader", "--me", f"--name={name}", "--states=all", f"--format={_FORMAT}")
    deadline = time.monotonic() + ENDING_S
    while True:
        try:
            printed = Slurm(ENDING_S)("squeue", *options)
        except (SlurmError, FailedError):
            return {}
        known = parse_ended(printed)
        if None not in known.values() or time.monotonic() > deadline:
            return known
        time.sleep(LOOK_EVERY_S)


def parse_ended(printed: str) -> dict[str, float | None]:
    """The lines of squeue in the format above: elapsed seconds by job id; None: not ended."""
    known: dict[str, float | None] = {}
    for line in printed.splitlines():
        cells = line.strip().split("|")
        if len(cells) == 5:
            job_id, state, started, ended, nodes = cells
            known[job_id] = None
            if not isinstance(status_of(state), QueueState | None):
                # one that was cancelled before it started had no node
                known[job_id] = _seconds(started, ended) if nodes else 0.0
    return known


def _seconds(started: str, ended: str) -> float | None:
    try:
        took = datetime.fromisoformat(ended) - datetime.fromisoformat(started)
    except ValueError:
        return None
    return max(0.0, took.total_seconds())


def _accounted(name: str, job_ids: Collection[str]) -> dict[str, float | None]:
    """Elapsed seconds by job id of those that accounting knows the end of."""
    jobs = [job for job in parse_sacct(ask_sacct(job_ids)) if job.name == name and job.ended_at]
    return {job.job_id: job.elapsed_s if job.node_list else 0.0 for job in jobs}
