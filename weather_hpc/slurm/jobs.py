"""Jobs as Slurm reports them: pure functions from the text of squeue, scontrol and sacct."""

import re
from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from functools import reduce

from weather_hpc.runs.record import Status
from weather_hpc.slurm.cluster import fields

SQUEUE_FORMAT = "%i|%j|%T|%V|%S|%N|%r"

SACCT_FIELDS = (
    "JobID,JobName,State,ExitCode,Submit,Eligible,Start,End,ElapsedRaw,"
    "NNodes,NodeList,AllocCPUS,MaxRSS"
)

NO_TIME = ("Unknown", "None", "0", "N/A")
"""What Slurm prints for a time that has not come."""

SECONDS_PER_DAY = 86_400


class QueueState(StrEnum):
    """The state of a job that has not ended."""

    PENDING = "pending"
    RUNNING = "running"


class JobSource(StrEnum):
    """What reported a job's state."""

    SQUEUE = "squeue"
    SACCT = "sacct"
    SCONTROL = "scontrol"
    EXIT_FILE = "exit_file"
    """The exit.json that the run's own script wrote."""


_STATUSES: dict[str, QueueState | Status] = {
    "COMPLETED": Status.OK,
    "FAILED": Status.FAILED,
    "LAUNCH_FAILED": Status.FAILED,
    "TIMEOUT": Status.TIMEOUT,
    "DEADLINE": Status.TIMEOUT,
    "OUT_OF_MEMORY": Status.OUT_OF_MEMORY,
    "NODE_FAIL": Status.NODE_FAIL,
    "BOOT_FAIL": Status.NODE_FAIL,
    "RECONFIG_FAIL": Status.NODE_FAIL,
    "PREEMPTED": Status.PREEMPTED,
    "CANCELLED": Status.CANCELLED,
    "REVOKED": Status.CANCELLED,
    **dict.fromkeys(
        ["PENDING", "REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD", "SPECIAL_EXIT", "RESV_DEL_HOLD"],
        QueueState.PENDING,
    ),
    **dict.fromkeys(
        ["RUNNING", "COMPLETING", "CONFIGURING", "EXPEDITING", "POWER_UP_NODE", "RESIZING",
         "SIGNALING", "STAGE_OUT", "STOPPED", "SUSPENDED"],
        QueueState.RUNNING,
    ),
}  # fmt: skip


STATES = frozenset(_STATUSES)
"""Slurm's words for the state of a job."""


def status_of(state: str) -> QueueState | Status | None:
    """Pending, running, or how a job ended, from Slurm's word; None for an unknown word.

    ``CANCELLED by 1000`` is cancelled; a ``+`` marks a word that was cut short.
    """
    words = state.split()
    return _STATUSES.get(words[0].rstrip("+")) if words else None


@dataclass(frozen=True)
class Job:
    """One array task (or job) as Slurm reports it; None: not reported."""

    job_id: str
    """``12_3``, or ``12`` for a job without an array."""
    name: str
    state: str
    """Slurm's word."""
    source: JobSource
    reason: str | None = None
    exit_code: int | None = None
    signal: int | None = None
    submitted_at: str | None = None
    eligible_at: str | None = None
    started_at: str | None = None
    ended_at: str | None = None
    queue_s: float | None = None
    """From eligible to start, all tries together, s."""
    elapsed_s: float | None = None
    """Wall clock, all tries together, s; None where that of a try is not known."""
    nodes: int | None = None
    node_list: str | None = None
    cpus: int | None = None
    max_rss_mb: float | None = None
    """Largest task's peak, MB (1e6 bytes)."""
    restarts: int | None = None
    expected_at: str | None = field(default=None, compare=False)
    """When Slurm expects a pending job to start; it changes often."""

    @property
    def status(self) -> QueueState | Status | None:
        """See :func:`status_of`."""
        return status_of(self.state)

    @property
    def active(self) -> bool:
        """Whether it is queued or running, or may be: an unknown word does not mean an end."""
        return self.status is None or isinstance(self.status, QueueState)


def expand(job_id: str) -> Iterator[str]:
    """``12_[0-2,5%2]`` as ``12_0 12_1 12_2 12_5``; any other id as it is."""
    match = re.fullmatch(r"(\d+)_\[([\d,\-:]+)(?:%\d+)?\]", job_id)
    if match is None:
        yield job_id
        return
    for part in match[2].split(","):
        span, _, step = part.partition(":")
        first, _, last = span.partition("-")
        for index in range(int(first), int(last or first) + 1, int(step or 1)):
            yield f"{match[1]}_{index}"


