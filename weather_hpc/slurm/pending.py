"""Why jobs wait in Slurm's queue, in plain words, and what to do: from the reasons of squeue."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from weather_hpc.slurm.jobs import Job, QueueState
from weather_hpc.text import counted


class Outlook(StrEnum):
    """Whether a pending job starts by itself."""

    STARTS = "starts"
    """In time, as other jobs end."""
    BLOCKED = "blocked"
    """Only once somebody changes something; that may have nothing to do with the job."""
    NEVER = "never"
    """Not unless the job itself is released or changed."""


@dataclass(frozen=True)
class Cause:
    """A kind of reason."""

    pattern: re.Pattern[str]
    """Of what Slurm calls it."""
    words: str
    outlook: Outlook
    advice: str = ""
    """What to do; ``{ids}`` stands for the jobs, ``{one}`` for the first of them."""


def _cause(pattern: str, words: str, outlook: Outlook, advice: str = "") -> Cause:
    return Cause(re.compile(pattern, re.IGNORECASE), words, outlook, advice)


_RELEASE = "`scontrol release {ids}`"
_AGAIN = "`scancel {ids}`, then sweep again"
_LIMITS = "`sacctmgr show assoc user=$USER` and `sacctmgr show qos` list the limits"

CAUSES = (
    _cause(
        r"^(Resources|Priority|Prolog|SchedDefer|WaitingForScheduling|None|Cleaning)$",
        "wait in the queue for free nodes",
        Outlook.STARTS,
    ),
    _cause(
        r"^JobArrayTaskLimit$",
        "wait for other tasks of their array (max_running of the site)",
        Outlook.STARTS,
    ),
    _cause(r"^Dependency$", "wait for jobs whose results they need", Outlook.STARTS),
    _cause(
        r"^DependencyNeverSatisfied$",
        "depend on a job that failed or was cancelled, and can never start",
        Outlook.NEVER,
        _AGAIN,
    ),
    _cause(
        r"^BeginTime$",
        "wait for their earliest start time, as for about two minutes after a requeue",
        Outlook.STARTS,
    ),
    _cause(
        r"launch failed|user env retrieval failed|^JobLaunchFailure|^JobHoldMaxRequeue"
        r"|^SystemFailure",
        "could not be started on a node, and Slurm holds them",
        Outlook.NEVER,
        f"{_RELEASE}; if it happens again, exclude the node (extra_directives in the site file) "
        "and tell the administrators",
    ),
    _cause(
        r"requeued in (held|special exit) state|^REQUEUE_HOLD|^SPECIAL_EXIT",
        "were requeued and are held",
        Outlook.NEVER,
        _RELEASE,
    ),
    _cause(r"^JobHeldUser", "are held by their user", Outlook.BLOCKED, _RELEASE),
    _cause(
        r"^JobHeldAdmin",
        "are held by an administrator",
        Outlook.BLOCKED,
        "ask the administrators; only they can release {ids}",
    ),
    _cause(
        r"^BadConstraints",
        "ask for what no node has",
        Outlook.NEVER,
        "compare `scontrol show job {one}` with `sinfo -N -l`; correct the site file; " + _AGAIN,
    ),
    _cause(
        r"^Partition(Down|Inactive)",
        "wait for a partition that takes no jobs now",
        Outlook.BLOCKED,
        "see `sinfo -s`; or " + _AGAIN + " with another --partition",
    ),
    _cause(
        r"^(Partition|Association|QOS)TimeLimit|^(QOS|Assoc)MaxWall",
        "have a time limit that is longer than allowed",
        Outlook.NEVER,
        "see `sinfo -o '%P %l'`; a smaller time_limit_min in the study; " + _AGAIN,
    ),
    _cause(
        r"^Partition(NodeLimit|Config)",
        "ask for more nodes than their partition allows or has in service",
        Outlook.BLOCKED,
        "see `sinfo -R` and `scontrol show partition`; or " + _AGAIN + " with another --partition",
    ),
    _cause(
        r"^(Invalid(Account|QOS)|AccountNotAllowed|QOSNotAllowed)",
        "have an account or QOS that they may not use",
        Outlook.NEVER,
        f"correct account and qos in the site file; {_AGAIN}",
    ),
    _cause(
        r"^(QOS|Assoc)Max\w*(PerJob|PerNode)|^QOSMin|^MaxMemPerLimit|^MaxGRESPerJob",
        "ask for more in one job (or for less) than their account or QOS allows",
        Outlook.NEVER,
        f"{_LIMITS}; {_AGAIN} with other resources, account or qos",
    ),
    _cause(
        r"^(QOS|Assoc)Grp\w*Minutes|^QOSUsageThreshold|^(QOS|Assoc)\w*Billing",
        "need more compute time than their account or QOS has left",
        Outlook.BLOCKED,
        f"{_LIMITS}; or {_AGAIN} with another account or qos",
    ),
    _cause(
        r"^(QOS|Assoc)|^Max\w+Per(Account|User)|^AccountingPolicy",
        "wait for a limit of their account or QOS: other jobs of it have to end first",
        Outlook.BLOCKED,
        _LIMITS,
    ),
    _cause(
        r"^ReqNodeNotAvail|^NodeDown|^FrontEndDown|^Nodes required for job are DOWN",
        "wait for nodes that are down or reserved, as for a maintenance",
        Outlook.BLOCKED,
        "see `sinfo -R` and `scontrol show reservation`; a smaller time_limit_min may fit before a "
        "reservation",
    ),
    _cause(
        r"^Reservation|^RESV_DEL_HOLD",
        "wait for their reservation, or it is gone",
        Outlook.BLOCKED,
        "see `scontrol show reservation`",
    ),
    _cause(r"^Licenses", "wait for licenses", Outlook.BLOCKED, "see `scontrol show licenses`"),
    _cause(
        r"^BurstBuffer",
        "wait for the burst buffer",
        Outlook.BLOCKED,
        "see `scontrol show burstbuffer`",
    ),
    _cause(r"^(CONFIGURING|POWER_UP_NODE)$", "wait for their nodes to boot", Outlook.STARTS),
    _cause(
        r"^COMPLETING$",
        "have ended, but their nodes have not cleaned up: if it lasts, a process hangs there",
        Outlook.STARTS,
    ),
    _cause(
        r"^(SUSPENDED|STOPPED)$",
        "are stopped by Slurm or an administrator, in favour of other jobs or for maintenance",
        Outlook.BLOCKED,
        "see `scontrol show job {one}`; `scontrol resume {ids}` needs an administrator",
    ),
    _cause(
        r"^DeadLine",
        "cannot end before their deadline",
        Outlook.NEVER,
        f"{_AGAIN} without --deadline",
    ),
)
"""The first that fits counts. Reasons that are in none are printed as Slurm writes them."""

UNKNOWN = _cause("", "wait", Outlook.BLOCKED, "see `scontrol show job {one}`")


IDLE = ("CONFIGURING", "POWER_UP_NODE", "COMPLETING", "SUSPENDED", "STOPPED")
"""States of jobs that have nodes and do not compute."""


@dataclass(frozen=True)
class Waiting:
    """Jobs that wait for the same kind of reason."""

    cause: Cause
    jobs: tuple[Job, ...]

    @property
    def reasons(self) -> str:
        """Slurm's own words, each once."""
        return " / ".join(dict.fromkeys(map(_reason, self.jobs)))

    @property
    def expected(self) -> datetime | None:
        """When Slurm expects the first of them to start; None where it does not say."""
        times = [datetime.fromisoformat(job.expected_at) for job in self.jobs if job.expected_at]
        return min(times, default=None)

    def __str__(self) -> str:
        state = "pending" if self.jobs[0].status is QueueState.PENDING else "not computing"
        text = f"{counted(len(self.jobs), 'job')} {state}: {self.cause.words} ({self.reasons})"
        if self.cause.outlook is Outlook.STARTS and self.expected is not None:
            text += f"; Slurm expects the first to start at {self.expected.astimezone():%F %H:%M}"
        if self.cause.advice:
            ids = compact(job.job_id for job in self.jobs)
            text += ": " + self.cause.advice.format(ids=ids, one=self.jobs[0].job_id)
        return text


