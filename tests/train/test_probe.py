"""Recipe probe: the last layer alone is fitted, on packaged weights; stopped, resumed, refused."""

from pathlib import Path

import pytest
import torch

from tests.train.conftest import Train
from tests.train.test_calibration import photographs, store, task  # noqa: F401
from weather_hpc import cli
from weather_hpc.models.efficientnet_lite import translated
from weather_hpc.models.pretrained import packaged_file
from weather_hpc.study.config import StudyConfig
from weather_hpc.study.plan import make_plan
from weather_hpc.study.tasks import TrainTask
from weather_hpc.train.__main__ import main as train_main
from weather_hpc.train.checkpoint import load_checkpoint
from weather_hpc.train.probe import fit


def test_the_fitted_layer_is_the_one_of_least_loss() -> None:
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(600, 5, generator=generator) * 3 + 7
    truth = torch.tensor([[1.0, 0, 0, -1, 0], [0, 1, 0, 0, 0], [0, 0, 0, 0, 0]])
    logits = (features - 7) @ truth.T
    labels = torch.multinomial(logits.softmax(1), 1, generator=generator)[:, 0]
    weight, bias = fit(features, labels, 3, seed=0)
    assert (weight.shape, bias.shape) == ((3, 5), (3,))
    centred = weight - weight.mean(0)
    assert torch.allclose(centred, truth - truth.mean(0), atol=0.25)
    loss = torch.nn.functional.cross_entropy
    assert loss(features @ weight.T + bias, labels) < loss(logits, labels) + 0.005


@pytest.fixture
def words(store: Path) -> list[object]:  # noqa: F811
    return ["--store", store, "--device", "cpu", "--recipe", "probe", "--held-apart", 0.4]


def test_only_the_last_layer_changes(train: Train, words: list[object], tmp_path: Path) -> None:
    record = train(*words, run_dir=tmp_path / "run")
    assert record["quality"]["test_accuracy"] > 0.95
    assert record["spec"]["task"]["model"] == "efficientnet_lite0"
    assert (record["spec"]["task"]["epochs"], record["counts"]["epochs"]) == (1, 1)
    checkpoint = load_checkpoint(tmp_path / "run" / "checkpoint.pt")
    assert checkpoint.calibration["images"] == 45
    shipped = torch.load(packaged_file("efficientnet_lite0"), weights_only=True)
    for key, value in shipped.items():
        ours = checkpoint.network[translated(key)]
        if translated(key).startswith("linear."):
            assert ours.shape[0] == 2
        else:
            assert torch.equal(ours, value), key


def test_it_goes_on_where_it_stopped(
    train: Train, words: list[object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(*words, run_dir=tmp_path / "whole")
    monkeypatch.setattr("weather_hpc.train.stop.StopFile.seen", lambda self, step=0: step == 1)
    train(*words, run_dir=tmp_path / "parts", code=cli.EXIT_STOPPED)
    monkeypatch.undo()
    train(*words, "--resume", run_dir=tmp_path / "parts")
    whole, parts = (
        load_checkpoint(tmp_path / name / "checkpoint.pt") for name in ("whole", "parts")
    )
    assert all(torch.equal(value, parts.network[key]) for key, value in whole.network.items())
    assert (whole.loss, whole.accuracy) == (parts.loss, parts.accuracy)
    assert parts.ranks[0]["features"] == []


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["--epochs", "3"], "recipe probe has epochs 1, not 3"),
        (["--lr", "0.1"], "recipe probe has learning_rate none, not 0.1"),
        (["--model", "weather_net"], "packaged weights are for efficientnet_lite0, not for weat"),
        (["--model", "paper_cnn", "--weights", "w.pth"], "paper_cnn has no published weights"),
    ],
)
def test_what_it_would_ignore_is_refused(
    words: list[object], flags: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.guarded("train", train_main, [*map(str, words), *flags]) == cli.EXIT_USAGE
    error = capsys.readouterr().err
    assert told in error
    assert error.count("\n") == 1


def test_a_study_has_it_beside_other_recipes() -> None:
    grid = {"strategy": "single", "recipe": ["paper", "probe"]}
    study = StudyConfig.model_validate({"name": "s", "repeats": 1, "train": [grid]})
    paper, probe = (run.task for run in make_plan(study, "/photos").runs)
    assert isinstance(paper, TrainTask)
    assert isinstance(probe, TrainTask)
    assert (paper.model, paper.epochs, paper.held_apart) == ("paper_cnn", 20, 0)
    assert (probe.model, probe.epochs, probe.held_apart) == ("efficientnet_lite0", 1, 0.1)
    assert (paper.weights, probe.weights) == (None, "packaged")
