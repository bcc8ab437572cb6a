"""What accounting in files changes in the rows of logs, and what the audit says of it."""

import csv
import json
from pathlib import Path

import pytest

from tests.records_maker import leave, measured, preprocess_spec
from weather_hpc import cli
from weather_hpc.collect.__main__ import main
from weather_hpc.collect.accounting import Accounting
from weather_hpc.files import write_json
from weather_hpc.runs.paths import RunPaths
from weather_hpc.runs.row import Reading, Row
from weather_hpc.runs.run import JobSummary

pytestmark = pytest.mark.usefixtures("undrawn_plots")

EPOCHS = "Epoch 1/3, Loss: 0.90\nEpoch 2/3, Loss: 0.80\nEpoch 3/3, Loss: 0.70\n"
TOTAL = "Training time: 91.2 seconds\n"
OOM_LINE = "slurmstepd: error: Detected 1 oom-kill event(s) in step 7.0\n"
TRACEBACK = "Traceback (most recent call last):\nValueError: bad shape\n"
HEADER = "JobID|State|Start|End|Elapsed|NNodes\n"
TIMES = "2026-01-01T00:00:00|2026-01-01T00:10:00|00:10:00|1"

Rows = list[dict[str, str]]


def collected(tmp_path: Path, *more: Path) -> tuple[Rows, Rows]:
    """The rows of the logs in ``tmp_path/logs``, and the findings about accounting."""
    argv = [tmp_path / "logs", *more, "--pattern", "ddp_{gpus}gpu_j{job_id}.out"]
    argv += ["--out", tmp_path / "out"]
    assert cli.guarded("collect", main, list(map(str, argv))) == cli.EXIT_OK

    def read(name: str) -> Rows:
        with (tmp_path / "out" / name).open(newline="") as file:
            return list(csv.DictReader(file))

    return read("rows.csv"), [f for f in read("audit.csv") if f["code"] == "accounting"]


def log(tmp_path: Path, text: str, job: str = "7", gpus: int = 4) -> Path:
    (tmp_path / "logs").mkdir(exist_ok=True)
    path = tmp_path / "logs" / f"ddp_{gpus}gpu_j{job}.out"
    path.write_text(text)
    return path


def export(tmp_path: Path, *lines: str) -> Path:
    path = tmp_path / "acct.txt"
    path.write_text(HEADER + "".join(f"{line}\n" for line in lines))
    return path


@pytest.mark.parametrize(
    ("text", "state", "status", "reason"),
    [
        (EPOCHS, "OUT_OF_MEMORY", "out_of_memory", "no total in the log"),
        (EPOCHS, "TIMEOUT", "timeout", "no total in the log"),
        (EPOCHS, "NODE_FAIL", "node_fail", "no total in the log"),
        (EPOCHS, "PREEMPTED", "preempted", "no total in the log"),
        (EPOCHS, "CANCELLED by 1001", "cancelled", "no total in the log"),
        (EPOCHS, "FAILED", "failed", "no total in the log"),
        (EPOCHS, "COMPLETED", "incomplete", "no total in the log"),
        ("", "OUT_OF_MEMORY", "out_of_memory", "empty file"),
        ("loading data\n", "TIMEOUT", "timeout", "no line with an epoch or a total"),
        (EPOCHS + TRACEBACK, "NODE_FAIL", "node_fail", "ValueError: bad shape"),
        # the log knows more than that the job's exit code was not 0
        (EPOCHS + OOM_LINE, "FAILED", "out_of_memory", "oom-kill event(s) in step 7.0"),
        (EPOCHS + OOM_LINE, "COMPLETED", "out_of_memory", "oom-kill event(s) in step 7.0"),
    ],
)
def test_the_state_counts_where_a_log_has_no_total(
    tmp_path: Path, text: str, state: str, status: str, reason: str
) -> None:
    log(tmp_path, text)
    ((row,), findings) = collected(tmp_path, export(tmp_path, f"7|{state}|{TIMES}"))
    assert (row["status"], row["table"], row["slurm_state"]) == (status, "", state)
    assert reason in row["reason"]
    assert row["reason"].endswith(f"; sacct: job 7 ended as {state}")
    assert row["node_hours"] == str(600 / 3600)
    assert not findings


def test_a_run_that_could_not_say_how_it_ended_is_judged_by_its_job(tmp_path: Path) -> None:
    spec, slurm = preprocess_spec("dask", 2), {"SLURM_JOB_ID": "7"}
    record = measured(spec, None, status="incomplete", provenance={"slurm": slurm})
    leave(tmp_path / "logs", record)
    ((row,), _) = collected(tmp_path, export(tmp_path, f"7|NODE_FAIL|{TIMES}"))
    assert (row["status"], row["slurm_state"]) == ("node_fail", "NODE_FAIL")
    assert row["reason"].endswith("final record; sacct: job 7 ended as NODE_FAIL")


def test_a_step_that_ran_out_of_memory_counts(tmp_path: Path) -> None:
    log(tmp_path, EPOCHS + TRACEBACK)
    lines = [f"7|FAILED|{TIMES}", f"7.batch|FAILED|{TIMES}", f"7.0|OUT_OF_MEMORY|{TIMES}"]
    ((row,), _) = collected(tmp_path, export(tmp_path, *lines))
    assert (row["status"], row["slurm_state"]) == ("out_of_memory", "FAILED")
    said = "; sacct: job 7 ended as FAILED: step 0 ended as OUT_OF_MEMORY"
    assert row["reason"].endswith(said)


