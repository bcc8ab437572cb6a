"""The paper's study on a real Slurm, end to end at small size, from planning to claims."""

import csv
import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.integration.conftest import Slurm
from weather_hpc.dataset.synthetic import make_synthetic
from weather_hpc.study.yaml_file import shipped

pytestmark = [pytest.mark.slurm, pytest.mark.xdist_group("slurm_work")]

REPOSITORY = Path(__file__).resolve().parents[2]
WORKERS = 2
"""Of a list of numbers of workers only this one is kept, else the first."""


def small(study: dict[str, Any]) -> dict[str, Any]:
    """``study`` with all its entries, but one repeat, few images, one epoch and smaller lists."""
    entries = {
        stage: [small_entry(entry) for entry in study[stage]]
        for stage in ("preprocess", "eda", "array", "train")
    }
    return study | entries | {
        "repeats": 1, "synthetic": {"images_per_class": 16}, "time_limit_min": 5,
    }  # fmt: skip


def small_entry(entry: dict[str, Any]) -> dict[str, Any]:
    """``entry`` with one size of few processes, one batch size and one operation."""
    values = dict(entry)
    if "cpus_per_worker" in values:
        values["workers"] = 2 * WORKERS
    if values.get("device") == "cpu":
        values |= {"threads_per_rank": 1, "world_size": min(values.get("world_size", 1), WORKERS)}
    for name in ("workers", "world_size", "batch_size", "operation"):
        if isinstance(values.get(name), list):
            values[name] = WORKERS if WORKERS in values[name] else values[name][0]
    if "strategy" in values:
        values["epochs"] = 1
    return values


@pytest.fixture(scope="module")
def results(slurm: Slurm, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results folder of the sweep, which has ended and been collected."""
    folder = tmp_path_factory.mktemp("paper")
    study = yaml.safe_load(shipped("studies", "paper").read_text())
    (folder / "small.yaml").write_text(json.dumps(small(study)))
    make_synthetic(folder / "new", 1, seed=7)
    done = slurm.run(
        [sys.executable, "-m", "weather_hpc.sweep", "--study", str(folder / "small.yaml"),
         "--site", "testbed", "--partition", "gpu", "--cpu-partition", "cpu", "--wait",
         "--new-images", str(folder / "new"), "--results", str(folder / "r")],
        timeout_s=400, cwd=REPOSITORY,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "runs with GPUs go to partition gpu, runs on CPUs go to partition cpu" in done.stderr
    return folder / "r"


def read(results: Path, table: str) -> list[dict[str, str]]:
    with (results / "tables" / f"{table}.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_every_stage_is_measured(results: Path) -> None:
    counts = Counter(
        (table, bool(row["time_s"]))
        for table in ("preprocess", "eda", "array", "training")
        for row in read(results, table)
    )
    # DataParallel does nothing without CUDA, so it is skipped with a reason
    skipped = [row for row in read(results, "training") if not row["time_s"]]
    assert [row["strategy"] for row in skipped] == ["dp"]
    assert "skipped: asks for 2 CUDA GPUs" in skipped[0]["note"]
    assert counts["preprocess", False] == counts["eda", False] == counts["array", False] == 0
    assert {row["backend"] for row in read(results, "eda")} == {
        "sequential", "multiprocessing", "dask",
    }  # fmt: skip
    assert {row["engine"] for row in read(results, "array")} == {"numpy", "dask-array", "opencv"}


def test_gpu_runs_that_ran_on_cpus_are_marked(results: Path) -> None:
    """The testbed's site allows it: its nodes have GPUs in name only."""
    notes = {
        (row["strategy"], row["nodes"], row["world_size"]): row["note"]
        for row in read(results, "training")
        if "requested cuda, ran on cpu" in row["note"]
    }
    assert {("single", "1", "1"), ("ddp", "1", "2"), ("ddp", "2", "4"), ("model", "1", "2")} <= (
        notes.keys()
    )
    # so nothing here is a time of a GPU, and no table of devices compares them
    assert read(results, "devices") == []


def test_more_processes_than_cores_are_asked_for(results: Path) -> None:
    """How they are marked depends on this machine's cores; test_oversubscription.py has it."""
    with (results / "rows.csv").open(newline="", encoding="utf-8") as file:
        (row,) = [row for row in csv.DictReader(file) if row["cpus_per_worker"]]
    asked = row["workers"], row["cpus_per_worker"], row["cpus_per_node"], row["status"]
    assert asked == ("4", "0.5", "2", "ok")


def test_new_images_are_classified_with_the_best_network(results: Path) -> None:
    predictions = read(results, "predictions")
    assert len(predictions) == 11
    report = (results / "report.html").read_text()
    assert "Predictions on new images" in report
    assert "data:image/png;base64," in report


def test_every_claim_has_an_answer_here_and_in_the_study(results: Path) -> None:
    claims = read(results, "claims")
    assert len(claims) >= 15
    answers = Counter(row["here"] for row in claims)
    assert set(answers) <= {"holds", "does not hold", "not shown", "not measured"}
    # GPUs are needed for some, and one repeat shows nothing for sure
    assert answers["not measured"] > 0
    assert answers["holds"] == 0
