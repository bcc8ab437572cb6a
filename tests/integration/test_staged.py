"""Sweeps by stages, and within a budget, on a real Slurm. Every run's record says 0.5 s."""

import json
import subprocess
from pathlib import Path

import pytest

from tests.integration.conftest import Slurm
from tests.integration.test_slurm_executor import REPOSITORY, Sweep, a_sweep
from weather_hpc.slurm import ledger

pytestmark = [pytest.mark.slurm, pytest.mark.xdist_group("slurm_sweeps")]

STAGED = ("--executor", "slurm", "--staged", "--efficiency-floor", "0.6")


@pytest.fixture
def sweep(slurm: Slurm, tmp_path: Path) -> Sweep:
    made = a_sweep(slurm, tmp_path)
    preprocess = [{"backend": "multiprocessing", "workers": [1, 2, 4]}]
    train = [{"strategy": "ddp", "device": "cpu", "world_size": [1, 2]}]
    made.study(repeats=1, preprocess=preprocess, train=train)
    return made


def by_size(sweep: Sweep) -> dict[str, str]:
    states = json.loads(sweep("status", "--json").stdout.splitlines()[-1])["states"]
    return {"-".join(name.split("-")[:-2]): state for name, state in states.items()}


def test_the_sweep_waits_for_each_stage_and_a_series_below_the_floor_stops(sweep: Sweep) -> None:
    stderr = sweep(*STAGED).stderr
    assert "waits for the jobs of each stage" in stderr
    assert "skipped (efficiency 0.50 at 2 workers is under the floor 0.6)" in stderr
    assert by_size(sweep) == {
        "prepare-multiprocessing-w8": "done",
        "preprocess-multiprocessing-w1": "done",
        "preprocess-multiprocessing-w2": "done",
        "preprocess-multiprocessing-w4": "skipped",
        "train-ddp-cpu-w1-b32": "done",
        "train-ddp-cpu-w2-b32": "done",
    }
    assert sweep.starts() == 5
    assert sweep.paths.report.exists()
    assert "1 of 6 runs to make" in sweep(*STAGED).stderr  # it stays stopped
    assert sweep.starts() == 5


def test_after_a_cancel_no_further_stage_is_submitted(sweep: Sweep) -> None:
    sweep.behave(**{"preprocess-multiprocessing-w1": "sleep"})
    process = subprocess.Popen(
        sweep.argv(*STAGED), env=sweep.slurm.env, cwd=REPOSITORY, stderr=subprocess.PIPE, text=True
    )
    sweep.until(lambda: bool(list(sweep.paths.runs.glob("*-multiprocessing-w1-*/starts"))))
    sweep("cancel")
    _, stderr = process.communicate(timeout=120)
    assert process.returncode == 1
    assert "later stages are not submitted" in stderr
    assert by_size(sweep)["preprocess-multiprocessing-w4"] == "todo"


def test_a_study_above_the_budget_submits_nothing(sweep: Sweep) -> None:
    sweep.site(max_requeues=1)
    done = sweep("--executor", "slurm", "--max-node-hours", "6.5", code=2)
    # each run may start twice, and half an hour is for the job that collects
    assert "--only 'preprocess-*' would fit (3 runs, at most 6 node-hours)" in done.stderr
    assert ledger.load(sweep.paths) == []
    assert not sweep.paths.plan.exists()
