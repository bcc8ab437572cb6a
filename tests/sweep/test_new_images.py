"""``--new-images``: real training, then predictions with its best network, to the report."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.sweep.test_sweep_verb import sweep, table
from weather_hpc.dataset.synthetic import make_synthetic
from weather_hpc.runs.paths import StudyPaths
from weather_hpc.runs.plan_file import load_plan

STUDY = """\
name: predicted
repeats: 1
image_size: 32
synthetic: {images_per_class: 4}
train:
  - strategy: single
    device: cpu
    model: weather_net
    epochs: 1
    batch_size: [4, 8]
    warmup_steps: 0
"""


def last_line(done: "subprocess.CompletedProcess[str]") -> dict[str, Any]:
    value: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return value


def runs(paths: StudyPaths, start: str) -> dict[str, dict[str, Any]]:
    """The records of the runs whose name begins with ``start``."""
    return {
        path.parent.name: json.loads(path.read_text())
        for path in paths.runs.glob(f"{start}*/record.json")
    }


def started(paths: StudyPaths) -> dict[str, str]:
    return {name: r["provenance"]["started_at"] for name, r in runs(paths, "").items()}


@pytest.fixture
def study(tmp_path: Path) -> tuple[Path, StudyPaths]:
    study = tmp_path / "study.yaml"
    study.write_text(STUDY)
    return study, StudyPaths(tmp_path / "results")


def test_from_training_to_predictions_in_the_report(
    study: tuple[Path, StudyPaths], tmp_path: Path
) -> None:
    file, paths = study
    new, other = tmp_path / "new", tmp_path / "other"
    make_synthetic(new, 1, seed=9)
    make_synthetic(other, 1, seed=10)
    (new / "snow").rename(new / "aurora")
    (new / "note.txt").write_text("no image")
    options = ("--study", file, "--results", paths.root)

    shown = sweep(*options, "--new-images", new, "--dry-run")
    assert "-m weather_hpc.predict" in shown.stdout
    assert f"--best-of {paths.root}" in shown.stdout
    assert not paths.root.exists()

    done = sweep(*options, "--new-images", new, "--json")
    assert done.returncode == 0, done.stderr
    assert last_line(done)["ran"] == {"done": 4}
    (run_id,) = runs(paths, "predict-")
    folder = paths.run(run_id)
    summary = json.loads(folder.prediction_summary.read_text())
    assert summary["images"] == 11
    assert [Path(skip["file"]).name for skip in summary["skipped"]] == ["note.txt"]
    assert summary["unknown_folders"] == {"aurora": 1}
    assert summary["accuracy"]["images"] == 10
    accuracies = {
        name: (record["quality"]["test_accuracy"], -record["time_s"])
        for name, record in runs(paths, "train-").items()
    }
    assert summary["run"] == max(accuracies, key=accuracies.__getitem__)
    assert len(table(paths.tables / "predictions.csv")) == 11
    assert 'src="data:image/png;base64,' in paths.report.read_text()
    assert table(paths.rejects) == []
    assert load_plan(paths).all[-1].run_id == run_id
    status = sweep("status", "--results", paths.root, "--json")
    assert last_line(status)["states"][run_id] == "done"

    # without the option nothing is repeated, and the report keeps it
    before = started(paths)
    again = sweep(*options)
    assert again.returncode == 0, again.stderr
    assert "0 of 4 runs to make" in again.stderr
    assert started(paths) == before
    assert len(table(paths.tables / "predictions.csv")) == 11

    # other images: only the predictions are made
    moved = sweep(*options, "--new-images", other)
    assert moved.returncode == 0, moved.stderr
    assert "1 of 4 runs to make" in moved.stderr
    assert before.items() <= started(paths).items()
    found = table(paths.tables / "predictions.csv")
    assert {Path(line["file"]).parents[1] for line in found} == {other}

    # once networks are gone, predicting fails in one line and the rest of the results stays
    assert sweep("clean", "--yes", "--results", paths.root).returncode == 0
    cleaned = sweep(*options, "--new-images", tmp_path / "results" / "data")
    assert cleaned.returncode == 1
    (reject,) = table(paths.rejects)
    assert "`sweep clean` removes them" in reject["reason"]
    assert len(table(paths.tables / "training.csv")) == 2
    assert "Predictions on new images" not in paths.report.read_text()


def test_training_that_failed_does_not_keep_others_from_predicting(
    study: tuple[Path, StudyPaths], tmp_path: Path
) -> None:
    file, paths = study
    new = tmp_path / "new"
    make_synthetic(new, 1, seed=9)
    python, site = tmp_path / "python", tmp_path / "site.yaml"
    broken = tmp_path / "broken"
    broken.write_text("*-b4-*|*-b8-*")
    # training whose run folder matches a pattern in the file fails
    python.write_text(
        f'#!/bin/bash\nshopt -s extglob\ncase "$*" in *weather_hpc.train*) '
        f'[[ "$*" == @($(cat {broken})) ]] && {{ echo "no luck" >&2; exit 3; }};; esac\n'
        f'exec {sys.executable} "$@"\n'
    )
    python.chmod(0o755)
    site.write_text(f"python: {python}\n")
    options = ("--study", file, "--site", site, "--results", paths.root, "--new-images", new)
    assert sweep(*options).returncode == 1
    (record,) = runs(paths, "predict-").values()
    assert record["status"] == "failed"
    assert record["reason"].endswith("no training run succeeded, so no network can predict")

    broken.write_text("*-b4-*")
    assert sweep(*options, "--only-failed").returncode == 1
    (record,) = runs(paths, "predict-").values()
    assert record["status"] == "ok"
    first = record["provenance"]["started_at"]

    # a network that is trained later is considered as well
    broken.write_text("none")
    assert sweep(*options, "--only-failed").returncode == 0
    (record,) = runs(paths, "predict-").values()
    assert record["provenance"]["started_at"] > first


@pytest.mark.parametrize(
    ("study", "new_images", "message"),
    [
        ("quick", "no/such/folder", "--new-images no/such/folder: no such folder"),
        ("quick", "empty", "empty: holds no files"),
        ("preprocess.yaml", "full", "study p trains no network"),
    ],
)
def test_what_cannot_be_predicted_is_refused_at_once(
    tmp_path: Path, study: str, new_images: str, message: str
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "a.jpg").touch()
    (tmp_path / "preprocess.yaml").write_text("name: p\npreprocess: [{backend: sequential}]\n")
    done = sweep("--study", study, "--new-images", new_images, "--dry-run", cwd=tmp_path)
    assert done.returncode == 2
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "results").exists()
