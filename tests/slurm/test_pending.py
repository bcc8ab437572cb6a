"""Why jobs wait, from squeue's text: every kind of reason, and when it is told."""

import pytest

from weather_hpc.slurm.jobs import parse_squeue
from weather_hpc.slurm.pending import (
    CALM_S,
    REMIND_S,
    STUCK_S,
    News,
    Outlook,
    Waiting,
    compact,
    waiting,
)

QUEUE = """\
12_[3-5,7%2]|whpc-s-1|PENDING|2026-11-28T10:00:00|N/A||JobArrayTaskLimit
12_0|whpc-s-1|RUNNING|2026-11-28T10:00:00|2026-11-28T10:00:05|node1|None
13_0|whpc-s-2|PENDING|2026-11-28T10:00:00|2026-11-29T11:30:00||Priority
13_1|whpc-s-2|PENDING|2026-11-28T10:00:00|2026-11-29T10:30:00||Resources
14|whpc-s-3|PENDING|2026-11-28T10:00:00|N/A||launch failed requeued held
15_[0-1]|whpc-s-4|PENDING|2026-11-28T10:00:00|N/A||JobHeldUser
16_0|whpc-s-5|PENDING|2026-11-28T10:00:00|N/A||ReqNodeNotAvail, UnavailableNodes:node[1-2]
17_0|whpc-s-6|PENDING|2026-11-28T10:00:00|N/A||SomethingNew
18_0|whpc-s-7|SPECIAL_EXIT|2026-11-28T10:00:00|N/A||None
"""


def kinds_of(text: str) -> list[Waiting]:
    return waiting(parse_squeue(text).values())


def pending(*reasons: str, start: str = "N/A") -> list[Waiting]:
    lines = (f"{n}_0|a|PENDING|N/A|{start}||{reason}" for n, reason in enumerate(reasons, start=1))
    return kinds_of("\n".join(lines))


def test_a_queue_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    told = [str(kind) for kind in kinds_of(QUEUE)]
    assert told[0].startswith(
        "2 jobs pending: wait in the queue for free nodes (Priority / Resources); "
        "Slurm expects the first to start at 2026-11-2"
    )
    assert told[1:] == [
        (
            "4 jobs pending: wait for other tasks of their array (max_running of the site) "
            "(JobArrayTaskLimit)"
        ),
        (
            "1 job pending: could not be started on a node, and Slurm holds them (launch failed "
            "requeued held): `scontrol release 14`; if it happens again, exclude the node "
            "(extra_directives in the site file) and tell the administrators"
        ),
        "1 job pending: were requeued and are held (SPECIAL_EXIT): `scontrol release 18_0`",
        "2 jobs pending: are held by their user (JobHeldUser): `scontrol release '15_[0-1]'`",
        (
            "1 job pending: wait for nodes that are down or reserved, as for a maintenance "
            "(ReqNodeNotAvail, UnavailableNodes:node[1-2]): see `sinfo -R` and `scontrol show "
            "reservation`; a smaller time_limit_min may fit before a reservation"
        ),
        "1 job pending: wait (SomethingNew): see `scontrol show job 17_0`",
    ]


@pytest.mark.parametrize(
    ("reason", "outlook", "words"),
    [
        ("None", "starts", "free nodes"),
        ("Resources", "starts", "free nodes"),
        ("Dependency", "starts", "whose results they need"),
        ("DependencyNeverSatisfied", "never", "`scancel 1_0`, then sweep again"),
        ("BeginTime", "starts", "after a requeue"),
        ("JobHeldAdmin", "blocked", "only they can release 1_0"),
        ("user env retrieval failed requeued held", "never", "scontrol release 1_0"),
        ("JobHoldMaxRequeue", "never", "scontrol release 1_0"),
        ("job requeued in held state", "never", "scontrol release 1_0"),
        ("BadConstraints", "never", "scontrol show job 1_0"),
        ("PartitionDown", "blocked", "sinfo -s"),
        ("PartitionInactive", "blocked", "sinfo -s"),
        ("PartitionTimeLimit", "never", "time_limit_min"),
        ("QOSMaxWallDurationPerJobLimit", "never", "time_limit_min"),
        ("AssocMaxWallDurationPerJobLimit", "never", "time_limit_min"),
        ("PartitionNodeLimit", "blocked", "more nodes than their partition"),
        ("InvalidAccount", "never", "account and qos in the site file"),
        ("InvalidQOS", "never", "account and qos in the site file"),
        ("QOSMaxCpuPerJobLimit", "never", "with other resources"),
        ("QOSMinGRES", "never", "with other resources"),
        ("AssocMaxMemPerNode", "never", "with other resources"),
        ("QOSMaxJobsPerUserLimit", "blocked", "other jobs of it have to end"),
        ("QOSGrpGRES", "blocked", "other jobs of it have to end"),
        ("AssocGrpCpuLimit", "blocked", "other jobs of it have to end"),
        ("AssocMaxJobsLimit", "blocked", "other jobs of it have to end"),
        ("MaxGRESPerAccount", "blocked", "other jobs of it have to end"),
        ("AssocGrpCPUMinutesLimit", "blocked", "compute time"),
        ("QOSGrpBilling", "blocked", "compute time"),
        (("Nodes required for job are DOWN, DRAINED or reserved for jobs in higher priority "
         "partitions"), "blocked", "sinfo -R"),
        ("Reservation", "blocked", "show reservation"),
        ("Licenses", "blocked", "show licenses"),
        ("BurstBufferStageIn", "blocked", "burst buffer"),
        ("DeadLine", "never", "deadline"),
        ("(null)", "blocked", "scontrol show job 1_0"),
    ],
)  # fmt: skip
def test_every_reason_says_what_to_do(reason: str, outlook: str, words: str) -> None:
    (kind,) = pending(reason)
    assert kind.cause.outlook == outlook
    assert words in str(kind)
    assert f"({reason})" in str(kind)
    assert "{" not in str(kind)


