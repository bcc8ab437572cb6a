"""Sweeps on a real Slurm, with a stand-in for the interpreter so that jobs take no time."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from tests.integration.conftest import Slurm, a_slurm
from weather_hpc.runs.paths import StudyPaths
from weather_hpc.slurm import ledger
from weather_hpc.slurm.ledger import Submission

pytestmark = [pytest.mark.slurm, pytest.mark.xdist_group("slurm_sweeps")]

REPOSITORY = Path(__file__).resolve().parents[2]
STUDY: dict[str, Any] = {
    "name": "tiny",
    "repeats": 2,
    "synthetic": {"images_per_class": 8},
    "preprocess": [{"backend": "multiprocessing", "workers": 2}],
    "train": [{"strategy": "ddp", "device": "cuda", "world_size": 2}],
}


@dataclass
class Sweep:
    """A study of two preprocessing and two training runs, and the folder it goes to."""

    slurm: Slurm
    folder: Path

    @property
    def paths(self) -> StudyPaths:
        return StudyPaths(self.folder / "results")

    def study(self, **changes: Any) -> None:
        (self.folder / "study.yaml").write_text(json.dumps({**STUDY, **changes}))

    def site(self, **slurm: Any) -> None:
        profile = {"name": "t", "python": str(self.folder / "python"), "slurm": slurm}
        (self.folder / "site.yaml").write_text(json.dumps(profile))

    def behave(self, **how: str) -> None:
        self.paths.root.mkdir(exist_ok=True)
        named = {f"{name}-*": what for name, what in how.items()}
        (self.paths.root / "behave.json").write_text(json.dumps(named))

    def argv(self, *options: str) -> list[str]:
        files = [
            "--study",
            str(self.folder / "study.yaml"),
            "--site",
            str(self.folder / "site.yaml"),
        ]
        return [sys.executable, "-m", "weather_hpc.sweep", *options, *files,
                "--results", str(self.paths.root)]  # fmt: skip

    def __call__(self, *options: str, code: int = 0) -> "subprocess.CompletedProcess[str]":
        done = self.slurm.run(self.argv(*options), timeout_s=240, cwd=REPOSITORY)
        assert done.returncode == code, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return done

    def states(self) -> dict[str, str]:
        """Where each run stands, by the first word of its name and its repeat: ``train-0``."""
        states = json.loads(self("status", "--json").stdout.splitlines()[-1])["states"]
        return {f"{name.split('-')[0]}-{name.split('-r')[1][0]}": s for name, s in states.items()}

    def starts(self) -> int:
        """How often any run's command was started."""
        return sum(len(f.read_text().splitlines()) for f in self.paths.runs.glob("*/starts"))

    def record(self, start: str) -> dict[str, Any]:
        (path,) = self.paths.runs.glob(f"{start}/record.json")
        value: dict[str, Any] = json.loads(path.read_text())
        return value

    def accounted(self, start: str) -> dict[str, Any]:
        (path,) = self.paths.runs.glob(f"{start}/slurm.json")
        value: dict[str, Any] = json.loads(path.read_text())
        return value

    def ended(self, start: str) -> dict[str, Any]:
        """What Slurm says of a job that ended, which it may say a moment after the run's record."""
        self.until(lambda: bool(self.states()) and self.accounted(start)["ended_at"] is not None)
        return self.accounted(start)

    def until(self, done: Callable[[], bool], patience_s: float = 150) -> None:
        deadline = time.monotonic() + patience_s
        while not done():
            assert time.monotonic() < deadline, self("status").stdout
            time.sleep(0.3)


def a_sweep(slurm: Slurm, folder: Path) -> Sweep:
    sweep = Sweep(slurm, folder)
    sweep.study()
    sweep.site()
    sweep.behave()
    python = folder / "python"
    python.write_text(
        f"#!/bin/sh\nexport PYTHONPATH={REPOSITORY}\n"
        f'case "$2" in *.collect|*.sweep) exec {sys.executable} "$@" ;; esac\n'
        f'exec {sys.executable} -m tests.integration.standin "$@"\n'
    )
    python.chmod(0o755)
    return sweep


@pytest.fixture
def sweep(slurm: Slurm, tmp_path: Path) -> Sweep:
    folder = tmp_path / "it's 100% odd"
    folder.mkdir()
    return a_sweep(slurm, folder)