def parse_squeue(text: str) -> dict[str, Job]:
    """The lines of ``squeue -h -r -o SQUEUE_FORMAT``, by job id: queued and running jobs.

    Jobs that have ended are left out, since other sources know more about them; so is garbage.
    """
    jobs = {}
    for line in text.splitlines():
        parts = line.strip().split("|", 6)
        if len(parts) != 7 or not isinstance(status := status_of(parts[2]), QueueState):
            continue
        ids, name, state, submitted, started, nodes, reason = parts
        for job_id in expand(ids):
            jobs[job_id] = Job(
                job_id, name, state, JobSource.SQUEUE,
                reason=None if reason in ("None", "") else reason,
                submitted_at=_utc(submitted),
                started_at=_utc(started) if status is QueueState.RUNNING else None,
                expected_at=_utc(started) if status is QueueState.PENDING else None,
                node_list=nodes or None,
            )  # fmt: skip
    return jobs


def parse_scontrol(text: str) -> dict[str, Job]:
    """The lines of ``scontrol show job -o``, by job id: as far as the controller remembers them."""
    jobs: dict[str, Job] = {}
    for line in text.splitlines():
        values = fields(line)
        if "JobId" not in values or status_of(values.get("JobState", "")) is None:
            continue
        job_ids = [values["JobId"]]
        if array := values.get("ArrayJobId"):
            task = values.get("ArrayTaskId", "")
            job_ids = list(expand(f"{array}_{task}" if task.isdigit() else f"{array}_[{task}]"))
        job = _scontrol_job(values)
        jobs |= {job_id: replace(job, job_id=job_id) for job_id in job_ids}
    return jobs


def _scontrol_job(values: dict[str, str]) -> Job:
    state = values["JobState"]
    # before a job starts or ends, the controller reports when it expects that
    node_list = values.get("NodeList", "(null)")
    status = status_of(state)
    begun = status is not QueueState.PENDING and node_list not in ("", "(null)")
    over = not isinstance(status, QueueState)
    exit_code, signal = _exit_code(values.get("ExitCode", "")) if over else (None, None)
    eligible = _utc(values.get("EligibleTime", ""))
    started = _utc(values.get("StartTime", "")) if begun else None
    ended = _utc(values.get("EndTime", "")) if over else None
    return Job(
        values["JobId"], values.get("JobName", ""), state, JobSource.SCONTROL,
        reason=None if values.get("Reason", "None") == "None" else values["Reason"],
        exit_code=exit_code,
        signal=signal,
        submitted_at=_utc(values.get("SubmitTime", "")),
        eligible_at=eligible,
        started_at=started,
        ended_at=ended,
        queue_s=_seconds(eligible, started),
        # it knows the last try's start only
        elapsed_s=None if _count(values.get("Restarts", "")) else _seconds(started, ended),
        nodes=_count(values.get("NumNodes", "")) if begun else None,
        node_list=node_list if begun else None,
        cpus=_count(values.get("NumCPUs", "")) if begun else None,
        restarts=_count(values.get("Restarts", "")),
    )  # fmt: skip


Key = tuple[str, str]
"""Id and name of a job: a controller that lost its state counts from 1 again, and accounting keeps
the old jobs, so an id alone may be somebody else's."""


def of_ours(jobs: Iterable[Job], ours: Container[Key]) -> dict[Key, Job]:
    """Those of ``jobs`` whose id, without the array index, and name are in ``ours``."""
    return {(job.job_id, job.name): job for job in jobs if (base_id(job.job_id), job.name) in ours}


def base_id(job_id: str) -> str:
    """The id of the job: ``12`` of an array's task ``12_3``."""
    return job_id.split("_")[0]


def parse_sacct(text: str) -> list[Job]:
    """The lines of ``sacct -D -n -P -o SACCT_FIELDS``; see :func:`every_job`."""
    columns = SACCT_FIELDS.split(",")
    cells = (line.strip().split("|") for line in text.splitlines())
    return every_job(
        dict(zip(columns, row, strict=True)) for row in cells if len(row) == len(columns)
    )


def parse_sacct_lines(lines: Iterable[Mapping[str, str]]) -> dict[str, Job]:
    """The jobs of :func:`every_job` by id; where an id was reused, the last job with it."""
    return {job.job_id: job for job in every_job(lines)}


def every_job(lines: Iterable[Mapping[str, str]]) -> list[Job]:
    """sacct's lines, each a dict by column, as jobs; the last try of each job.

    JobID and State are required; a missing column counts as empty. A requeued job has a line for
    every try: times add up, and ``restarts`` is the number of tries before the last. Another name
    is another job whose id was reused. The peak memory of a job is that of its steps
    (``12_0.batch``), which follow it, and a step that ran out of memory is the reason of a job
    that failed. Lines of unknown states are ignored.
    """
    tries: dict[Key, list[Job]] = {}
    peaks: dict[Key, float] = {}
    reasons: dict[Key, str] = {}
    last: dict[str, Key] = {}
    """The job that each id's steps belong to."""
    for line in lines:
        if status_of(line["State"]) is None:
            continue
        job, _, step = line["JobID"].partition(".")
        if step:
            key = last.get(job, (job, ""))
            peak = megabytes(line.get("MaxRSS", ""))
            if peak is not None:
                peaks[key] = max(peak, peaks.get(key, 0.0))
            if status_of(line["State"]) is Status.OUT_OF_MEMORY:
                reasons[key] = f"step {step} ended as OUT_OF_MEMORY"
            continue
        for job_id in expand(job):
            new = _one_try(job_id, line)
            last[job_id] = key = (job_id, new.name)
            reasons.pop(key, None)  # of an earlier try
            earlier = tries.pop(key, [])  # the last job is also last in order
            tries[key] = earlier if new in earlier else [*earlier, new]  # exports may overlap
    jobs = {key: reduce(_next_try, several) for key, several in tries.items()}
    return [
        replace(
            job,
            max_rss_mb=peaks.get(key),
            reason=reasons.get(key) if job.status is Status.FAILED else None,
        )
        for key, job in jobs.items()
    ]


