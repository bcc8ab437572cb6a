"""Accounting from a file; the text below is the output of Slurm 22.05."""

from pathlib import Path

import pytest

from weather_hpc.collect.sacct_file import is_sacct, read_sacct
from weather_hpc.errors import UserError

FULL = """\
JobID|JobIDRaw|JobName|User|State|ExitCode|Submit|Eligible|Start|End|Elapsed|NNodes|NodeList|MaxRSS
3_0|4|arr|root|COMPLETED|0:0|2026-11-23T22:49:47|2026-11-23T22:49:47|2026-11-23T22:49:49|\
2026-11-23T22:49:53|00:00:04|1|node1|
3_0.batch|4.batch|batch||COMPLETED|0:0|2026-11-23T22:49:49|2026-11-23T22:49:49|\
2026-11-23T22:49:49|2026-11-23T22:49:53|00:00:04|1|node1|10984K
3_0.0|4.0|python3||COMPLETED|0:0|2026-11-23T22:49:49|2026-11-23T22:49:49|2026-11-23T22:49:49|\
2026-11-23T22:49:53|00:00:04|1|node1|62240K
7+0|7|het2|root|COMPLETED|0:0|2026-11-23T22:50:07|2026-11-23T22:50:07|2026-11-23T22:50:07|\
2026-11-23T22:50:09|00:00:02|1|node1|
7+0.batch|7.batch|batch||COMPLETED|0:0|2026-11-23T22:50:07|2026-11-23T22:50:07|\
2026-11-23T22:50:07|2026-11-23T22:50:09|00:00:02|1|node1|15288K
7+1|8|het2|root|COMPLETED|0:0|2026-11-23T22:50:07|2026-11-23T22:50:07|2026-11-23T22:50:07|\
2026-11-23T22:50:09|00:00:02|1|node2|
9|9|again|root|REQUEUED|0:0|2026-11-23T22:50:17|2026-11-23T22:50:17|2026-11-23T22:50:17|\
2026-11-23T22:50:19|00:00:02|1|node1|
9|9|again|root|COMPLETED|0:0|2026-11-23T22:50:19|2026-11-23T22:50:25|2026-11-23T22:50:28|\
2026-11-23T22:50:32|1-00:00:04|1|node1|
10|10|off|root|CANCELLED by 0|0:0|2026-11-23T22:50:17|Unknown|2026-11-23T22:50:20|\
2026-11-23T22:50:20|00:00:00|1|None assigned|
11_[2-9]|11|wait|root|PENDING|0:0|2026-11-23T22:50:17|2026-11-23T22:50:17|Unknown|Unknown|\
00:00:00|1|None assigned|
"""


@pytest.fixture
def export(tmp_path: Path) -> Path:
    """The export as a file."""
    path = tmp_path / "accounting.txt"
    path.write_text(FULL)
    return path


def test_an_array_task_has_both_its_ids(export: Path) -> None:
    jobs = read_sacct(export)
    assert jobs["3_0"] == jobs["4"]
    job = jobs["3_0"]
    assert (job.state, job.source, job.queue_s, job.elapsed_s) == ("COMPLETED", "sacct", 2.0, 4.0)
    assert (job.nodes, job.node_list, job.max_rss_mb) == (1, "node1", 62240 * 1024 / 1e6)
    assert job.restarts is None  # one line does not show that there was no other


def test_a_heterogeneous_job_is_one_job_and_each_of_its_components(export: Path) -> None:
    jobs = read_sacct(export)
    assert (jobs["7"].nodes, jobs["7"].node_list, jobs["7"].elapsed_s) == (2, "node1,node2", 2.0)
    assert (jobs["7+1"].nodes, jobs["8"]) == (1, jobs["7+1"])


def test_a_heterogeneous_job_fails_with_one_of_its_components(export: Path) -> None:
    export.write_text(FULL.replace("7+1|8|het2|root|COMPLETED", "7+1|8|het2|root|NODE_FAIL"))
    jobs = read_sacct(export)
    assert [jobs[job_id].state for job_id in ("7", "7+0")] == ["NODE_FAIL", "COMPLETED"]


def test_attempts_add_up_and_a_job_that_never_ran_has_no_values(export: Path) -> None:
    jobs = read_sacct(export)
    again, off = jobs["9"], jobs["10"]
    assert (again.elapsed_s, again.queue_s, again.restarts) == (86_406.0, 3.0, 1)
    assert (off.state, off.elapsed_s, off.nodes, off.queue_s) == ("CANCELLED by 0",) + (None,) * 3
    assert not any(job_id.startswith("11") for job_id in jobs)


def test_overlapping_exports_count_an_attempt_once(export: Path) -> None:
    before = read_sacct(export)
    export.write_text(FULL + FULL)
    assert read_sacct(export) == before


def test_only_the_given_jobs_are_kept(export: Path) -> None:
    assert set(read_sacct(export, {"4", "7", "99"})) == {"4", "7"}
    assert read_sacct(export, {"7"})["7"].nodes == 2


def test_a_reused_id_is_another_job(tmp_path: Path) -> None:
    path = tmp_path / "x.txt"
    path.write_text(
        "JobID|JobName|State|Elapsed|MaxRSS\n"
        "5|old|FAILED|01:00:00|\n5.batch|batch|FAILED|01:00:00|9G\n5|new|COMPLETED|00:01:00|\n"
    )
    job = read_sacct(path)["5"]
    assert (job.elapsed_s, job.restarts, job.max_rss_mb) == (60.0, None, None)


def test_few_columns_and_the_trailing_bar_of_parsable(tmp_path: Path) -> None:
    path = tmp_path / "x.txt"
    path.write_text("JobIDRaw|State|Start|End|\n8|TIMEOUT|2026-01-01T10:00:00|2026-01-01T11:00:00|")
    job = read_sacct(path)["8"]
    assert (job.state, job.elapsed_s, job.nodes, job.max_rss_mb) == ("TIMEOUT", 3600.0, None, None)


@pytest.mark.parametrize(
    ("first_line", "known"),
    [
        ("JobID|State|", True),
        ("JobID           JobName  Partition", True),
        ("gpus,batch_size,time_s", False),
        ("Rank: 0\tEpoch: 9", False),
        ("", False),
    ],
)
def test_an_export_is_known_by_its_header(tmp_path: Path, first_line: str, known: bool) -> None:
    path = tmp_path / "x.txt"
    path.write_text(first_line + "\n")
    assert is_sacct(path) is known
    assert not is_sacct(tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("JobID           JobName      State\n", "x.txt:1: columns are cut to a width"),
        ("JobID|Elapsed\n1|00:01:00\n", "x.txt:1: has no column State"),
        ("1|COMPLETED\n", "x.txt:1: no header line before it"),
    ],
)
def test_an_unusable_export_is_one_line(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "x.txt"
    path.write_text(text)
    with pytest.raises(UserError, match=message):
        read_sacct(path)


def test_invalid_lines_are_counted_and_the_rest_is_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "x.txt"
    rows = ["1|a|b|COMPLETED|00:01:00", "2|a|SOMETHING|00:01:00", "", "3|a|COMPLETED|99x",
            "4|a|COMPLETED|" + "9" * 5000, "5|a|COMPLETED|00:01:00", "6|a|COMPL"]  # fmt: skip
    path.write_bytes("\n".join(["JobID|JobName|State|Elapsed", *rows]).encode() + b"\xff")
    jobs = read_sacct(path)
    assert {job_id: job.elapsed_s for job_id, job in jobs.items()} == {
        "3": None, "4": None, "5": 60.0
    }  # fmt: skip
    assert "skipped 3 lines" in capsys.readouterr().err
