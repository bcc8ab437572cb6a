"""What was submitted: one file per submission, written before sbatch is called and after.

A sweep that dies in between leaves an entry without a job id. Its token is in the job's name,
so the next sweep can ask Slurm whether that submission came about.
"""

import json
import re
import secrets
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from weather_hpc.errors import UserError
from weather_hpc.files import write_json
from weather_hpc.runs.paths import StudyPaths
from weather_hpc.slurm.client import Slurm, SlurmError, once
from weather_hpc.slurm.jobs import SACCT_FIELDS, SQUEUE_FORMAT, parse_sacct, parse_squeue


@dataclass(frozen=True)
class Submission:
    """One call of sbatch."""

    token: str
    """Unique; part of the job's name."""
    job_name: str
    about: str
    """The shape of its jobs, in words."""
    run_ids: list[str]
    """Array index -> run; empty for a job that makes none, such as the collecting one."""
    intended_at: str
    """When sbatch was about to be called, UTC, ISO 8601."""
    job_id: int | None = None
    """None until Slurm has given one."""

    @property
    def age_s(self) -> float:
        """Seconds since it was intended."""
        return (datetime.now(UTC) - datetime.fromisoformat(self.intended_at)).total_seconds()


def new_token() -> str:
    """A name for a submission, sortable by time, that no other bears."""
    return f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{secrets.token_hex(4)}"


def save(paths: StudyPaths, submission: Submission) -> None:
    """Write an entry."""
    write_json(paths.submissions / f"{submission.token}.json", asdict(submission))


def forget(paths: StudyPaths, submission: Submission) -> None:
    """Remove an entry whose submission never came about."""
    (paths.submissions / f"{submission.token}.json").unlink(missing_ok=True)


def with_job(paths: StudyPaths, submission: Submission, job_id: int) -> Submission:
    """Write down which job a submission became."""
    found = replace(submission, job_id=job_id)
    save(paths, found)
    return found


def load(paths: StudyPaths) -> list[Submission]:
    """All entries, the oldest first. Raises UserError where one cannot be read."""
    found = []
    for path in sorted(paths.submissions.glob("[!.]*.json")):
        try:
            found.append(_entry(path))
        except (OSError, ValueError, TypeError, RecursionError) as error:
            raise UserError(f"{path}: not an entry of the submissions: {error}") from None
    return sorted(found, key=lambda entry: (entry.intended_at, entry.token))


def _entry(path: Path) -> Submission:
    """The entry in ``path``. Raises ValueError for one that was not written by :func:`save`."""
    if not path.is_file():
        raise ValueError("not a file")
    entry = Submission(**json.loads(path.read_bytes()))
    names = [entry.token, entry.job_name, *entry.run_ids]
    # they become names of files, and words of a command
    if not all(isinstance(n, str) and re.fullmatch(r"\w[\w.,+=@%-]*", n, re.ASCII) for n in names):
        raise ValueError("a token, a job_name or a run_id is no plain name")
    if not isinstance(entry.job_id, int | None):
        raise ValueError("job_id is no number")
    datetime.fromisoformat(entry.intended_at)
    return entry


def newest(submissions: Iterable[Submission]) -> dict[str, tuple[Submission, int]]:
    """For every run the submission that it was last part of, and its index in that array."""
    return {
        run_id: (submission, index)
        for submission in submissions
        for index, run_id in enumerate(submission.run_ids)
    }


GRACE_S = 15.0
"""An sbatch that was called may need so long until Slurm knows of its job."""


def settle(paths: StudyPaths, slurm: Slurm) -> None:
    """Learn what became of submissions whose sweep died before it was told the job's id."""
    for entry in load(paths):
        if entry.job_id is not None:
            continue
        job_id = slurm.patiently(_finder(entry))
        left = min(GRACE_S - entry.age_s, GRACE_S)
        if job_id is None and left > 0:
            time.sleep(left)
            job_id = slurm.patiently(_finder(entry))
        if job_id is None:
            forget(paths, entry)
        else:
            with_job(paths, entry, job_id)


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
    names = {entry.job_name for entry in load(paths)}
    if not names:
        return []
    queue = slurm(
        "squeue", "--noheader", "--all", f"--name={','.join(sorted(names))}",
        f"--format={SQUEUE_FORMAT}",
    )  # fmt: skip
    return sorted({int(job_id.split("_")[0]) for job_id in parse_squeue(queue)})
