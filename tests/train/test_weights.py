"""A run that begins with weights from a file: its record, going on with it, predicting by it."""

from pathlib import Path

import pytest
import torch

from tests.train.conftest import Train
from weather_hpc import cli
from weather_hpc.launch.command import stage_command
from weather_hpc.models.registry import build_model
from weather_hpc.predict.network import load_network
from weather_hpc.runs.paths import StudyPaths
from weather_hpc.study.config import StudyConfig
from weather_hpc.study.plan import make_plan
from weather_hpc.train.__main__ import main as train_main
from weather_hpc.train.checkpoint import load_checkpoint

NETWORK = "squeezenet1_1"


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    torch.manual_seed(5)
    path = tmp_path / "weights.pth"
    torch.save(build_model(NETWORK, 1000, 32).state_dict(), path)
    return path


def test_a_run_begins_with_them_and_needs_them_no_more(
    train: Train, small_store: Path, weights: Path, tmp_path: Path
) -> None:
    words = ["--store", small_store, "--model", NETWORK, "--weights", weights]
    # a step so small that it changes no weight by as much as two draws differ
    words += ["--epochs", 1, "--warmup-steps", 0, "--lr", 1e-9]
    record = train(*words, run_dir=tmp_path / "run")
    assert record["spec"]["task"]["weights"] == str(weights)
    key = "features.0.weight"
    begun = torch.load(weights)[key]
    path = tmp_path / "run" / "checkpoint.pt"
    assert torch.allclose(load_checkpoint(path).network[key], begun, atol=1e-6)

    weights.unlink()
    (tmp_path / "run" / "record.json").unlink()
    assert train(*words, "--resume", run_dir=tmp_path / "run")["status"] == "ok"
    network = load_network(path, "cpu", 1)
    assert {name for name, _ in network.module.named_buffers()} == {"input_scale", "input_shift"}


def test_a_run_without_them_is_another_run(
    train: Train,
    small_store: Path,
    weights: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = ["--store", small_store, "--model", NETWORK, "--epochs", 1]
    run = tmp_path / "run"
    train(*words, "--weights", weights, run_dir=run)
    (run / "record.json").unlink()
    argv = [*map(str, words), "--run-dir", str(run), "--resume"]
    assert cli.guarded("train", train_main, argv) == cli.EXIT_USAGE
    assert f"weights {weights} there, None here" in capsys.readouterr().err


def test_a_missing_file_is_one_line(
    small_store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ["--store", str(small_store), "--model", NETWORK, "--weights", "none.pth"]
    assert cli.guarded("train", train_main, argv) == cli.EXIT_USAGE
    assert capsys.readouterr().err.rstrip().endswith("none.pth: no such file")


@pytest.mark.parametrize("named", ["w.pth", "cached"])
def test_a_study_hands_them_on(named: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As an absolute path: jobs start elsewhere."""
    monkeypatch.chdir(tmp_path)
    if named != "cached":
        Path(named).touch()
    grid = {"strategy": "single", "model": "resnet18", "weights": named}
    study = StudyConfig.model_validate({"name": "s", "repeats": 1, "train": [grid]})
    plan = make_plan(study, "/photos")
    words = stage_command(plan, plan.runs[0], StudyPaths(tmp_path), "python")
    assert words[words.index("--weights") + 1] == (
        named if named == "cached" else str(tmp_path / named)
    )
