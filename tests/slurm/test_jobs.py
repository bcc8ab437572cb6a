"""Reading squeue, sacct and scontrol: odd states, arrays, requeued jobs, garbage."""

import pytest

from weather_hpc.slurm.jobs import (
    Job,
    JobSource,
    expand,
    megabytes,
    of_ours,
    parse_sacct,
    parse_scontrol,
    parse_squeue,
    status_of,
)


@pytest.mark.parametrize(
    ("word", "status"),
    [
        ("COMPLETED", "ok"),
        ("CANCELLED by 0", "cancelled"),
        ("CANCELLED+", "cancelled"),
        ("TIMEOUT", "timeout"),
        ("DEADLINE", "timeout"),
        ("OUT_OF_MEMORY", "out_of_memory"),
        ("NODE_FAIL", "node_fail"),
        ("PREEMPTED", "preempted"),
        ("REQUEUED", "pending"),
        ("COMPLETING", "running"),
        ("SUSPENDED", "running"),
        ("", None),
        ("WHATEVER", None),
    ],
)
def test_status_of(word: str, status: str | None) -> None:
    assert status_of(word) == status


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("123", ["123"]),
        ("123_4", ["123_4"]),
        ("123_[0-3%1]", ["123_0", "123_1", "123_2", "123_3"]),
        ("123_[1,4-5]", ["123_1", "123_4", "123_5"]),
        ("123_[0-6:3]", ["123_0", "123_3", "123_6"]),
    ],
)
def test_expand_array_ids(text: str, ids: list[str]) -> None:
    assert list(expand(text)) == ids


def test_squeue() -> None:
    jobs = parse_squeue(
        "9_[1-2%1]|whpc-a|PENDING|2026-11-23T20:05:26|N/A||JobArrayTaskLimit\n"
        "9_0|whpc-a|RUNNING|2026-11-23T20:05:26|2026-11-23T20:05:27|node1|None\n"
        "8_0|whpc-a|CANCELLED|2026-11-23T20:05:26|N/A||None\n"
        "slurm_load_jobs error: something\n\x00|||\n"
    )
    assert {job.job_id: (job.state, job.reason) for job in jobs.values()} == {
        "9_0": ("RUNNING", None),
        "9_1": ("PENDING", "JobArrayTaskLimit"),
        "9_2": ("PENDING", "JobArrayTaskLimit"),
    }
    assert jobs["9_0"].started_at == "2026-11-23T20:05:27+00:00"
    assert jobs["9_1"].started_at is None


def sacct(*lines: str) -> dict[str, Job]:
    return {job.job_id: job for job in parse_sacct("\n".join(lines))}


def test_a_job_with_its_steps() -> None:
    job = sacct(
        "4_0|whpc-a|COMPLETED|0:0|2026-11-23T20:05:00|2026-11-23T20:05:10|2026-11-23T20:05:17|"
        "2026-11-23T20:06:17|60|2|node[1-2]|8|",
        "4_0.batch|batch|COMPLETED|0:0|2026-11-23T20:05:17|2026-11-23T20:05:17|"
        "2026-11-23T20:05:17|2026-11-23T20:06:17|60|1|node1|4|1000K",
        "4_0.0|bash|COMPLETED|0:0|2026-11-23T20:05:17|2026-11-23T20:05:17|"
        "2026-11-23T20:05:17|2026-11-23T20:06:17|60|2|node[1-2]|8|2.5M",
    )["4_0"]
    assert job == Job(
        "4_0", "whpc-a", "COMPLETED", JobSource.SACCT, exit_code=0, signal=None,
        submitted_at="2026-11-23T20:05:00+00:00", eligible_at="2026-11-23T20:05:10+00:00",
        started_at="2026-11-23T20:05:17+00:00", ended_at="2026-11-23T20:06:17+00:00",
        queue_s=7.0, elapsed_s=60.0, nodes=2, node_list="node[1-2]", cpus=8,
        max_rss_mb=2.62144, restarts=0,
    )  # fmt: skip


