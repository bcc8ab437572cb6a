"""Finding a folder's jobs in Slurm by name: those nobody wrote down, those still open."""

import time
from collections.abc import Callable

from weather_hpc.runs.paths import StudyPaths
from weather_hpc.slurm import ledger
from weather_hpc.slurm.client import Slurm, SlurmError, once
from weather_hpc.slurm.jobs import SQUEUE_FORMAT, parse_squeue
from weather_hpc.slurm.ledger import Submission
from weather_hpc.slurm.sacct import SACCT_FIELDS, parse_sacct

GRACE_S = 15.0
"""An sbatch that was called may need so long until Slurm knows of its job."""


def settle(paths: StudyPaths, slurm: Slurm) -> None:
    """Learn what became of submissions whose sweep died before it was told the job's id."""
    for entry in ledger.load(paths):
        if entry.job_id is not None:
            continue
        job_id = slurm.patiently(_finder(entry))
        left = min(GRACE_S - entry.age_s, GRACE_S)
        if job_id is None and left > 0:
            time.sleep(left)
            job_id = slurm.patiently(_finder(entry))
        if job_id is None:
            ledger.forget(paths, entry)
        else:
            ledger.with_job(paths, entry, job_id)


def _finder(entry: Submission) -> Callable[[], int | None]:
    return lambda: find(entry)


def find(entry: Submission) -> int | None:
    """The id of the job that bears the submission's name; None where Slurm knows none.

    Raises :class:`SlurmAwayError` where Slurm does not answer.
    """
    name = f"--name={entry.job_name}"
    jobs = parse_squeue(once("squeue", "--noheader", "--all", name, f"--format={SQUEUE_FORMAT}"))
    if not jobs:
        day = f"--starttime={entry.intended_at[:10]}"
        try:
            jobs = parse_sacct(
                once("sacct", "--noheader", "--parsable2", "--allocations", "--duplicates",
                     name, day, f"--format={SACCT_FIELDS}")
            )  # fmt: skip
        except SlurmError:
            jobs = {}  # no accounting: the queue has said all
    return next((int(job_id.split("_")[0]) for job_id in jobs), None)


def open_jobs(paths: StudyPaths, slurm: Slurm) -> list[int]:
    """The ids of all jobs of this folder that Slurm has in its queue, the collecting one too."""
    names = {entry.job_name for entry in ledger.load(paths)}
    if not names:
        return []
    queue = slurm(
        "squeue", "--noheader", "--all", f"--name={','.join(sorted(names))}",
        f"--format={SQUEUE_FORMAT}",
    )  # fmt: skip
    return sorted({int(job_id.split("_")[0]) for job_id in parse_squeue(queue)})