def _one_try(job_id: str, line: Mapping[str, str]) -> Job:
    def cell(column: str) -> str:
        return line.get(column, "")

    elapsed, (exit_code, signal) = _elapsed(line), _exit_code(cell("ExitCode"))
    # the elapsed time of a job without an end still grows
    ended = cell("End") not in NO_TIME and status_of(cell("State")) is not QueueState.RUNNING
    # sacct gives a job that was cancelled before it started a start time, but no node
    begun = cell("NodeList") != "None assigned" if cell("NodeList") else bool(elapsed)
    started = _utc(cell("Start")) if begun else None
    return Job(
        job_id, cell("JobName"), cell("State"), JobSource.SACCT,
        exit_code=exit_code,
        signal=signal,
        submitted_at=_utc(cell("Submit")),
        eligible_at=_utc(cell("Eligible")),
        started_at=started,
        ended_at=_utc(cell("End")) if ended else None,
        queue_s=_seconds(_utc(cell("Eligible")), started),
        elapsed_s=elapsed if begun and ended else None,
        nodes=_count(cell("NNodes") or cell("AllocNodes")) or None if begun else None,
        node_list=cell("NodeList") or None if begun else None,
        cpus=_count(cell("AllocCPUS") or cell("NCPUS")) if begun else None,
        restarts=0,
    )  # fmt: skip


def _elapsed(line: Mapping[str, str]) -> float | None:
    """Wall clock of one try, s: its elapsed time, or else from start to end."""
    seconds = _count(line.get("ElapsedRaw", ""))
    if seconds is not None:
        return float(seconds)
    match = re.fullmatch(r"(?:(\d{1,6})-)?(\d\d):(\d\d):(\d\d)", line.get("Elapsed", ""), re.ASCII)
    if match is not None:
        days, hours, minutes, rest = (int(text or 0) for text in match.groups())
        return float(days * SECONDS_PER_DAY + hours * 3600 + minutes * 60 + rest)
    return _seconds(_utc(line.get("Start", "")), _utc(line.get("End", "")))


def _next_try(before: Job, after: Job) -> Job:
    # a try that never started has no elapsed time; one that did counts, so its time must be known
    unknown = any(each.node_list and each.elapsed_s is None for each in (before, after))
    return replace(
        after,
        submitted_at=before.submitted_at,
        eligible_at=before.eligible_at,
        queue_s=_sum(before.queue_s, after.queue_s),
        elapsed_s=None if unknown else _sum(before.elapsed_s, after.elapsed_s),
        restarts=(before.restarts or 0) + 1,
    )


def megabytes(text: str) -> float | None:
    """``1234K`` (KiB) as 1.263616 MB (1e6 bytes); None where nothing was sampled."""
    match = re.fullmatch(r"(\d{1,18}(?:\.\d+)?)([KMGT]?)", text, re.ASCII)
    if match is None or float(match[1]) == 0:
        return None
    factor: int = 1024 ** " KMGT".index(match[2] or " ")
    return float(match[1]) * factor / 1e6


def _sum(first: float | None, second: float | None) -> float | None:
    values = [value for value in (first, second) if value is not None]
    return sum(values) if values else None


def _utc(text: str) -> str | None:
    """Slurm's time, which the clean environment makes UTC, as ISO 8601; None for other text."""
    try:
        return datetime.fromisoformat(text).replace(tzinfo=UTC).isoformat(timespec="seconds")
    except ValueError:
        return None


def _seconds(start: str | None, end: str | None) -> float | None:
    """Seconds from ``start`` to ``end``; None where one is missing or the end is earlier."""
    if start is None or end is None:
        return None
    seconds = (datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds()
    return seconds if seconds >= 0 else None


def _exit_code(text: str) -> tuple[int | None, int | None]:
    """Exit code and signal of ``0:15``; None for no signal (0), and for other text."""
    parts = text.split(":")
    return (_count(parts[0]), _count(parts[1]) or None) if len(parts) == 2 else (None, None)


def _count(text: str) -> int | None:
    """A count as Slurm writes it; None for other text and for more than 18 digits."""
    return int(text) if re.fullmatch(r"[0-9]{1,18}", text) else None