def test_a_study_runs_to_its_tables_and_is_not_run_again(sweep: Sweep) -> None:
    done = sweep("--partition", "gpu", "--live", "--json")
    assert json.loads(done.stdout.splitlines()[-1])["ran"] == {"done": 5}
    assert f"live report: {sweep.paths.report}" in done.stderr
    assert set(sweep.states().values()) == {"done"}
    assert sweep.starts() == 5
    assert 'id="live"' not in sweep.paths.report.read_text()
    train = sweep.accounted("train-*-r0-*")
    assert (train["status"], train["source"], train["exit_code"]) == ("ok", "sacct", 0)
    assert train["queue_s"] >= 0
    # two of the node's four GPUs, as requested
    (starts,) = sweep.paths.runs.glob("train-*-r0-*/starts")
    assert len(starts.read_text().split()[1].split(",")) == 2
    again = sweep("--partition", "gpu")
    assert "0 of 5 runs to make" in again.stderr
    assert sweep.starts() == 5
    assert len(ledger.load(sweep.paths)) == 3


def test_without_wait_a_last_job_collects(sweep: Sweep) -> None:
    left = sweep("--executor", "auto", "--json")
    jobs = json.loads(left.stdout.splitlines()[-1])["jobs"]
    assert len(jobs) == 4
    sweep("--executor", "slurm")
    followed = sweep("status", "--follow", "--json")
    assert json.loads(followed.stdout)["counts"] == {"done": 5}
    for line in ("study tiny: 5 of 5 runs done", "all runs have ended", "node-hours: "):
        assert line in followed.stderr
    sweep.until(sweep.paths.report.exists)
    assert sweep.starts() == 5
    # three arrays and one collecting job: going on while that waits asks for no second one
    assert len(ledger.load(sweep.paths)) == 4


def test_where_the_first_runs_fail_alike_the_pending_ones_are_cancelled(sweep: Sweep) -> None:
    sweep.study(repeats=8, train=[])
    sweep.site(max_running=1)
    sweep.behave(preprocess="fail")
    done = sweep("--executor", "slurm", "--wait", "--json", code=1)
    assert "runs of stage preprocess failed alike: as given" in done.stderr
    assert "or with --keep-going" in done.stderr
    assert "as given" in json.loads(done.stdout.splitlines()[-1])["stopped"]["preprocess"]
    made = sweep.starts()
    assert 3 <= made < 8
    reasons = [json.loads(p.read_text())["reason"] for p in sweep.paths.runs.glob("*/record.json")]
    assert sum(reason.startswith("not made: the first") for reason in reasons) == 8 - made
    sweep.behave()
    assert "8 of 8 runs to make" in sweep("--executor", "slurm", "--wait").stderr
    assert set(sweep.states().values()) == {"done"}


def test_on_whole_nodes_a_run_gets_only_the_gpus_it_requested(sweep: Sweep) -> None:
    sweep.study(repeats=1, preprocess=[])
    sweep.site(exclusive=True, gpu_request="gpus-per-node")
    sweep("--partition", "gpu", "--wait")
    (starts,) = sweep.paths.runs.glob("train-*-r0-*/starts")
    assert len(starts.read_text().split()[1].split(",")) == 2


def test_a_sweep_killed_between_sbatch_and_its_answer_submits_nothing_twice(sweep: Sweep) -> None:
    """sbatch is wrapped: it submits, then kills the sweep that called it."""
    sweep.behave(prepare="sleep", preprocess="sleep")  # so that all are there to be cancelled
    fake = sweep.folder / "bin"
    fake.mkdir()
    real = shutil.which("sbatch")
    (fake / "sbatch").write_text(
        f'#!/bin/sh\n{real} "$@" || exit\ncase "$*" in *test-only*) ;; *) kill -9 $PPID ;; esac\n'
    )
    (fake / "sbatch").chmod(0o755)
    env = {**sweep.slurm.env, "PATH": f"{fake}:{os.environ['PATH']}"}
    killed = subprocess.run(
        sweep.argv("--executor", "slurm"), env=env, cwd=REPOSITORY, capture_output=True, check=False
    )
    assert killed.returncode == -signal.SIGKILL
    (intent,) = ledger.load(sweep.paths)
    assert intent.job_id is None
    assert "1 already queued or running" in sweep("--executor", "slurm").stderr
    names = sweep.slurm.run(["squeue", "-h", "-o", "%j", "--name", intent.job_name]).stdout.split()
    assert names == [intent.job_name]
    assert all(entry.job_id for entry in ledger.load(sweep.paths))
    assert "cancelled 4 jobs" in sweep("cancel").stdout


