"""More workers and ranks than a node has CPUs, on a real Slurm: they run, and results say so."""

import csv
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.conftest import Slurm, a_slurm
from tests.integration.test_slurm_executor import REPOSITORY, Sweep

pytestmark = [pytest.mark.slurm, pytest.mark.xdist_group("slurm_work")]

WORKERS = 16
CPUS = 2


@pytest.fixture
def small_nodes() -> Iterator[Slurm]:
    """A testbed of one node that claims two CPUs, and whose jobs may use no more."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(before)[:CPUS])  # the testbed binds no jobs: they inherit it
    try:
        with a_slurm("--nodes", "1", "--cpus", str(CPUS), "--no-accounting") as testbed:
            yield testbed
    finally:
        os.sched_setaffinity(0, before)


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < CPUS, reason="needs two CPUs")
def test_sixteen_workers_and_four_ranks_run_on_two_cpus(small_nodes: Slurm, tmp_path: Path) -> None:
    sweep = Sweep(small_nodes, tmp_path)
    sweep.study(
        repeats=1,
        image_size=32,
        synthetic={"images_per_class": 5},
        preprocess=[
            {"backend": "sequential"},
            {"backend": "multiprocessing", "workers": WORKERS, "oversubscribe": True},
            {"backend": "multiprocessing", "workers": WORKERS + 1},
        ],
        train=[
            {"strategy": "ddp", "device": "cpu", "world_size": 4, "cpus_per_worker": 0.5,
             "model": "weather_net", "epochs": 1, "batch_size": 4, "warmup_steps": 0},
        ],
    )  # fmt: skip
    sweep.site()
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nexport PYTHONPATH={REPOSITORY}\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)

    done = small_nodes.run(sweep.argv("--wait"), timeout_s=500, cwd=REPOSITORY)
    assert done.returncode == 0, done.stderr
    assert "oversubscribe: 1 run would need more CPUs than a node has" in done.stderr

    record = sweep.record(f"*-w{WORKERS}-r0-*")
    asked = record["spec"]["resources"]
    assert (record["status"], asked["cpus_per_node"], asked["oversubscribe"]) == ("ok", CPUS, True)
    assert len(record["actual"]["ranks"]) == WORKERS
    trained = sweep.record("train-ddp-cpu-w4-*")
    assert trained["spec"]["resources"]["cpus_per_node"] == CPUS
    assert (trained["status"], len(trained["actual"]["ranks"])) == ("ok", 4), trained["reason"]
    skipped = sweep.record(f"*-w{WORKERS + 1}-r0-*")
    assert skipped["reason"] == "asks for 17 CPUs on a node; partition cpu has at most 2"

    words = f"{WORKERS} workers on {CPUS} CPUs, as asked for"
    row = next(r for r in table(sweep.paths.root / "rows.csv") if f"-w{WORKERS}-" in r["run_id"])
    assert (row["cpus"], row["oversubscribed"], row["oversubscribe"]) == (
        "2", "as asked for", "True",
    )  # fmt: skip
    rows = table(sweep.paths.root / "tables" / "preprocess.csv")
    assert words in next(r["note"] for r in rows if r["workers"] == str(WORKERS))
    audit = table(sweep.paths.root / "audit.csv")
    found = {f["source"]: f for f in audit if f["code"] == "oversubscribed"}
    assert {f["severity"] for f in found.values()} == {"info"}
    assert words in found[record["run_id"]]["message"]
    assert "4 ranks on 2 CPUs, as asked for" in found[trained["run_id"]]["message"]
    assert not [f for f in audit if f["code"] == "affinity_mismatch"]

    again = small_nodes.run(sweep.argv("--dry-run", "--json"), timeout_s=60, cwd=REPOSITORY)
    runs = json.loads(again.stdout.splitlines()[-1])["runs"]
    assert [r["run_id"] for r in runs] == [skipped["run_id"]], "nothing is measured twice"