def test_the_tries_of_a_requeued_job_add_up() -> None:
    job = sacct(
        "4_1|a|REQUEUED|0:0|2026-11-23T20:00:00|2026-11-23T20:00:00|2026-11-23T20:00:10|"
        "2026-11-23T20:01:10|60|1|node1|2|",
        "4_1|a|TIMEOUT|0:9|2026-11-23T20:01:10|2026-11-23T20:01:20|2026-11-23T20:01:25|"
        "2026-11-23T20:02:25|60|1|node2|2|",
    )["4_1"]
    assert (job.state, job.restarts, job.elapsed_s, job.queue_s) == ("TIMEOUT", 1, 120.0, 15.0)
    assert (job.exit_code, job.signal, job.node_list) == (0, 9, "node2")
    assert job.submitted_at == "2026-11-23T20:00:00+00:00"


def test_a_job_that_never_started_has_no_times() -> None:
    job = sacct(
        "5_0|a|CANCELLED by 1000|0:0|2026-11-23T20:00:00|Unknown|2026-11-23T20:01:00|"
        "2026-11-23T20:01:00|0|1|None assigned|0|"
    )["5_0"]
    assert job.status == "cancelled"
    values = (job.queue_s, job.elapsed_s, job.nodes, job.node_list, job.cpus, job.max_rss_mb)
    assert values == (None,) * 6


def test_garbage_from_sacct_is_ignored() -> None:
    assert sacct("", "sacct: error", "|" * 12, "a|b|c", "\x00\x01|x|COMPLETED") == {}


def test_scontrol_expands_arrays_and_ignores_expected_times() -> None:
    jobs = parse_scontrol(
        "JobId=10 ArrayJobId=9 ArrayTaskId=0 JobName=a JobState=RUNNING Reason=None Restarts=2 "
        "ExitCode=0:0 SubmitTime=2026-11-23T20:00:00 EligibleTime=2026-11-23T20:00:00 "
        "StartTime=2026-11-23T20:00:05 EndTime=2026-11-23T21:00:05 NumNodes=1 NumCPUs=2 "
        "NodeList=node1\n"
        "JobId=9 ArrayJobId=9 ArrayTaskId=1-2%1 JobName=a JobState=PENDING Reason=Priority "
        "Restarts=0 ExitCode=0:0 SubmitTime=2026-11-23T20:00:00 EligibleTime=Unknown "
        "StartTime=2026-11-24T00:00:00 EndTime=Unknown NumNodes=1-1 NumCPUs=2 NodeList=(null)\n"
        "JobId=7 JobName=c JobState=NODE_FAIL Reason=None Restarts=0 ExitCode=1:0 "
        "SubmitTime=2026-11-23T20:00:00 EligibleTime=2026-11-23T20:00:00 "
        "StartTime=2026-11-23T20:00:05 EndTime=2026-11-23T20:00:15 NumNodes=1 NumCPUs=2 "
        "NodeList=node2\n"
        "JobId=6 JobName=d JobState=CANCELLED Reason=DependencyNeverSatisfied ExitCode=0:0 "
        "StartTime=2026-11-23T20:00:05 EndTime=2026-11-23T20:00:05 NodeList=(null)\n"
        "No jobs in the system\n"
    )
    assert set(jobs) == {"9_0", "9_1", "9_2", "7", "6"}
    assert (jobs["6"].started_at, jobs["6"].elapsed_s) == (None, None)
    running, waiting, dead = jobs["9_0"], jobs["9_2"], jobs["7"]
    assert (running.ended_at, running.elapsed_s, running.exit_code) == (None, None, None)
    assert (running.restarts, running.node_list) == (2, "node1")
    assert (waiting.started_at, waiting.queue_s, waiting.nodes) == (None, None, None)
    assert (dead.status, dead.exit_code, dead.elapsed_s) == ("node_fail", 1, 10.0)


def test_a_job_with_the_same_id_but_another_name_is_not_ours() -> None:
    old = Job("4_0", "whpc-x-1", "FAILED", JobSource.SACCT)
    new = Job("4_1", "b", "FAILED", JobSource.SACCT)
    assert of_ours([old, new], {("4", "whpc-x-1")}) == {("4_0", "whpc-x-1"): old}