def test_a_job_that_gets_through_after_its_run_was_submitted_again_does_nothing(
    sweep: Sweep,
) -> None:
    """sbatch is wrapped: it kills the sweep, and its request only arrives after the next sweep."""
    sweep.study(repeats=1, train=[])
    fake = sweep.folder / "bin"
    fake.mkdir()
    real = shutil.which("sbatch")
    (fake / "sbatch").write_text(
        f'#!/bin/sh\ncase "$*" in *test-only*) exec {real} "$@" ;; *) kill -9 $PPID ;; esac\n'
    )
    (fake / "sbatch").chmod(0o755)
    env = {**sweep.slurm.env, "PATH": f"{fake}:{os.environ['PATH']}"}
    argv = sweep.argv("--executor", "slurm")
    subprocess.run(argv, env=env, cwd=REPOSITORY, capture_output=True, check=False)
    (intent,) = ledger.load(sweep.paths)
    # as if Slurm had had its time to know of the job
    ledger.save(sweep.paths, replace(intent, intended_at="2026-01-01T00:00:00+00:00"))
    sweep("--executor", "slurm", "--wait")
    assert sweep.starts() == 1
    record = sweep.record("preprocess-*")
    script = str(sweep.paths.array_script(intent.token))
    late = sweep.slurm.run(["sbatch", "--parsable", "--wait", script])
    assert late.returncode == 0, late.stderr
    assert (sweep.starts(), sweep.record("preprocess-*")) == (1, record)
    said = (sweep.paths.job_logs / f"{late.stdout.strip()}_0.log").read_text()
    assert f"submission {intent.token} is no longer valid" in said
    assert sweep.states() == {"preprocess-0": "done"}


def test_an_entry_that_never_reached_slurm_is_removed(sweep: Sweep) -> None:
    entry = Submission("t0", "whpc-tiny-t0", "x", ["train-x"], "2026-01-01T00:00:00+00:00")
    ledger.save(sweep.paths, entry)
    sweep("--wait")
    assert entry not in ledger.load(sweep.paths)
    assert sweep.starts() == 5


