"""Training itself on a real Slurm: ranks on two nodes, GPU runs where torch finds no CUDA."""

import json
import sys
from pathlib import Path

import pytest

from tests.integration.conftest import Slurm
from weather_hpc.records.record import read_record

pytestmark = [pytest.mark.slurm, pytest.mark.xdist_group("slurm")]

REPOSITORY = Path(__file__).resolve().parents[2]


def test_ranks_of_two_nodes_train_together(slurm: Slurm, tmp_path: Path) -> None:
    study = {
        "name": "two",
        "repeats": 1,
        "image_size": 256,
        "synthetic": {"images_per_class": 2},
        "time_limit_min": 5,
        "train": [{"strategy": "ddp", "device": "cuda", "nodes": 2, "world_size": 2,
                   "batch_size": 4, "epochs": 1}],
    }  # fmt: skip
    (tmp_path / "study.yaml").write_text(json.dumps(study))
    done = slurm.run(
        [sys.executable, "-m", "weather_hpc.sweep", "--study", str(tmp_path / "study.yaml"),
         "--site", "testbed", "--partition", "gpu", "--wait", "--results", str(tmp_path / "r")],
        timeout_s=200, cwd=REPOSITORY,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (path,) = (tmp_path / "r").glob("runs/train-*/record.json")
    record = read_record(path)
    assert record.status == "ok"
    # the testbed's nodes claim GPUs and torch finds none: the record says what it ran on
    assert record.actual.device == "cpu"
    assert sorted(rank.rank for rank in record.actual.ranks) == [0, 1]
    assert record.provenance.slurm["SLURM_JOB_NODELIST"] == "node[1-2]"
