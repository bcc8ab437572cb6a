"""jobs/: scripts submitted as a user would, from a checkout, and trained for real."""

import csv
import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from tests.integration.conftest import Slurm
from weather_hpc.dataset.synthetic import make_synthetic
from weather_hpc.files import write_text
from weather_hpc.launch.jobs_folder import jobs_folder
from weather_hpc.runs.checks import read_checks
from weather_hpc.runs.record import read_record
from weather_hpc.study.site import load_site

pytestmark = [pytest.mark.slurm, pytest.mark.xdist_group("slurm_work")]

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """What a script needs of a checkout: the package, itself, an environment in its place."""
    folder = tmp_path / "a checkout"
    (folder / ".venv" / "bin").mkdir(parents=True)
    for name in ("weather_hpc", "jobs"):
        (folder / name).symlink_to(REPOSITORY / name)
    python = folder / ".venv" / "bin" / "python"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    return folder


@dataclass(frozen=True)
class User:
    """Somebody who submits scripts in a checkout, with settings for two images a class."""

    slurm: Slurm
    checkout: Path

    def sbatch(self, *arguments: str) -> str:
        """Submit; the job's number."""
        done = self.slurm.run(["sbatch", "--parsable", *arguments], cwd=self.checkout)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def wait(self, job: str) -> None:
        """Until ``job`` is out of the queue."""
        deadline = time.monotonic() + 240
        while self.slurm.run(["squeue", "-h", "--me", "-j", job]).stdout.strip():
            assert time.monotonic() < deadline
            time.sleep(0.5)


@pytest.fixture
def user(slurm: Slurm, checkout: Path) -> User:
    make_synthetic(checkout / "images", 2)
    settings = {"EPOCHS": "1", "BATCH_SIZE": "4", "WEATHER_HPC_DATA": "images"}
    return User(Slurm(slurm.state, slurm.env | settings), checkout)


def test_gpu_jobs_of_a_torch_without_cuda_are_skipped_with_the_reason(
    user: User, checkout: Path
) -> None:
    """The testbed's GPUs are counted and named but not there, as for a CPU build of torch."""
    job = user.sbatch("jobs/ddp_4gpu.sbatch")
    user.wait(job)
    run = checkout / f"results/jobs/runs/ddp_4gpu-b4-{job}"
    record = read_record(run / "record.json")
    assert record.status == "skipped", (run / "stderr.log").read_text()
    reason = str(record.reason)
    assert reason.startswith(f"asks for 4 CUDA GPUs; this machine has 0: torch {torch.__version__}")
    assert "CUDA_VISIBLE_DEVICES is 0,1,2,3" in reason
    assert (record.time_s, record.actual.ranks) == (None, [])
    assert json.loads((run / "exit.json").read_bytes())["code"] == 0


def test_two_jobs_train_and_a_third_collects(user: User, checkout: Path) -> None:
    """With the testbed's own scripts, which train on the CPU where torch finds no CUDA."""
    for name, text in jobs_folder(load_site("testbed")).items():
        write_text(checkout / "testbed" / name, text)
    one = user.sbatch("testbed/ddp_4gpu.sbatch")
    two = user.sbatch("testbed/ddp_2node.sbatch")
    last = user.sbatch(f"--dependency=afterany:{one}:{two}", "testbed/collect.sbatch")
    user.wait(last)

    logs = {path.stem: path.read_text() for path in checkout.glob("*.log")}
    # both need the store: one packed it, the other waited
    assert sum("22 images" in text for text in logs.values()) == 1
    record = read_record(checkout / f"results/jobs/runs/ddp_4gpu-b4-{one}/record.json")
    assert (record.status, record.spec.repeat) == ("ok", int(one))
    # the testbed's nodes claim GPUs and torch finds none: the record says what it ran on
    assert (record.spec.task.kind, record.actual.device) == ("train", "cpu")
    # the whole job counts, with the images and the store that it made before the run
    jobs = user.slurm.run(["sacct", "-XnP", f"--jobs={one},{two}", "-o", "JobID,ElapsedRaw,NNodes"])
    with (checkout / "results/jobs/rows.csv").open() as file:
        hours = {row["slurm_job_id"]: float(row["node_hours"]) for row in csv.DictReader(file)}
    for job, elapsed, nodes in (line.split("|") for line in jobs.stdout.split()):
        assert hours[job] == pytest.approx(int(elapsed) * int(nodes) / 3600, abs=4 / 3600)
    with (checkout / "results/jobs/tables/training.csv").open() as file:
        rows = [(row["nodes"], row["world_size"]) for row in csv.DictReader(file)]
    assert sorted(rows) == [("1", "4"), ("2", "4")], logs


def test_a_job_on_two_nodes_checks_what_their_ranks_do_together(user: User, checkout: Path) -> None:
    """The script requests GPUs; torch can use none of them here, and a failed check says so."""
    write_text(checkout / "check.sbatch", jobs_folder(load_site("testbed"))["check_2node.sbatch"])
    job = user.sbatch("check.sbatch")
    user.wait(job)
    results, fault = read_checks(checkout / f"results/jobs/check/check_2node-{job}/check.jsonl")
    log = (checkout / f"check_2node-{job}.log").read_text()
    assert fault is None, log
    by_name = {result.name: result for result in results}
    assert [(name, result.ok) for name, result in by_name.items()] == [
        ("versions", False),
        ("binding", True),
        ("all-reduce, 4 ranks on 2 nodes", True),
        ("all-reduce, 2 ranks on 1 node", True),
        ("ddp on 4 ranks on 2 nodes = one process", True),
        ("model on 4 ranks on 2 nodes = one process", True),
    ], log
    assert "torch can use none: torch 2" in by_name["versions"].detail
    assert {by_name["binding"].figures[f"rank {rank} host"] for rank in range(4)} == {
        "node1",
        "node2",
    }