def test_a_log_with_a_total_stays_and_the_audit_tells_how_its_job_ended(tmp_path: Path) -> None:
    log(tmp_path, EPOCHS + TOTAL)
    log(tmp_path, EPOCHS.replace("0.8", "0.81") + TOTAL, "8", gpus=2)
    lines = [f"7|TIMEOUT|{TIMES}", f"8|COMPLETED|{TIMES}"]
    rows, findings = collected(tmp_path, export(tmp_path, *lines))
    assert [(row["status"], row["table"]) for row in rows] == [("ok", "training")] * 2
    ((finding,), text) = findings, "a total in the log, but sacct: job 7 ended as TIMEOUT"
    assert (finding["source"], finding["severity"]) == ("ddp_4gpu_j7", "warning")
    assert text in finding["message"]


@pytest.mark.parametrize("end", ["Unknown", "None", "0"])
def test_the_elapsed_time_of_a_running_job_is_not_used(tmp_path: Path, end: str) -> None:
    log(tmp_path, EPOCHS)
    line = f"7|RUNNING|2026-01-01T00:00:00|{end}|00:10:00|1"
    ((row,), (finding,)) = collected(tmp_path, export(tmp_path, line))
    assert (row["status"], row["slurm_state"], row["slurm_elapsed_s"]) == (
        "incomplete",
        "RUNNING",
        "",
    )
    assert (row["node_hours"], row["nodes"]) == ("", "1")
    assert row["reason"].startswith("no total in the log; ")
    assert row["reason"].endswith("; sacct: job 7 is RUNNING")
    assert "job 7 is RUNNING: its elapsed time still grows" in finding["message"]


def test_the_tries_of_a_requeued_job_add_up(tmp_path: Path) -> None:
    log(tmp_path, EPOCHS + TOTAL)
    lines = [
        f"7|NODE_FAIL|{TIMES}",
        f"7.batch|NODE_FAIL|{TIMES}",
        f"7|COMPLETED|{TIMES.replace('01T', '02T')}",
    ]
    ((row,), findings) = collected(tmp_path, export(tmp_path, *lines))
    assert (row["slurm_elapsed_s"], row["restarts"], row["slurm_state"]) == (
        "1200.0",
        "1",
        "COMPLETED",
    )
    assert not findings


def test_accounting_among_the_logs_is_used_and_is_no_run(tmp_path: Path) -> None:
    log(tmp_path, EPOCHS)
    folder = tmp_path / "logs"
    export(folder, f"7|TIMEOUT|{TIMES}").rename(folder / "night.txt")
    (folder / "sacct-n.log").write_text("7|TIMEOUT|00:10:00\n")
    (folder / "queue.txt").write_text("JOBID PARTITION ST\n   12 gpu R\n")
    jobs = [{"job_id": 7, "state": {"current": ["TIMEOUT"]}, "time": {"elapsed": 600, "end": 9}}]
    (folder / "sacct.json").write_text(json.dumps({"jobs": jobs, "meta": {"slurm": {}}}))
    ((row,), findings) = collected(tmp_path)
    assert (row["run_id"], row["status"], row["slurm_elapsed_s"]) == (
        "ddp_4gpu_j7",
        "timeout",
        "600.0",
    )
    told = {Path(each["source"]).name: each["message"] for each in findings}
    assert set(told) == {"sacct-n.log", "queue.txt"}
    assert "no header line before it" in told["sacct-n.log"]
    assert "is the output of squeue; expected the output of sacct" in told["queue.txt"]


def test_accounting_of_other_jobs_is_told(tmp_path: Path) -> None:
    log(tmp_path, EPOCHS + TOTAL)
    _, (finding,) = collected(tmp_path, path := export(tmp_path, f"8|COMPLETED|{TIMES}"))
    assert finding["source"] == str(path)
    assert finding["message"] == "not used: none of its jobs is one of these runs' (7)"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("7☃train☃COMPLETED☃0:0☃00:10:00☃\n", "acct.txt:1: no header line before it"),
        (
            "Job ID: 7\nState: FAILED (exit code 1)\nJob Wall-clock time: 00:10:00\n",
            "is the output of seff",
        ),
    ],
)
def test_named_accounting_that_cannot_be_read_ends_the_verb(
    tmp_path: Path, text: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "acct.txt"
    path.write_text(text)
    argv = [log(tmp_path, EPOCHS), path, "--out", tmp_path / "out"]
    assert cli.guarded("collect", main, list(map(str, argv))) == cli.EXIT_USAGE
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_folder_with_nothing_but_accounting_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    export(tmp_path, f"7|COMPLETED|{TIMES}")
    argv = [str(tmp_path), "--out", str(tmp_path / "out")]
    assert cli.guarded("collect", main, argv) == cli.EXIT_USAGE
    assert "acct.txt: holds only accounting; add the path" in capsys.readouterr().err


def test_a_job_of_another_name_with_the_same_id_is_not_the_runs(tmp_path: Path) -> None:
    run = RunPaths(tmp_path / "run")
    own = {"job_id": "12_0", "state": "RUNNING", "source": "squeue", "name": "whpc-s-1"}
    write_json(run.slurm, own)
    row = Row(run_id="r", source=str(run.root), status="ok", slurm_job_id="12_0")
    for name, elapsed in (("whpc-s-1", 60.0), ("stranger", None)):
        job = JobSummary(job_id="12_0", state="COMPLETED", source="sacct", name=name, elapsed_s=60)
        (judged,) = Accounting({"12_0": job}).with_jobs([Reading(row)], [])
        assert judged.row.slurm_elapsed_s == elapsed