def waiting(jobs: Iterable[Job]) -> list[Waiting]:
    """Those of ``jobs`` that wait, by kind of reason, in the order of :data:`CAUSES`."""
    kinds: dict[Cause, list[Job]] = {}
    for job in jobs:
        if job.status is QueueState.PENDING or job.state in IDLE:
            text = _reason(job)
            cause = next((cause for cause in CAUSES if cause.pattern.search(text)), UNKNOWN)
            kinds.setdefault(cause, []).append(job)
    order = (*CAUSES, UNKNOWN)
    return [Waiting(cause, tuple(kinds[cause])) for cause in order if cause in kinds]


def _reason(job: Job) -> str:
    """Slurm's word: its state where that says more than the reason."""
    if job.state in IDLE:
        return job.state
    return job.reason or ("None" if job.state in ("PENDING", "REQUEUED") else job.state)


def compact(job_ids: Iterable[str]) -> str:
    """``12_0 12_1 12_2 15`` in the form that Slurm's commands take: ``'12_[0-2]' 15``.

    Quoted where a shell would take it for a pattern of file names.
    """
    arrays: dict[str, list[int]] = {}
    for job_id in dict.fromkeys(job_ids):
        array, _, task = job_id.partition("_")
        arrays.setdefault(array, []).extend([int(task)] if task.isdigit() else [])
    in_order = sorted(arrays.items(), key=lambda entry: (len(entry[0]), entry))
    words = (f"{array}{_tasks(sorted(tasks))}" for array, tasks in in_order)
    return " ".join(f"'{word}'" if "[" in word else word for word in words)


