"""The ledger and Slurm's commands where they fail, hang or do not answer; all are fakes here."""

import json
import os
from pathlib import Path

import pytest

from weather_hpc.errors import FailedError, UserError
from weather_hpc.files import write_json
from weather_hpc.launch.folders import make_ready
from weather_hpc.runs.paths import RunPaths, StudyPaths
from weather_hpc.runs.provenance import utc_now
from weather_hpc.runs.reader import read_run
from weather_hpc.runs.record import RunRecord, Status, read_record
from weather_hpc.slurm import accounting, client, ledger
from weather_hpc.slurm.client import Slurm, SlurmAwayError, SlurmError, call
from weather_hpc.slurm.jobs import Job, JobSource
from weather_hpc.slurm.ledger import Submission, find_job, settle
from weather_hpc.study.config import StudyConfig
from weather_hpc.study.plan import make_plan
from weather_hpc.study.spec import RunSpec

LONG_AGO = "2026-01-01T00:00:00+00:00"


@pytest.fixture
def commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that comes first on PATH, for stand-ins of Slurm's commands."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    for name in ("squeue", "sacct", "scontrol", "sbatch"):
        fake(folder, name, "exit 0")
    return folder


def fake(folder: Path, name: str, body: str) -> None:
    (folder / name).write_text(f"#!/bin/sh\n{body}\n")
    (folder / name).chmod(0o755)


def entry(job_id: int | None = None, *runs: str, name: str = "t1") -> Submission:
    return Submission(name, f"whpc-s-{name}", "train", list(runs), LONG_AGO, job_id)


def test_the_newest_submission_of_a_run_counts(tmp_path: Path) -> None:
    paths = StudyPaths(tmp_path)
    first, second = entry(7, "a", "b", name="t1"), entry(None, "b", name="t2")
    ledger.save(paths, first)
    ledger.save(paths, second)
    assert ledger.load(paths) == [first, second]
    assert ledger.newest(ledger.load(paths)) == {"a": (first, 0), "b": (second, 0)}
    second = ledger.with_job(paths, second, 9)
    assert {run_id: task.job_id for run_id, task in accounting.submitted_jobs(paths).items()} == {
        "a": "7_0", "b": "9_0",
    }  # fmt: skip
    ledger.forget(paths, first)
    assert ledger.load(paths) == [second]


def test_a_broken_entry_is_an_error(tmp_path: Path) -> None:
    paths = StudyPaths(tmp_path)
    paths.submissions.mkdir()
    (paths.submissions / "x.json").write_text('{"token": 1}')
    with pytest.raises(UserError, match=r"x\.json: not a submission"):
        ledger.load(paths)


def test_a_submission_is_found_by_name_in_the_queue_or_in_accounting(
    tmp_path: Path, commands: Path
) -> None:
    fake(commands, "squeue", 'echo "12_[0-1]|whpc-s-t1|PENDING|2026-01-01T00:00:00|N/A||Priority"')
    assert find_job(entry()) == 12
    fake(commands, "squeue", "exit 0")
    fake(commands, "sacct", 'echo "13_0|whpc-s-t1|COMPLETED|0:0|||||1|1|n|1|"')
    assert find_job(entry()) == 13
    fake(commands, "sacct", "echo 'Slurm accounting storage is disabled' >&2; exit 1")
    assert find_job(entry()) is None
    paths = StudyPaths(tmp_path)
    ledger.save(paths, entry())
    settle(paths, Slurm())
    assert ledger.load(paths) == []


def test_an_entry_is_kept_while_slurm_does_not_answer(tmp_path: Path, commands: Path) -> None:
    fake(commands, "squeue", "echo 'Unable to contact slurm controller' >&2; exit 1")
    paths = StudyPaths(tmp_path)
    ledger.save(paths, entry())
    messages: list[str] = []
    slurm = Slurm(patience_s=0.5, notify=messages.append, sleep=lambda _: None)
    with pytest.raises(FailedError, match="nothing is submitted twice"):
        settle(paths, slurm)
    assert ledger.load(paths) == [entry()]