@pytest.mark.parametrize(
    ("state", "outlook", "words"),
    [
        ("CONFIGURING", "starts", "1 job not computing: wait for their nodes to boot"),
        ("COMPLETING", "starts", "a process hangs there (COMPLETING)"),
        ("SUSPENDED", "blocked", "`scontrol resume 7_0`"),
        ("REQUEUE_HOLD", "never", "1 job pending: were requeued and are held"),
        ("RESV_DEL_HOLD", "blocked", "reservation"),
    ],
)
def test_states_in_which_jobs_do_not_compute(state: str, outlook: str, words: str) -> None:
    (kind,) = kinds_of(f"7_0|a|{state}|N/A|2026-11-28T10:00:00|node1|None")
    assert kind.cause.outlook == outlook
    assert words in str(kind)


def test_what_starts_by_itself_is_told_once_and_late() -> None:
    news, queued = News(), pending("Resources", "Priority")
    assert news.lines(queued, 0.0) == []
    assert news.lines(pending("Priority"), CALM_S - 1) == []
    assert len(news.lines(queued, CALM_S)) == 1
    assert news.lines(queued, REMIND_S * 2) == []
    with_time = pending("Priority", start="2026-11-29T11:30:00")
    assert "expects" in news.lines(with_time, REMIND_S * 2)[0]
    assert news.lines(pending("Priority", start="2026-11-29T12:30:00"), REMIND_S * 2) == []
    # and when it has come back
    assert news.lines([], REMIND_S * 3) == []
    assert news.lines(with_time, REMIND_S * 3) == []
    assert len(news.lines(with_time, REMIND_S * 3 + CALM_S)) == 1


def test_what_somebody_has_to_change_is_told_at_once_and_again() -> None:
    news = News()
    assert len(news.lines(pending("JobHeldUser"), 0.0)) == 1
    assert news.lines(pending("JobHeldUser"), 20.0) == []
    assert len(news.lines(pending("JobHeldUser", "JobHeldUser"), 40.0)) == 1
    assert news.lines(pending("JobHeldUser"), 60.0) == []
    assert len(news.lines(pending("JobHeldUser"), 40.0 + REMIND_S)) == 1
    changed = news.lines(pending("ReqNodeNotAvail, UnavailableNodes:node1"), 700.0)
    assert len(changed) == 1
    assert len(news.lines(pending("ReqNodeNotAvail, UnavailableNodes:node[1-2]"), 720.0)) == 1
    assert len(news.lines(pending("JobHeldUser"), 740.0)) == 1


def test_jobs_of_which_none_can_start_are_stuck_after_a_while() -> None:
    news = News()
    never = [
        job for kind in pending("DependencyNeverSatisfied", "BadConstraints") for job in kind.jobs
    ]
    held = [job for kind in pending("JobHeldUser") for job in kind.jobs]
    running = [*parse_squeue(QUEUE).values()][4:5]
    assert running[0].state == "RUNNING"
    assert not news.stuck(never, 0.0)
    assert not news.stuck(never, STUCK_S - 1)
    assert news.stuck(never, STUCK_S)
    assert not news.stuck([*never, *running], STUCK_S)
    assert not news.stuck(never, STUCK_S)
    assert not news.stuck(held, STUCK_S * 9)
    assert not news.stuck([], STUCK_S * 9)
    assert all(kind.cause.outlook is Outlook.NEVER for kind in waiting(never))


@pytest.mark.parametrize(
    ("ids", "text"),
    [
        ("12", "12"),
        ("12_3", "12_3"),
        ("12_3 12_4 12_5 13 12_9 9 12_3", "9 '12_[3-5,9]' 13"),
    ],
)
def test_ids_as_commands_take_them(ids: str, text: str) -> None:
    assert compact(ids.split()) == text
