"""The ledger of submissions: one file each, written before sbatch is called and after.

A sweep that dies in between leaves an entry without a job id. Its token is part of the job's name,
so the next sweep can find out from Slurm whether the job was submitted. If Slurm knows no such job,
the entry is withdrawn: a job that arrives later all the same finds no entry and ends at once (its
script looks for it), and a later sweep that sees it in the queue cancels it.
"""

import contextlib
import re
import secrets
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from weather_hpc.errors import UserError
from weather_hpc.files import write_json
from weather_hpc.reading import read_object
from weather_hpc.runs.paths import StudyPaths
from weather_hpc.slurm.client import Slurm, SlurmError, call
from weather_hpc.slurm.jobs import (
    SACCT_FIELDS,
    SQUEUE_FORMAT,
    Job,
    Key,
    base_id,
    parse_sacct,
    parse_squeue,
)

WITHDRAWN = ".withdrawn"
"""What replaces ``.json`` in the name of an entry whose job Slurm did not know."""

LATE_S = 7 * 86_400.0
"""How long after its intention such a job is looked for in the queue, s."""

GRACE_S = 15.0
"""How long after a call of sbatch Slurm may not know of the job yet, s."""


@dataclass(frozen=True)
class Submission:
    """One call of sbatch."""

    token: str
    """Unique; part of the job's name."""
    job_name: str
    about: str
    """The resource shape of its jobs, or the purpose of a job that runs none."""
    run_ids: list[str]
    """The run of each array index; empty for a job without runs, such as the collecting one."""
    intended_at: str
    """Just before sbatch was called, UTC, ISO 8601."""
    job_id: int | None = None
    """None until sbatch has printed it."""

    @property
    def age_s(self) -> float:
        """Seconds since then."""
        return (datetime.now(UTC) - datetime.fromisoformat(self.intended_at)).total_seconds()


def new_token() -> str:
    """A unique name for a submission, sortable by time."""
    return f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{secrets.token_hex(4)}"


def save(paths: StudyPaths, submission: Submission) -> None:
    """Write an entry."""
    write_json(paths.submissions / f"{submission.token}.json", asdict(submission))


def forget(paths: StudyPaths, submission: Submission) -> Submission | None:
    """Withdraw an entry whose job was not submitted, as far as Slurm knows.

    The entry with its job, where that has arrived at this very moment: it stays.
    """
    path = paths.submissions / f"{submission.token}.json"
    withdrawn = path.with_suffix(WITHDRAWN)
    with contextlib.suppress(FileNotFoundError):
        path.replace(withdrawn)
    job_id = arrived(paths, submission)
    if job_id is None:
        return None
    withdrawn.unlink(missing_ok=True)
    return with_job(paths, submission, job_id)


def arrived(paths: StudyPaths, submission: Submission) -> int | None:
    """The id that the submission's job has written beside its entry; None where it has not."""
    try:
        return int((paths.submissions / f"{submission.token}.job").read_text())
    except (OSError, ValueError):
        return None


def with_job(paths: StudyPaths, submission: Submission, job_id: int) -> Submission:
    """Add the job id to an entry."""
    complete = replace(submission, job_id=job_id)
    save(paths, complete)
    return complete


def load(paths: StudyPaths) -> list[Submission]:
    """All entries, the oldest first. Raises UserError where one cannot be read."""
    return _load(paths, ".json")


def _load(paths: StudyPaths, suffix: str) -> list[Submission]:
    entries = []
    for path in sorted(paths.submissions.glob(f"[!.]*{suffix}")):
        try:
            entries.append(_read(path))
        except (ValueError, TypeError) as error:
            raise UserError(f"{path}: not a submission: {error}") from None
    return sorted(entries, key=lambda entry: (entry.intended_at, entry.token))


def _read(path: Path) -> Submission:
    """The entry in ``path``. Raises ValueError or TypeError where :func:`save` did not write it."""
    entry = Submission(**read_object(path))
    if not isinstance(entry.run_ids, list) or not isinstance(entry.about, str):
        raise ValueError("run_ids must be a list, and about text")
    names = [entry.token, entry.job_name, *entry.run_ids]
    # they become file names and words of a command
    if not all(isinstance(n, str) and re.fullmatch(r"\w[\w.,+=@%-]*", n, re.ASCII) for n in names):
        raise ValueError("token, job_name and run_ids must be plain names")
    if entry.job_id is not None and (type(entry.job_id) is not int or entry.job_id < 0):
        raise ValueError("job_id must be a number")
    if datetime.fromisoformat(entry.intended_at).tzinfo is None:
        raise ValueError("intended_at must say the time zone")
    return entry


