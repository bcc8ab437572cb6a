"""Array operations as a stage of a study, from its file to its tables."""

from pathlib import Path

import pytest

from tests.dataset.nasty import plain_folder
from tests.sweep.test_sweep_verb import records, sweep, table
from weather_hpc.runs.paths import StudyPaths

STUDY = """\
name: arrays
repeats: 1
image_size: 64
array:
  - operation: [mean-std, histogram]
    engine: [numpy, opencv]
    chunk_images: 5
    workers: [1, 2]
  - operation: mean-std
    engine: [numpy, dask-array]
    chunk_images: 5
    array_input: disk
"""

WEAK = """\
name: weak-arrays
repeats: 1
image_size: 64
scaling: weak
images_per_worker: 8
array:
  - operation: features
    engine: numpy
    chunk_images: 4
    workers: [1, 2]
"""


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return plain_folder(tmp_path / "images", per_class=8)


def run(study: str, data: Path, folder: Path) -> StudyPaths:
    (folder / "study.yaml").write_text(study)
    paths = StudyPaths(folder / "results")
    done = sweep("--study", folder / "study.yaml", "--data", data, "--results", paths.root)
    assert done.returncode == 0, done.stderr
    return paths


def test_from_study_to_table(data: Path, tmp_path: Path) -> None:
    paths = run(STUDY, data, tmp_path)
    rows = table(paths.root / "tables" / "array.csv")
    found = {(r["operation"], r["array_input"], r["engine"], r["workers"]): r for r in rows}
    assert len(found) == len(rows) == 10
    assert all(row["images"] == "24" and row["time_s"] for row in rows)
    for key, row in found.items():
        first = found[key[0], key[1], "numpy", "1"]
        where = f", array_input {key[1]}" if key[0] == "mean-std" else ""  # histogram has one input
        assert row["baseline"] == f"numpy, 1 worker{where}"
        expected = float(first["time_s"]) / float(row["time_s"])
        assert float(row["speedup"]) == pytest.approx(expected, rel=1e-4)
    series = {row["series"] for row in table(paths.root / "tables" / "laws.csv")}
    assert "histogram, opencv, array_input memory" in series
    works = {row["work"] for row in table(paths.root / "tables" / "advice.csv")}
    assert {"mean-std, array_input disk", "histogram, array_input memory"} <= works
    assert (paths.root / "plots" / "array_time.svg").exists()
    checksums = {record["quality"]["store_checksum"] for record in records(paths)}
    assert len(checksums) == 1

    before = {path: path.stat().st_mtime_ns for path in paths.runs.glob("*/record.json")}
    run(STUDY, data, tmp_path)
    assert before == {path: path.stat().st_mtime_ns for path in before}


def test_weak_scaling_has_as_many_images_for_each_worker(data: Path, tmp_path: Path) -> None:
    paths = run(WEAK, data, tmp_path)
    one, two = table(paths.root / "tables" / "array.csv")
    assert [one["workers"], one["images"]] == ["1", "8"]
    assert [two["workers"], two["images"]] == ["2", "16"]
    expected = float(two["images_per_s"]) / float(one["images_per_s"])
    assert float(two["speedup"]) == pytest.approx(expected, rel=1e-4)
