"""A study that explores, from end to end with real runs on this machine."""

import json
from pathlib import Path

import pytest

from tests.dataset.nasty import plain_folder
from tests.sweep.test_sweep_verb import records, sweep, table
from weather_hpc.runs.paths import StudyPaths

STUDY = """\
name: explore
repeats: 1
image_size: 64
eda:
  - backend: sequential
  - backend: [multiprocessing, dask]
  - backend: dask-jobqueue
    workers: 2
  - backend: multiprocessing
    workers: 1000
"""


def results_of(paths: StudyPaths) -> set[str]:
    """The checksums of all runs' results."""
    files = paths.runs.glob("*/events.jsonl")
    lines = [line for path in files for line in path.read_text().splitlines()]
    return {e["sha256"] for e in map(json.loads, lines) if e["event"] == "results"}


def test_exploration_is_measured_compared_and_resumed(tmp_path: Path) -> None:
    data = plain_folder(tmp_path / "images")
    study = tmp_path / "explore.yaml"
    study.write_text(STUDY)
    paths = StudyPaths(tmp_path / "results")
    options = ("--study", study, "--data", data, "--results", paths.root)
    done = sweep(*options)
    assert done.returncode == 0, done.stderr
    rows = {
        (row["backend"], row["workers"]): row for row in table(paths.root / "tables" / "eda.csv")
    }
    for backend in ("sequential", "multiprocessing", "dask"):
        row = rows[backend, "1"]
        assert float(row["time_s"]) > 0
        assert float(row["speedup"]) > 0
        assert row["baseline"] == "sequential, 1 worker"
        assert float(row["augmentation_s"]) > 0
    assert "needs Slurm" in rows["dask-jobqueue", "2"]["note"]
    assert "asks for 1000 CPUs" in rows["multiprocessing", "1000"]["note"]
    assert len(results_of(paths)) == 1
    assert "Parts of exploration (sequential, 1 worker): " in paths.report.read_text()
    plots = {path.name for path in (paths.root / "plots").glob("*.svg")}
    assert plots >= {"eda_time.svg", "eda_parts.svg", "phases_eda.svg"}
    # the runs leave no store of their own
    assert max(path.stat().st_size for path in paths.runs.rglob("*") if path.is_file()) < 100_000

    again = sweep(*options)
    assert again.returncode == 0, again.stderr
    assert "eda-sequential" not in again.stderr


def test_weak_scaling_gives_each_worker_the_same_images(tmp_path: Path) -> None:
    study = tmp_path / "weak.yaml"
    study.write_text(
        "name: weak\nrepeats: 1\nimage_size: 64\nscaling: weak\nimages_per_worker: 5\n"
        "eda:\n  - backend: sequential\n  - {backend: multiprocessing, workers: 2, "
        "oversubscribe: true}\n"
    )
    paths = StudyPaths(tmp_path / "results")
    data = plain_folder(tmp_path / "images")
    done = sweep("--study", study, "--data", data, "--results", paths.root)
    assert done.returncode == 0, done.stderr
    images = {
        record["spec"]["task"]["workers"]: record["counts"]["images"]
        for record in records(paths)
        if record["spec"]["stage"] == "eda"
    }
    assert images == {1: 5, 2: 10}
    rows = {row["workers"]: row for row in table(paths.root / "tables" / "eda.csv")}
    speeds = [float(rows[workers]["images_per_s"]) for workers in ("1", "2")]
    assert float(rows["2"]["speedup"]) == pytest.approx(speeds[1] / speeds[0], rel=1e-3)