def test_two_concurrent_sweeps_submit_everything_once(sweep: Sweep) -> None:
    both = [
        subprocess.Popen(sweep.argv("--wait"), env=sweep.slurm.env, cwd=REPOSITORY,
                         stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for _ in range(2)
    ]  # fmt: skip
    assert [one.wait(120) for one in both] == [0, 0]
    assert sweep.starts() == 5


def test_the_controller_restarts_while_a_sweep_waits(sweep: Sweep) -> None:
    sweep.study(repeats=3)
    waiting = subprocess.Popen(
        sweep.argv("--wait"), env=sweep.slurm.env, cwd=REPOSITORY,
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    sweep.until(lambda: len(ledger.load(sweep.paths)) >= 2)
    assert sweep.slurm.testbed("restart-controller").returncode == 0
    _, stderr = waiting.communicate(timeout=120)
    assert waiting.returncode == 0, stderr
    assert sweep.starts() == 7


def test_cancel_and_resume(sweep: Sweep) -> None:
    sweep.behave(train="sleep")
    sweep("--executor", "slurm")
    sweep.until(lambda: sweep.states()["train-1"] == "running")
    assert sweep.states()["prepare-0"] == "done"
    assert "cancelled 2 jobs" in sweep("cancel").stdout
    sweep.until(lambda: sweep.states()["train-0"] == "failed")
    assert sweep.record("train-*-r0-*")["status"] == "cancelled"
    sweep.behave()
    sweep("--only-failed", "--wait")
    assert set(sweep.states().values()) == {"done"}


def test_failed_runs_and_runs_that_print_garbage(sweep: Sweep) -> None:
    sweep.behave(train="fail", preprocess="garbage")
    sweep("--wait", code=1)
    assert sweep.states() == {
        "prepare-0": "done", "train-0": "failed", "train-1": "failed",
        "preprocess-0": "done", "preprocess-1": "done",
    }  # fmt: skip
    sweep.behave(**{"train-ddp-cuda-w2-b32-r0": "vanish", "train": "die"})
    told = sweep("--wait", "--only-failed", code=1)
    assert "left no finished record" in sweep.record("train-*-r0-*")["reason"]
    (log,) = sweep.paths.runs.glob("train-*-r1-*/stderr.log")
    job = sweep.ended("train-*-r1-*")
    reason = (
        f"job {job['job_id']} ended as FAILED (killed by SIGKILL (exit code 137, perhaps out of "
        f"memory)) on {job['node_list']}: OSError: no luck (see {log})"
    )
    assert sweep.record("train-*-r1-*")["reason"] == reason
    assert f"{log.parent.name} failed: {reason}" in told.stderr  # while it waited
    assert f"1 failed: job {job['job_id']} ended as FAILED (killed by SIGKILL" in told.stdout
    assert reason in sweep("status").stdout


def test_predictions_wait_for_training_and_come_even_where_some_of_it_failed(
    sweep: Sweep,
) -> None:
    new = sweep.folder / "new images"
    new.mkdir()
    (new / "a.jpg").touch()
    sweep.study(preprocess=[])
    sweep.behave(**{"train-ddp-cuda-w2-b32-r0": "fail", "train-ddp-cuda-w2-b32-r1": "sleep"})
    sweep("--new-images", str(new), "--executor", "slurm")
    sweep.until(lambda: sweep.states()["train-1"] == "running")
    sweep.until(lambda: sweep.states()["train-0"] == "failed")
    assert sweep.states()["predict-0"] == "pending"
    assert not list(sweep.paths.runs.glob("predict-*/starts"))
    array = sweep.accounted("train-*-r1-*")["job_id"]
    assert sweep.slurm.run(["scancel", array]).returncode == 0
    sweep.until(lambda: sweep.states()["predict-0"] == "done")
    # the job that collects comes last
    sweep.until(sweep.paths.report.exists)
    rows = sweep.paths.rows.read_text()
    assert rows.count("predict-") >= 1
    assert "predictions_unreadable" in sweep.paths.audit.read_text()  # the stand-in leaves none


def test_training_does_not_start_where_the_store_failed(sweep: Sweep) -> None:
    sweep.behave(prepare="fail")
    sweep("--wait", code=1)
    assert sweep.record("train-*-r0-*")["status"] == "cancelled"
    assert "before it started" in sweep.record("train-*-r0-*")["reason"]
    assert not list(sweep.paths.runs.glob("train-*/starts"))


def test_a_preempted_run_stops_and_resumes(sweep: Sweep) -> None:
    train = {"strategy": "ddp", "device": "cpu", "world_size": 2, "threads_per_rank": 8}
    sweep.study(repeats=1, preprocess=[], train=[train])
    sweep.site(extra_directives=["--nodelist=node2"])
    sweep.behave(train="stop")
    sweep("--partition", "cpu")
    sweep.until(lambda: sweep.states()["train-0"] == "running")
    urgent = ["sbatch", "-p", "urgent", "--nodelist=node2", "-c16", "-o", "/dev/null"]
    assert sweep.slurm.run([*urgent, "--wrap", "sleep 1"]).returncode == 0
    sweep.until(lambda: sweep.states()["train-0"] == "done")
    assert sweep.ended("train-*-r0-*")["restarts"] == 1


def test_a_node_dies_under_a_run(sweep: Sweep) -> None:
    sweep.study(repeats=1, train=[])
    sweep.site(requeue=False, extra_directives=["--nodelist=node2"])
    sweep.behave(preprocess="sleep")
    sweep("--executor", "slurm")
    sweep.until(lambda: sweep.states()["preprocess-0"] == "running")
    try:
        assert sweep.slurm.testbed("kill-node", "node2").returncode == 0
        sweep.until(lambda: sweep.states()["preprocess-0"] == "failed")
    finally:
        assert sweep.slurm.testbed("start-node", "node2").returncode == 0
    record = sweep.record("preprocess-*-r0-*")
    assert record["status"] == "node_fail"
    assert "ended as NODE_FAIL on node2" in record["reason"]


def test_wrong_input_is_one_line(sweep: Sweep) -> None:
    stderr = sweep("--partition", "gpuu", code=2).stderr
    assert "no partition 'gpuu' on this cluster; did you mean 'gpu'?" in stderr
    sweep.site(reservation="none")
    assert "sbatch refuses every job" in sweep("--executor", "slurm", code=2).stderr
    assert ledger.load(sweep.paths) == []


def test_runs_that_fit_no_node_are_skipped_and_the_others_run(sweep: Sweep) -> None:
    sweep.study(
        repeats=1,
        preprocess=[{"backend": "multiprocessing", "workers": [1, 17]}],
        train=[{"strategy": "ddp", "device": "cuda", "world_size": [1, 5, 8], "nodes": 1}],
    )
    sweep("--wait")
    skipped = [json.loads(f.read_text()) for f in sweep.paths.runs.glob("*/record.json")]
    reasons = sorted(r["reason"] for r in skipped if r["status"] == "skipped")
    assert reasons == [
        "asks for 17 CPUs on a node; partition cpu has at most 16",
        "asks for 5 GPUs on a node; partition cpu has at most 4",
        "asks for 8 GPUs on a node; partition cpu has at most 4",
    ]


def test_without_accounting(tmp_path: Path) -> None:
    with a_slurm("--no-accounting") as slurm:
        sweep = a_sweep(slurm, tmp_path)
        sweep.behave(preprocess="fail")
        sweep("--wait", code=1)
        job = sweep.ended("train-*-r0-*")
        assert (job["status"], job["source"], job["max_rss_mb"]) == ("ok", "scontrol", None)
        assert sweep.ended("preprocess-*-r0-*")["status"] == "failed"


def test_runs_wait_for_drained_nodes(sweep: Sweep) -> None:
    nodes = ["scontrol", "update", "nodename=node[1-2]"]
    assert sweep.slurm.run([*nodes, "state=drain", "reason=maintenance"]).returncode == 0
    try:
        sweep("--executor", "slurm")
        assert set(sweep.states().values()) == {"pending"}
        assert "PENDING: " in sweep("status").stdout
    finally:
        assert sweep.slurm.run([*nodes, "state=resume"]).returncode == 0
    sweep.until(lambda: set(sweep.states().values()) == {"done"})
    assert sweep.starts() == 5


def test_jobs_that_cannot_start_are_told_and_not_waited_for(sweep: Sweep) -> None:
    sweep.study(repeats=1, train=[], preprocess=[{"backend": "multiprocessing", "workers": [1, 2]}])
    sweep.site(extra_directives=["--hold"])
    site = json.loads((sweep.folder / "site.yaml").read_text())
    setup = ["echo 'environment: no such file' >&2", "exit 3"]
    (sweep.folder / "site.yaml").write_text(json.dumps(site | {"setup": setup}))
    log = sweep.folder / "log"
    with log.open("w") as file:
        waiting = subprocess.Popen(
            sweep.argv("--executor", "slurm", "--wait"), env=sweep.slurm.env, cwd=REPOSITORY,
            stdout=subprocess.DEVNULL, stderr=file,
        )  # fmt: skip
    sweep.until(lambda: "2 jobs pending: are held by their user (JobHeldUser)" in log.read_text())
    lost, runs = sorted(f"{entry.job_id}" for entry in ledger.load(sweep.paths))
    assert f"`scontrol release {lost}_0 {runs}_0`" in log.read_text()
    assert f"release {lost}_0 {runs}_0" in sweep("status").stdout
    (other,) = sweep.slurm.run(["sbatch", "--parsable", "--hold", "--wrap", "true"]).stdout.split()
    for command in (
        f"scontrol update jobid={lost} dependency=afterok:{other}",
        f"scontrol release {lost}_0 {runs}_0",
        f"scancel {other}",
    ):
        done = sweep.slurm.run(command.split())
        assert done.returncode == 0, done.stderr
    assert waiting.wait(120) == 1
    told = log.read_text()
    assert f"and can never start (DependencyNeverSatisfied): `scancel {lost}_0`, then" in told
    assert "not waiting any longer: 1 job left, none can start" in told
    # the other one failed before its command began: only the job's own log knows why
    job_log = sweep.paths.job_logs / f"{runs}_0.log"
    assert f"failed: job {runs}_0 ended as FAILED (exit code 3) on node" in told
    assert f": environment: no such file (see {job_log})" in told
    assert sweep.starts() == 0
    assert "cancelled 1 job" in sweep("cancel").stdout