def _tasks(numbers: list[int]) -> str:
    if len(numbers) < 2:
        return "".join(f"_{number}" for number in numbers)
    spans: list[list[int]] = []
    for number in numbers:
        if spans and number == spans[-1][1] + 1:
            spans[-1][1] = number
        else:
            spans.append([number, number])
    return f"_[{','.join(f'{a}' if a == b else f'{a}-{b}' for a, b in spans)}]"


CALM_S = 30.0
"""Jobs that start by themselves are spoken of when they have waited for so long, s."""

REMIND_S = 600.0
"""How often the same is said again of jobs that somebody has to do something about, s."""

STUCK_S = 10.0
"""Jobs of which none can start are not waited for longer, s."""


class News:
    """What there is to say about the jobs that wait, each time that they are looked at."""

    def __init__(self) -> None:
        self._since: dict[Cause, float] = {}
        """When each kind of reason that there is now was first seen, s."""
        self._told: dict[Cause, tuple[frozenset[str], str, float]] = {}
        """The jobs, Slurm's words and the time of what was said last of each kind."""
        self._stuck_since: float | None = None

    def lines(self, kinds: Sequence[Waiting], now: float) -> list[str]:
        """A line for every kind of reason that is new, has changed, or is to be told again.

        ``now``: a clock's seconds.
        """
        self._since = {kind.cause: self._since.get(kind.cause, now) for kind in kinds}
        self._told = {cause: said for cause, said in self._told.items() if cause in self._since}
        told = [kind for kind in kinds if self._is_new(kind, now)]
        for kind in told:
            self._told[kind.cause] = (_ids(kind), self._words(kind), now)
        return [str(kind) for kind in told]

    def _is_new(self, kind: Waiting, now: float) -> bool:
        ids, words, then = self._told.get(kind.cause, (frozenset[str](), "", -REMIND_S))
        if kind.cause.outlook is Outlook.STARTS:
            return now - self._since[kind.cause] >= CALM_S and words != self._words(kind)
        return not _ids(kind) <= ids or words != self._words(kind) or now - then >= REMIND_S

    def _words(self, kind: Waiting) -> str:
        """What is to be said again where it changes."""
        if kind.cause.outlook is Outlook.STARTS:
            return "with a time" if kind.expected else "without a time"
        return kind.reasons

    def stuck(self, jobs: Iterable[Job], now: float) -> bool:
        """Whether none of ``jobs`` that are queued or running can start, for some time already."""
        kinds = waiting(active := [job for job in jobs if job.active])
        never = [kind for kind in kinds if kind.cause.outlook is Outlook.NEVER]
        if not active or sum(len(kind.jobs) for kind in never) < len(active):
            self._stuck_since = None
            return False
        if self._stuck_since is None:
            self._stuck_since = now
        return now - self._stuck_since >= STUCK_S


def _ids(kind: Waiting) -> frozenset[str]:
    return frozenset(job.job_id for job in kind.jobs)
