"""Images held apart: which they are, and what predicting knows from them."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.train.conftest import Train, packed
from weather_hpc import cli
from weather_hpc.dataset.store import Store
from weather_hpc.predict.__main__ import main as predict_main
from weather_hpc.runs.predictions import PredictionSummary
from weather_hpc.study.tasks import TrainTask
from weather_hpc.train.calibration import fit_temperature, log_loss, tempered
from weather_hpc.train.checkpoint import load_checkpoint
from weather_hpc.train.likeness import Likeness, appearance
from weather_hpc.train.loader import split_training_rows

CLASSES = ("dark", "light")
PER_CLASS = 70


def smooth(generator: np.random.Generator, light: bool) -> np.ndarray:
    """A picture of 32 px that gets a little lighter from left to right; light ones are yellow."""
    start, rise = generator.uniform(150, 180) if light else generator.uniform(50, 80), 40
    row = np.linspace(start, start + rise, 32)[None, :, None] + generator.normal(0, 3, (32, 32, 3))
    return (row * (1, 1, 0.4 if light else 1)).clip(0, 255).astype(np.uint8)


@pytest.fixture(scope="session")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("calibration") / "photographs"
    generator = np.random.default_rng(0)
    for name in CLASSES:
        (folder / name).mkdir(parents=True)
        for number in range(PER_CLASS):
            picture = Image.fromarray(smooth(generator, name == "light"))
            picture.save(folder / name / f"{number:02}.png")
    twice = (folder / "dark" / "00.png").read_bytes()
    (folder / "dark" / "twice.png").write_bytes(twice)
    return folder


@pytest.fixture(scope="session")
def store(photographs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return packed(photographs, tmp_path_factory.mktemp("calibration") / "store", 32)


def task(share: float, **more: object) -> TrainTask:
    values = {"strategy": "single", "device": "cpu", "world_size": 1, "batch_size": 8, "epochs": 1}
    return TrainTask.model_validate(values | {"held_apart": share, **more})


def test_images_held_apart_are_of_all_classes_and_never_of_the_test(store: Path) -> None:
    opened = Store.open(store)
    rows, apart = split_training_rows(opened, task(0.4))
    assert sorted([*rows, *apart]) == list(opened.rows("train"))
    assert len(apart) == round(0.4 * len(opened.rows("train")))
    dark, light = np.bincount(opened.labels[apart])
    assert abs(dark - light) <= 1
    twice = [int(i["row"]) for i in opened.items if i["path"] in ("dark/00.png", "dark/twice.png")]
    for seed in range(5):
        other = split_training_rows(opened, task(0.4, seed=seed))[1]
        assert not set(twice) & set(other), "its copy would train"
        assert not np.array_equal(other, apart) or seed == 0
    rows, apart = split_training_rows(opened, task(0.1))
    assert (len(rows), len(apart)) == (len(opened.rows("train")), 0), "too few to say anything"


def test_a_temperature_undoes_what_it_did() -> None:
    generator = np.random.default_rng(1)
    logits = generator.normal(0, 2, (4000, 3))
    right = tempered(np.exp(logits) / np.exp(logits).sum(1, keepdims=True), 1.0)
    labels = np.array([generator.choice(3, p=row) for row in right])
    for wrong in (0.5, 2.0):
        shares = tempered(right, wrong)
        assert shares.sum(1) == pytest.approx(1)
        assert (shares.argmax(1) == right.argmax(1)).all()
        found = fit_temperature(shares, labels)
        assert found == pytest.approx(1 / wrong, rel=0.1)
        assert log_loss(tempered(shares, found), labels) < log_loss(shares, labels)
    few = tempered(right, 2.0)[:40], right[:40].argmax(1)
    assert 0.15 < fit_temperature(*few) < 0.5, "all correct, but 40 images do not make it certain"


def test_the_share_of_false_marks_is_as_stated() -> None:
    generator = torch.Generator().manual_seed(0)

    def draw(count: int) -> tuple[torch.Tensor, torch.Tensor]:
        features = torch.randn(count, 16, generator=generator)
        return torch.nn.functional.normalize(features), torch.randn(count, 15, generator=generator)

    likeness = Likeness.of(draw(500), draw(1999))
    chances = likeness.chance(*draw(4000))
    assert chances.min() == pytest.approx(2 / 2000)
    for share in (0.05, 0.2):
        assert 0.8 * share < (chances <= share).mean() < 1.1 * share
    features, looks = draw(10)
    assert (likeness.chance(features, looks + 20) <= 0.001).all()


def test_noise_text_and_flat_areas_look_different() -> None:
    generator = np.random.default_rng(0)
    smoothed = torch.from_numpy(smooth(generator, light=True))
    noise = torch.from_numpy(generator.integers(0, 256, (32, 32, 3), dtype=np.uint8))
    photo, noisy, flat = appearance(torch.stack([smoothed, noise, torch.full_like(noise, 9)]))
    assert photo.shape == (15,)
    assert flat[6] == 1
    assert photo[6] < 0.5
    assert noisy[7] > photo[7] + 1


def test_training_calibrates_and_predicting_tells(
    train: Train, store: Path, photographs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    words = ["--store", store, "--model", "weather_net", "--epochs", 2, "--warmup-steps", 0]
    words += ["--device", "cpu", "--held-apart", 0.4, "--recipe", "strong"]
    record = train(*words, run_dir=run)
    rows, apart = split_training_rows(Store.open(store), task(0.4))
    assert record["counts"]["images"] == len(rows)
    calibration = load_checkpoint(run / "checkpoint.pt").calibration
    assert calibration["images"] == len(apart)
    assert len(calibration["likeness"]["features"]) == len(rows)
    report = json.loads((run / "evaluation.json").read_text())
    assert report["calibrated"]["temperature"] == pytest.approx(calibration["temperature"])
    assert report["calibrated"]["log_loss"] < report["log_loss"], "two epochs: it is not sure yet"

    noise = np.random.default_rng(2).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "noise.png")
    files = [str(tmp_path / "noise.png"), *map(str, sorted((photographs / "dark").glob("*"))[:24])]
    found = {}
    for more in ([], ["--tta"]):
        argv = [*files, "--checkpoint", str(run), "--out", str(tmp_path / "out"), *more]
        argv.append("--no-sheet")
        assert cli.guarded("predict", predict_main, [*argv, "--json"]) == 0
        summary = json.loads(capsys.readouterr().out.splitlines()[-1])
        name = "averaged_temperature" if more else "temperature"
        assert summary["temperature"] == pytest.approx(calibration[name])
        assert (summary["held_apart_images"], summary["averaged"]) == (len(apart), bool(more))
        with (tmp_path / "out" / "predictions.csv").open() as file:
            found[bool(more)] = list(csv.DictReader(file))
        marks = [row["unlike_training"] == "True" for row in found[bool(more)]]
        assert marks[0], "noise"
        assert sum(marks[1:]) < 0.2 * len(marks)
        assert summary["unlike_images"] == sum(marks)
    for row in found[False]:
        own = float(row["uncalibrated_probability"])
        both = tempered(np.array([[own, 1 - own]]), calibration["temperature"])
        assert float(row["probability"]) == pytest.approx(both[0, 0], abs=1e-5)
    assert [row["unlike_training"] for row in found[True]] == [
        row["unlike_training"] for row in found[False]
    ]
    assert [row["probability"] for row in found[True]] != [
        row["probability"] for row in found[False]
    ]

    argv = [files[0], "--checkpoint", str(run), "--out", str(tmp_path / "out")]
    assert cli.guarded("predict", predict_main, argv) == 0
    said = capsys.readouterr().out
    assert f"(temperature {calibration['temperature']:.2f}, by {len(apart)} training images" in said
    assert "1 image unlike the training images" in said
    assert cli.guarded("predict", predict_main, [*argv, "--unlike", "0.001"]) == 2
    least = f"--unlike 0.001: with {len(apart)} images held apart it can be"
    assert least in capsys.readouterr().err


def test_a_network_without_images_held_apart_is_not_calibrated(
    train: Train, store: Path, photographs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--store", store, "--model", "weather_net", "--epochs", 1, "--device", "cpu"]
    train(*words, run_dir=tmp_path / "run")
    image = str(photographs / "dark" / "00.png")
    argv = [image, "--checkpoint", str(tmp_path / "run"), "--out", str(tmp_path / "out")]
    assert cli.guarded("predict", predict_main, argv) == 0
    assert "not calibrated" in capsys.readouterr().out
    summary = PredictionSummary.model_validate_json((tmp_path / "out/summary.json").read_text())
    assert (summary.temperature, summary.unlike_images) == (None, None)

    state = torch.load(tmp_path / "run/checkpoint.pt", weights_only=True)
    del state["calibration"]
    torch.save(state | {"version": 5}, tmp_path / "run/checkpoint.pt")
    assert cli.guarded("predict", predict_main, argv) == 0, "one of an earlier version"