def test_accounting_keeps_a_job_whose_id_was_given_again() -> None:
    """A controller that lost its state counts on from an older id."""
    ours, later = (
        f"4_0|{name}|{state}|0:0|||||{seconds}|1|node1|1|"
        for name, state, seconds in (("whpc-x-1", "COMPLETED", 5), ("stranger", "FAILED", 7))
    )
    step = "4_0.batch|batch|COMPLETED|0:0|||||5|1|node1|1|1000K"
    jobs = of_ours(parse_sacct(f"{ours}\n{step}\n{later}"), {("4", "whpc-x-1")})
    (job,) = jobs.values()
    assert (job.state, job.max_rss_mb) == ("COMPLETED", 1.024)


@pytest.mark.parametrize(
    ("text", "value"),
    [("", None), ("0", None), ("0K", None), ("1000K", 1.024), ("1G", 1073.741824), ("5x", None)],
)
def test_memory(text: str, value: float | None) -> None:
    assert megabytes(text) == value


@pytest.mark.parametrize(
    ("state", "end", "elapsed_s"),
    [
        ("COMPLETED", "2026-11-23T20:06:17", 60.0),
        ("COMPLETED", "Unknown", None),
        ("FAILED", "None", None),
        ("CANCELLED by 7", "0", None),
        ("REQUEUED", "2026-11-23T20:06:17", 60.0),
        ("RUNNING", "Unknown", None),
        # sacct --truncate gives a running job the end of the asked time
        ("RUNNING", "2026-11-23T20:06:17", None),
        # another SLURM_TIME_FORMAT
        ("COMPLETED", "23 Nov 20:06", 60.0),
    ],
)
def test_the_elapsed_time_of_a_job_without_an_end_still_grows(
    state: str, end: str, elapsed_s: float | None
) -> None:
    job = sacct(f"4|a|{state}|0:0|||2026-11-23T20:05:17|{end}|60|2|node[1-2]|8|")["4"]
    assert (job.elapsed_s, job.nodes, job.node_list) == (elapsed_s, 2, "node[1-2]")
    assert (job.ended_at is None) is (elapsed_s is None or end.startswith("23"))


def test_a_try_of_unknown_duration_makes_the_whole_unknown() -> None:
    times = "|2026-11-23T20:05:00|2026-11-23T20:05:00|2026-11-23T20:05:17"
    last = f"4|a|COMPLETED|0:0{times}|2026-11-23T20:06:17|60|1|n1|8|"
    for end in ("Unknown", "None"):
        tries = sacct(f"4|a|NODE_FAIL|0:0{times}|{end}|9|1|n1|8|", last)
        assert (tries["4"].elapsed_s, tries["4"].restarts) == (None, 1)
    # one that was cancelled before it started took no time
    waited = "4|a|CANCELLED|0:0|2026-11-23T20:05:00|||2026-11-23T20:05:05|0|1|None assigned|8|"
    assert sacct(waited, last)["4"].elapsed_s == 60
    shown = (
        "JobId=7 JobName=c JobState=COMPLETED Restarts=%d StartTime=2026-11-23T20:00:05 "
        "EndTime=2026-11-23T20:00:15 NumNodes=1 NodeList=node2\n"
    )
    assert [parse_scontrol(shown % n)["7"].elapsed_s for n in (0, 1)] == [10.0, None]


def test_a_step_that_ran_out_of_memory_is_the_reason_of_a_failed_job() -> None:
    times = "|2026-11-23T20:05:00" * 4
    tries = [
        f"5|a|FAILED|1:0{times}|60|1|n1|4|",
        f"5.0|python|OUT_OF_MEMORY|0:125{times}|60|1|n1|4|9G",
    ]
    assert sacct(*tries)["5"].reason == "step 0 ended as OUT_OF_MEMORY"
    # neither of an earlier try, nor of a job that goes on after it
    assert sacct(*tries, f"5|a|FAILED|1:0{times}|60|1|n1|4|")["5"].reason is None
    assert sacct(f"5|a|COMPLETED|0:0{times}|60|1|n1|4|", tries[1])["5"].reason is None