def test_a_controller_that_comes_back_is_waited_for(commands: Path, tmp_path: Path) -> None:
    mark = tmp_path / "called"
    away = f"[ -e {mark} ] && echo back && exit 0; touch {mark}"
    fake(commands, "squeue", f"{away}; echo 'Unable to contact slurm controller' >&2; exit 1")
    messages: list[str] = []
    slurm = Slurm(patience_s=60, notify=messages.append, sleep=lambda _: None)
    assert slurm("squeue") == "back\n"
    assert len(messages) == 1


def test_errors_of_commands_become_one_line(commands: Path) -> None:
    fake(commands, "sbatch", "printf 'sbatch: error: Batch job submission failed: Nope\\n"
         "sbatch: error: again\\n' >&2; exit 1")  # fmt: skip
    with pytest.raises(SlurmError, match=r"^sbatch: Nope; again$"):
        call("sbatch")
    fake(commands, "sbatch", "sleep 5")
    with pytest.raises(SlurmAwayError, match=r"no answer in 0\.2 s"):
        call("sbatch", limit_s=0.2)
    with pytest.raises(SlurmError, match="is not installed here"):
        call("no-such-command")


def test_options_of_an_enclosing_job_are_not_inherited(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SBATCH_PARTITION", "SLURM_CPU_BIND", "SLURM_JOB_ID", "SQUEUE_FORMAT"):
        monkeypatch.setenv(name, "x")
    monkeypatch.setenv("SLURM_CONF", "/etc/slurm.conf")
    kept = client.environment()
    assert [name for name in kept if name.startswith(("S", "T")) and kept[name] == "x"] == []
    assert (kept["SLURM_CONF"], kept["TZ"]) == ("/etc/slurm.conf", "UTC")


def submitted_run(tmp_path: Path) -> tuple[StudyPaths, RunPaths, RunSpec]:
    """A run that was submitted as job 5, which Slurm no longer knows."""
    study = {"name": "s", "repeats": 1, "preprocess": [{"backend": "sequential"}]}
    (spec,) = make_plan(StudyConfig.model_validate(study), "/images").runs
    paths = StudyPaths(tmp_path / "r")
    ledger.save(paths, entry(5, spec.run_id))
    run = paths.run(spec.run_id)
    make_ready(run, spec)
    return paths, run, spec


def test_the_exit_file_is_used_where_slurm_knows_nothing(tmp_path: Path, commands: Path) -> None:
    paths, run, _ = submitted_run(tmp_path)
    run.exit.write_text('{"code": 3, "ended_at": "2026-01-01T00:00:00Z"}')
    (job,) = accounting.refresh_accounting(paths).values()
    assert (job.source, job.status, job.exit_code) == ("exit_file", "failed", 3)
    assert (job.queue_s, job.elapsed_s, job.max_rss_mb) == (None, None, None)
    assert json.loads(run.slurm.read_text())["status"] == "failed"
    assert read_record(run.record).reason == "job 5_0 ended as FAILED (exit code 3)"


def test_what_is_known_of_a_job_is_kept_and_checked(tmp_path: Path) -> None:
    paths, run, spec = submitted_run(tmp_path)
    (one,) = accounting.submitted_jobs(paths).values()
    known = Job(one.job_id, one.name, "COMPLETED", JobSource.SACCT, exit_code=0, elapsed_s=1.5)
    write_json(run.slurm, accounting.as_dict(known))
    assert accounting.refresh_accounting(paths) == {spec.run_id: known}
    for odd in ({"elapsed_s": "1.5"}, {"nodes": True}, {"source": 3}, {"state": None}):
        write_json(run.slurm, accounting.as_dict(known) | odd)
        assert accounting._kept(one) is None
    for text in ("", "[]", "{}", '{"elapsed_s": NaN}', "[" * 100_000):
        run.slurm.write_text(text)
        assert accounting._kept(one) is None


def test_a_job_that_left_no_trace_has_failed(tmp_path: Path, commands: Path) -> None:
    paths, run, _ = submitted_run(tmp_path)
    accounting.refresh_accounting(paths)
    record = read_record(run.record)
    assert record.status is Status.FAILED
    assert "neither Slurm nor its script recorded how it ended" in str(record.reason)


def test_what_the_logs_say_is_in_the_reason(tmp_path: Path) -> None:
    paths, run, _spec = submitted_run(tmp_path)
    (submitted,) = accounting.submitted_jobs(paths).values()
    job = Job("5_0", "n", "FAILED", JobSource.SACCT, exit_code=127, node_list="node1")
    log = paths.job_logs / "5_0.log"
    assert submitted.logs[0] == log
    text = "/var/spool/slurmd/job5/slurm_script: line 9: module: command not found"
    # the run's own log first, then that of its job: by sbatch, by submitit
    for path in (submitted.logs[1], log, run.stderr):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\nsrun: error: node1: task 0: Exited with exit code 127\n")
        run.record.unlink(missing_ok=True)
        accounting.close_record(run, job, [run.stderr, *submitted.logs])
        reason = read_record(run.record).reason
        assert reason == f"job 5_0 ended as FAILED (exit code 127) on node1: {text} (see {path})"


@pytest.mark.parametrize(
    ("state", "exit_code", "number", "said"),
    [
        ("OUT_OF_MEMORY", 0, 125, "OUT_OF_MEMORY on node1"),
        ("FAILED", 0, 11, "FAILED (killed by SIGSEGV) on node1"),
        ("TIMEOUT", 0, 15, "TIMEOUT on node1"),
        ("NODE_FAIL", 1, None, "NODE_FAIL on node1"),
        ("CANCELLED by 1000", 0, 15, "CANCELLED by 1000 on node1"),
    ],
)
def test_slurm_says_how_a_run_without_a_record_ended(
    tmp_path: Path, state: str, exit_code: int, number: int | None, said: str
) -> None:
    """Also where only slurm.json is left, as in a folder that was copied in between."""
    _, run, _ = submitted_run(tmp_path)
    job = Job("5_0", "n", state, JobSource.SACCT, None, exit_code, number, node_list="node1",
              started_at="2026-11-28T10:00:00+00:00")  # fmt: skip
    write_json(run.slurm, accounting.as_dict(job))
    found = read_run(run.root)
    assert found.status == job.status
    assert found.reject == f"job 5_0 ended as {said} before it wrote a record"
    accounting.close_record(run, job)
    assert read_record(run.record).reason == f"job 5_0 ended as {said}"


def test_accounting_keeps_seven_bits_of_an_exit_code(tmp_path: Path) -> None:
    _, run, _ = submitted_run(tmp_path)
    job = Job("5_0", "n", "FAILED", JobSource.SACCT, exit_code=11)
    for code, said in ((139, "killed by SIGSEGV (exit code 139)"), (75, "exit code 11")):
        write_json(run.exit, {"code": code, "ended_at": "2026-11-28T10:00:00Z"})
        run.record.unlink(missing_ok=True)
        accounting.close_record(run, job)
        assert read_record(run.record).reason == f"job 5_0 ended as FAILED ({said})"


def test_a_job_that_has_not_started_says_so(tmp_path: Path) -> None:
    _, run, _ = submitted_run(tmp_path)
    job = Job("5_0", "n", "PENDING", JobSource.SQUEUE, "JobHeldUser")
    write_json(run.slurm, accounting.as_dict(job))
    found = read_run(run.root)
    assert (found.status, found.reject) == (
        Status.INCOMPLETE,
        "job 5_0 has not started, PENDING: JobHeldUser",
    )


@pytest.mark.parametrize(
    ("cause", "status"), [("time-limit", Status.TIMEOUT), ("terminated", Status.PREEMPTED)]
)
def test_a_stopped_run_that_was_not_requeued_says_why(
    tmp_path: Path, cause: str, status: Status
) -> None:
    _, run, spec = submitted_run(tmp_path)
    RunRecord.of(spec).write(run.record)
    run.stop.write_text(f"{cause}\n")
    accounting.close_record(run, Job("5_0", "n", "FAILED", JobSource.SACCT, exit_code=75))
    assert read_record(run.record).status is status


def test_a_finished_record_is_kept_however_the_job_ended(tmp_path: Path) -> None:
    _, run, spec = submitted_run(tmp_path)
    RunRecord.of(spec, status=Status.OK).write(run.record)
    accounting.close_record(run, Job("5_0", "n", "NODE_FAIL", JobSource.SACCT))
    assert read_record(run.record).status is Status.OK


def test_without_submissions_no_command_is_called(tmp_path: Path, commands: Path) -> None:
    for name in ("squeue", "sacct", "scontrol"):
        fake(commands, name, f"touch {tmp_path}/asked")
    assert accounting.refresh_accounting(StudyPaths(tmp_path)) == {}
    assert not (tmp_path / "asked").exists()


def test_an_entry_whose_job_arrives_while_it_is_withdrawn_stays(tmp_path: Path) -> None:
    paths = StudyPaths(tmp_path)
    ledger.save(paths, entry())
    (paths.submissions / "t1.job").write_text("12\n")  # as the job's script does first
    assert ledger.forget(paths, entry()) == entry(12)
    assert ledger.load(paths) == [entry(12)]


def test_a_job_that_comes_after_its_entry_was_withdrawn_is_cancelled_by_id_and_name(
    tmp_path: Path, commands: Path
) -> None:
    paths = StudyPaths(tmp_path)
    late = Submission("t1", "whpc-s-t1", "train", [], utc_now())
    ledger.save(paths, late)
    assert ledger.forget(paths, late) is None
    assert ledger.load(paths) == []
    line = "12_[0-1]|whpc-s-t1|PENDING|2026-01-01T00:00:00|N/A||Priority"
    fake(commands, "squeue", f'echo "{line}"')
    fake(commands, "scancel", f'echo "$@" >>{tmp_path}/cancelled')
    settle(paths, Slurm(notify=lambda _: None))
    said = (tmp_path / "cancelled").read_text()
    assert said == "--name=whpc-s-t1 12\n"


def test_two_jobs_with_one_id_are_told_apart_by_name(tmp_path: Path, commands: Path) -> None:
    """A controller that lost its last seconds gave 5 to a job of a, then to one of b."""
    paths = StudyPaths(tmp_path)
    ledger.save(paths, entry(5, "a", name="t1"))
    ledger.save(paths, entry(5, "b", name="t2"))
    fake(commands, "squeue", 'echo "5_0|whpc-s-t2|RUNNING|2026-01-01T00:00:00|N/A||None"')
    fake(commands, "sacct", 'echo "5_0|whpc-s-t1|NODE_FAIL|0:0||||2026-01-01T00:00:01|1|1|n|1|"')
    jobs = accounting.poll(paths, Slurm())
    assert {run_id: job.state for run_id, job in jobs.items()} == {
        "a": "NODE_FAIL", "b": "RUNNING",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("line", "active"),
    [
        ("COMPLETED|0:0||||2026-11-23T20:05:17|60", False),
        ("COMPLETED|0:0||||Unknown|60", True),
        ("CANCELLED by 7|0:0||||Unknown|75", True),
        ("FAILED|1:0||||None|75", True),
    ],
)
def test_accounting_without_an_end_ends_no_run(
    tmp_path: Path, commands: Path, line: str, active: bool
) -> None:
    """The controller still knows the job as running, and accounting lags behind or is wrong."""
    paths = StudyPaths(tmp_path / "r")
    ledger.save(paths, entry(13, "a"))
    fake(commands, "sacct", f"echo '13_0|whpc-s-t1|{line}|1|n|1|'")
    running = "JobId=14 ArrayJobId=13 ArrayTaskId=0 JobName=whpc-s-t1 JobState=RUNNING NodeList=n"
    fake(commands, "scontrol", f"echo '{running}'")
    paths.run("a").root.mkdir(parents=True)
    (job,) = accounting.poll(paths, Slurm()).values()
    assert job.active is active