def newest(submissions: Iterable[Submission]) -> dict[str, tuple[Submission, int]]:
    """For every run the last submission that it was part of, and its index in that array."""
    return {
        run_id: (submission, index)
        for submission in submissions
        for index, run_id in enumerate(submission.run_ids)
    }


def settle(paths: StudyPaths, slurm: Slurm) -> None:
    """Complete or withdraw the entries without a job id, which a sweep that died has left.

    Jobs of entries that were withdrawn earlier are cancelled. To be called under the folder's lock.
    """
    _cancel_withdrawn(paths, slurm)
    for entry in load(paths):
        if entry.job_id is not None:
            continue
        find = partial(_find, paths, entry)
        job_id = slurm.patiently(find)
        left = min(GRACE_S - entry.age_s, GRACE_S)
        if job_id is None and left > 0:
            slurm.notify(
                f"waits {left:.0f} s: a sweep that has ended may just have submitted a job"
            )
            time.sleep(left)
            job_id = slurm.patiently(find)
        if job_id is None:
            forget(paths, entry)
        else:
            with_job(paths, entry, job_id)


def _cancel_withdrawn(paths: StudyPaths, slurm: Slurm) -> None:
    late = [entry for entry in _load(paths, WITHDRAWN) if entry.age_s < LATE_S]
    jobs = _whole(_queue(late, slurm).values())
    for job_id, _ in jobs:
        slurm.notify(f"job {job_id} arrived after its submission was withdrawn; cancels it")
    cancel(slurm, jobs)


def cancel(slurm: Slurm, jobs: Iterable[Key], *options: str) -> None:
    """scancel jobs by id and name: an id alone may be a stranger's by now.

    ``options`` further restrict which. Raises :class:`SlurmError` where Slurm refuses.
    """
    by_name: dict[str, list[str]] = {}
    for job_id, name in jobs:
        by_name.setdefault(name, []).append(job_id)
    for name, job_ids in by_name.items():
        for job_id in sorted(set(job_ids)):
            try:
                slurm("scancel", f"--name={name}", *options, job_id)
            except SlurmError as error:
                if "Invalid job id" not in str(error):  # it has just ended
                    raise


def _find(paths: StudyPaths, entry: Submission) -> int | None:
    """As :func:`find_job`, which is not asked where the job has written its id itself."""
    return arrived(paths, entry) or find_job(entry)


def find_job(entry: Submission) -> int | None:
    """The id of the job with the submission's name; None where Slurm knows none.

    Raises :class:`SlurmAwayError` where Slurm does not answer.
    """
    name = f"--name={entry.job_name}"
    queued = call("squeue", "--noheader", "--all", name, f"--format={SQUEUE_FORMAT}")
    jobs = list(parse_squeue(queued).values())
    if not jobs:
        day = f"--starttime={entry.intended_at[:10]}"
        try:
            jobs = parse_sacct(
                call("sacct", "--noheader", "--parsable2", "--allocations", "--duplicates",
                     name, day, f"--format={SACCT_FIELDS}")
            )  # fmt: skip
        except SlurmError:
            jobs = []  # no accounting: the queue alone decides
    return next((int(base_id(job.job_id)) for job in jobs if job.name == entry.job_name), None)


def open_jobs(paths: StudyPaths, slurm: Slurm) -> list[Key]:
    """Id and name of all jobs of this folder in Slurm's queue, the collecting one too."""
    return _whole(queue(paths, slurm).values())


def _whole(jobs: Iterable[Job]) -> list[Key]:
    """Id and name of the jobs, each array once."""
    return sorted({(base_id(job.job_id), job.name) for job in jobs})


def queue(paths: StudyPaths, slurm: Slurm) -> dict[str, Job]:
    """The jobs of :func:`open_jobs`, each task of an array by its own id."""
    return _queue(load(paths), slurm)


def _queue(entries: Iterable[Submission], slurm: Slurm) -> dict[str, Job]:
    names = {entry.job_name for entry in entries}
    if not names:
        return {}
    return parse_squeue(
        slurm(
            "squeue", "--noheader", "--all", f"--name={','.join(sorted(names))}",
            f"--format={SQUEUE_FORMAT}",
        )
    )  # fmt: skip
