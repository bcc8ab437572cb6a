"""jobs/: scripts submitted as a user would, from a checkout, and trained for real."""

import csv
import sys
import time
from pathlib import Path

import pytest

from tests.integration.conftest import Slurm
from weather_hpc.dataset.synthetic import make_synthetic
from weather_hpc.records.record import read_record

pytestmark = [pytest.mark.slurm, pytest.mark.xdist_group("slurm")]

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


def test_two_jobs_train_and_a_third_collects(slurm: Slurm, checkout: Path) -> None:
    make_synthetic(checkout / "images", 2)
    settings = {"EPOCHS": "1", "BATCH_SIZE": "4", "WEATHER_HPC_DATA": "images"}
    mine = Slurm(slurm.state, slurm.env | settings)

    def sbatch(*words: str) -> str:
        done = mine.run(["sbatch", "--parsable", *words], cwd=checkout)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    one = sbatch("jobs/ddp_4gpu.sbatch")
    two = sbatch("jobs/ddp_2node.sbatch")
    last = sbatch(f"--dependency=afterany:{one}:{two}", "jobs/collect.sbatch")
    deadline = time.monotonic() + 240
    while mine.run(["squeue", "-h", "--me", "-j", last]).stdout.strip():
        assert time.monotonic() < deadline
        time.sleep(0.5)

    logs = {path.stem: path.read_text() for path in checkout.glob("*.log")}
    # both wanted the store; one packed it, the other waited
    assert sum("22 images" in text for text in logs.values()) == 1
    record = read_record(checkout / f"results/jobs/runs/ddp_4gpu-b4-{one}/record.json")
    assert (record.status, record.spec.repeat) == ("ok", int(one))
    # the testbed's nodes claim GPUs and torch finds none: the record says what it ran on
    assert (record.spec.task.kind, record.actual.device) == ("train", "cpu")
    with (checkout / "results/jobs/tables/training.csv").open() as file:
        rows = [(row["nodes"], row["world_size"]) for row in csv.DictReader(file)]
    assert sorted(rows) == [("1", "4"), ("2", "4")], logs
