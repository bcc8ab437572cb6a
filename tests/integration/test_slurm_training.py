"""Training itself on a real Slurm: ranks on two nodes, GPU runs where torch finds no CUDA."""

import csv
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tests.integration.conftest import Slurm
from weather_hpc.runs.record import read_record
from weather_hpc.train.ranks import torchrun as torchrun_arguments

pytestmark = [pytest.mark.slurm, pytest.mark.xdist_group("slurm_work")]

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
    assert record.actual.nodes == 2
    assert {rank.host for rank in record.actual.ranks} == {"node1", "node2"}
    assert sacct_agrees_with_rows(slurm, tmp_path / "r") == 2


def sacct_agrees_with_rows(slurm: Slurm, results: Path) -> int:
    """Compare each row with what sacct says of its job now; how many were compared."""
    with (results / "rows.csv").open(newline="") as file:
        rows = {row["slurm_job_id"]: row for row in csv.DictReader(file)}
    fields = ("JobID", "State", "ElapsedRaw", "NNodes", "NodeList")
    listed = slurm.run(["sacct", "-X", "-n", "-P", f"--format={','.join(fields)}"])
    jobs = [line.split("|") for line in listed.stdout.splitlines()]
    compared = 0
    for job_id, state, elapsed, nodes, node_list in (job for job in jobs if job[0] in rows):
        row = rows[job_id]
        assert (row["slurm_state"], row["slurm_node_list"]) == (state, node_list)
        assert float(row["slurm_elapsed_s"]) == float(elapsed)
        assert row["nodes"] == nodes
        assert float(row["node_hours"]) == pytest.approx(int(nodes) * float(elapsed) / 3600)
        assert row["slurm_source"] == "sacct"
        compared += 1
    return compared


def test_a_requeued_run_ends_with_the_same_weights(slurm: Slurm, tmp_path: Path) -> None:
    """The warning that Slurm gives before a time limit, given by hand: a minute sooner."""
    study = {
        "name": "long",
        "repeats": 1,
        "synthetic": {"images_per_class": 8},
        "train": [{"strategy": "ddp", "device": "cpu", "world_size": 2, "batch_size": 4,
                   "epochs": 8}],
    }  # fmt: skip
    (tmp_path / "study.yaml").write_text(json.dumps(study))
    results = tmp_path / "r"
    options = ["--study", str(tmp_path / "study.yaml"), "--results", str(results)]
    sweep = [sys.executable, "-m", "weather_hpc.sweep", *options]
    assert slurm.run([*sweep, "--site", "testbed"], cwd=REPOSITORY).returncode == 0
    wait_for(lambda: list(results.glob("runs/train-*/checkpoint.pt")))
    (run,) = results.glob("runs/train-*")
    (job,) = slurm.run(["squeue", "-h", "-t", "R", "--array", "-o", "%i"]).stdout.split()
    assert slurm.run(["scancel", "--signal=USR1", "--batch", job]).returncode == 0
    wait_for(lambda: not slurm.run(["squeue", "-h", "-o", "%i"]).stdout.strip())

    record = read_record(run / "record.json")
    assert record.status == "ok", record.reason
    assert record.provenance.restarts == 1
    events = [json.loads(line) for line in (run / "events.jsonl").read_text().splitlines()]
    assert [event["ranks"] for event in events if event["event"] == "resume"] == [2]

    # the same command once more, in one go and without a scheduler
    (store,) = (results / "stores").iterdir()
    whole = tmp_path / "whole"
    argv = [sys.executable, *torchrun_arguments(1, 2)]
    argv += ["-m", "weather_hpc.train", "--store", str(store), "--strategy", "ddp"]
    argv += ["--device", "cpu", "--batch-size", "4", "--epochs", "8", "--run-dir", str(whole)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    subprocess.run(argv, env=environment, check=True, capture_output=True, timeout=120)
    ours, theirs = (
        torch.load(folder / "checkpoint.pt", weights_only=True)["network"]
        for folder in (run, whole)
    )
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def wait_for(there: Callable[[], object]) -> None:
    deadline = time.monotonic() + 120
    while not there():
        assert time.monotonic() < deadline, "it did not come within two minutes"
        time.sleep(0.2)
