"""Sweeps by submitit on a real Slurm, with a stand-in for the interpreter that runs stages."""

import shutil
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.conftest import Slurm
from tests.integration.test_slurm_executor import REPOSITORY, Sweep, a_sweep
from weather_hpc.slurm import ledger
from weather_hpc.slurm.accounting import submitted_jobs

pytestmark = [pytest.mark.slurm, pytest.mark.xdist_group("slurm_sweeps")]

SUBMITIT = ("--executor", "submitit")


def a_submitit_sweep(slurm: Slurm, folder: Path) -> Sweep:
    made = a_sweep(slurm, folder)
    python = folder / "python"
    head, rest = python.read_text().split("\n", 1)
    submitit = f'case "$3" in submitit.*) cd {REPOSITORY}; exec {sys.executable} "$@" ;; esac'
    python.write_text(f"{head}\n{submitit}\n{rest}")
    return made


@pytest.fixture
def sweep(slurm: Slurm, tmp_path: Path) -> Sweep:
    folder = tmp_path / "it's odd"
    folder.mkdir()
    return a_submitit_sweep(slurm, folder)


def test_a_study_runs_to_its_tables_and_is_not_run_again(sweep: Sweep) -> None:
    # arrays of several runs and of one, on two of the node's four GPUs, as requested
    sweep.study(preprocess=[{"backend": "multiprocessing", "workers": 1}])
    sweep(*SUBMITIT, "--partition", "gpu", "--wait")
    assert set(sweep.states().values()) == {"done"}
    assert sweep.starts() == 5
    assert sweep.paths.report.exists()
    # the pickles are code that the jobs run
    folders = [sweep.paths.submitit(entry.token) for entry in ledger.load(sweep.paths)]
    assert {stat.S_IMODE(folder.stat().st_mode) for folder in folders} == {0o700}
    train = sweep.ended("train-*-r0-*")
    assert (train["status"], train["source"], train["exit_code"]) == ("ok", "sacct", 0)
    # where reasons are looked for, of arrays of several runs and of one
    for job in submitted_jobs(sweep.paths).values():
        assert [log.suffix for log in job.logs if log.is_file()] == [".err", ".out"]
    (starts,) = sweep.paths.runs.glob("train-*-r0-*/starts")
    assert len(starts.read_text().split()[1].split(",")) == 2
    for executor in ("submitit", "slurm"):
        assert "0 of 5 runs to make" in sweep("--executor", executor).stderr
    assert sweep.starts() == 5
    assert len(ledger.load(sweep.paths)) == 3


def test_only_failed_runs_are_run_again(sweep: Sweep) -> None:
    sweep.study(repeats=1, preprocess=[])
    sweep.behave(train="fail")
    sweep(*SUBMITIT, "--wait", code=1)
    assert sweep.states() == {"prepare-0": "done", "train-0": "failed"}
    assert sweep.ended("train-*")["exit_code"] == 1
    sweep.behave()
    sweep(*SUBMITIT, "--wait", "--only-failed")
    assert set(sweep.states().values()) == {"done"}
    assert sweep.starts() == 3


def test_cancel_ends_its_jobs(sweep: Sweep) -> None:
    sweep.behave(prepare="sleep", preprocess="sleep")
    sweep(*SUBMITIT)
    sweep.until(lambda: sweep.states()["prepare-0"] == "running")
    # three arrays, and the job that collects
    assert "cancelled 4 jobs" in sweep("cancel").stdout
    sweep.until(lambda: "running" not in sweep.states().values())
    assert sweep.record("prepare-*")["status"] == "cancelled"


def test_a_preempted_run_stops_and_resumes(sweep: Sweep) -> None:
    train = {"strategy": "ddp", "device": "cpu", "world_size": 2, "threads_per_rank": 8}
    sweep.study(repeats=1, preprocess=[], train=[train])
    sweep.site(extra_directives=["--nodelist=node2"])
    sweep.behave(train="stop")
    sweep(*SUBMITIT, "--partition", "cpu")
    sweep.until(lambda: any(sweep.paths.runs.glob("train-*/starts")))
    urgent = ["sbatch", "-p", "urgent", "--nodelist=node2", "-c16", "-o", "/dev/null"]
    assert sweep.slurm.run([*urgent, "--wrap", "sleep 1"]).returncode == 0
    sweep.until(lambda: sweep.states()["train-0"] == "done")
    assert sweep.ended("train-*")["restarts"] == 1


def test_a_run_without_requeues_left_is_a_timeout(sweep: Sweep) -> None:
    sweep.study(repeats=1, preprocess=[])
    sweep.site(requeue=False)
    sweep.behave(train="stop")
    sweep(*SUBMITIT)
    sweep.until(lambda: any(sweep.paths.runs.glob("train-*/starts")))
    sweep.slurm.run(["scancel", "--batch", "--signal=USR2", _job_of_training(sweep)])
    sweep.until(lambda: sweep.states()["train-0"] == "failed")
    assert sweep.ended("train-*")["exit_code"] == 75
    assert sweep.record("train-*")["status"] == "timeout"
    assert any(sweep.paths.runs.glob("train-*/checkpoint.pt"))


def _job_of_training(sweep: Sweep) -> str:
    (job_id,) = [e.job_id for e in ledger.load(sweep.paths) if e.about.startswith("train")]
    return str(job_id)


def test_a_sweep_killed_between_sbatch_and_its_answer_loses_no_job(sweep: Sweep) -> None:
    """sbatch is wrapped: it submits, then kills the sweep that called it."""
    sweep.study(repeats=1, train=[])
    fake = sweep.folder / "bin"
    fake.mkdir()
    (fake / "sbatch").write_text(
        f'#!/bin/sh\n{shutil.which("sbatch")} "$@" || exit\n'
        'case "$*" in *test-only*) ;; *) kill -9 $PPID ;; esac\n'
    )
    (fake / "sbatch").chmod(0o755)
    env = {**sweep.slurm.env, "PATH": f"{fake}:{sweep.slurm.env['PATH']}"}
    killed = subprocess.run(
        sweep.argv(*SUBMITIT), env=env, cwd=REPOSITORY, capture_output=True, check=False
    )
    assert killed.returncode == -signal.SIGKILL
    # the job waits for what submitit had not yet put in its place: the next sweep does so
    sweep(*SUBMITIT, "--wait")
    assert set(sweep.states().values()) == {"done"}
    assert sweep.starts() == 1
    assert len(ledger.load(sweep.paths)) == 1
