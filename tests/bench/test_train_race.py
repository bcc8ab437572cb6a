"""Who races in ``bench train``, and that all come to the same loss; never how fast."""

import json
from pathlib import Path

import pytest
import torch

from tests.dataset.nasty import plain_folder
from weather_hpc import cli
from weather_hpc.bench import train_work
from weather_hpc.bench.__main__ import main
from weather_hpc.bench.child import MEASURED
from weather_hpc.bench.contestant import Contestant, Outcome
from weather_hpc.bench.harness import Result, Standing
from weather_hpc.bench.process import Measurement
from weather_hpc.bench.train import make_store
from weather_hpc.bench.train_contestants import GOALS, NAIVE, PORTABLE, SameLoss, contestants
from weather_hpc.bench.train_gpu import WAYS, Way, fastest, goals, whole_training
from weather_hpc.bench.train_gpu import contestants as gpu_contestants
from weather_hpc.errors import FailedError
from weather_hpc.models.fused_build import SWITCH
from weather_hpc.preprocess.__main__ import main as preprocess
from weather_hpc.records.clock import Clock

IMAGES, BATCH = 8, 4


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("race")
    images = plain_folder(folder / "images")
    assert preprocess(["--data", str(images), "--out", str(folder / "store"), "--size", "256"]) == 0
    return str(folder / "store")


def outcome(tmp_path: Path, loss: float) -> Outcome:
    return Outcome(tmp_path, tmp_path / "stdout", {"loss": loss})


def test_another_loss_is_out_of_the_race(tmp_path: Path) -> None:
    check = SameLoss()
    check(outcome(tmp_path, 2.0))
    check(outcome(tmp_path, 2.001))
    for wrong in (2.01, 1.99, float("nan")):
        with pytest.raises(FailedError, match="came to a loss of"):
            check(outcome(tmp_path, wrong))


def test_every_goal_is_between_contestants(tmp_path: Path) -> None:
    names = {c.name for c in contestants(tmp_path, IMAGES, BATCH)}
    for goal in GOALS:
        assert {goal.faster, goal.slower} <= names


def test_all_come_to_the_same_loss(store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    losses = {}
    for name in ("naive", "fabric", "ours"):
        if name == "fabric":
            pytest.importorskip("lightning_fabric")
        clock = Clock()
        facts = getattr(train_work, name)(clock, store=store, images=IMAGES, batch=BATCH)
        assert clock.seconds[MEASURED] > 0
        assert facts["cpu_s"] > 0
        losses[name] = facts["loss"]
    monkeypatch.setenv(SWITCH, "off")
    portable = train_work.ours(Clock(), store=store, images=IMAGES, batch=BATCH)
    assert portable["fused"] == "off"
    for loss in losses.values():
        assert loss == pytest.approx(portable["loss"], rel=1e-4)


def test_a_store_of_enough_images(tmp_path: Path) -> None:
    from weather_hpc.dataset.store import Store

    assert len(Store.open(make_store(tmp_path, 50, size=16)).rows("train")) >= 50


def test_too_few_images(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.guarded("bench", main, ["train", "--images", "8"]) == 2
    assert "--images 8" in capsys.readouterr().err


def test_a_whole_race(
    store: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def chosen(_: Path, images: int, batch: int, epochs: int) -> list[Contestant]:
        everybody = contestants(Path(store), images, batch, epochs)
        return [c for c in everybody if c.name in (NAIVE, PORTABLE)]

    def made(_: Path, __: int) -> Path:
        return Path(store)

    monkeypatch.setattr("weather_hpc.bench.train.make_store", made)
    monkeypatch.setattr("weather_hpc.bench.train_contestants.contestants", chosen)
    monkeypatch.setattr("weather_hpc.bench.train_contestants.GOALS", GOALS[:1])
    assert (
        main(
            [
                "train",
                "--images",
                str(IMAGES),
                "--batch-size",
                str(BATCH),
                "--rounds",
                "1",
                "--json",
            ]
        )
        == 0
    )
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert [c["name"] for c in told["contestants"]] == [NAIVE, PORTABLE]
    assert all(c["reason"] is None for c in told["contestants"])
    assert told["goals"][0]["ratio"] > 0


def test_without_a_gpu_its_race_says_why(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert cli.guarded("bench", main, ["train", "--device", "cuda"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"--device cuda: torch {torch.__version__} is " in line


def test_ways_are_named_once_and_race_beside_naive_code(tmp_path: Path) -> None:
    names = [c.name for c in gpu_contestants(tmp_path, IMAGES, BATCH, 2)]
    assert len(set(names)) == len(names) == len(WAYS) + 2
    assert names[0] == goals(WAYS[0])[0].slower == NAIVE


def test_several_epochs_in_another_way_come_to_the_same_loss(store: str) -> None:
    """What a GPU is asked to do, as far as a CPU can do it."""
    asked = {"store": store, "images": IMAGES, "batch": BATCH, "epochs": 3}
    plain = train_work.naive(Clock(), **asked)
    way = {"precision": "bf16", "memory_format": "channels-last", "execution": "eager"}
    told = train_work.ours(Clock(), way=way, **asked)
    assert told["loss"] == pytest.approx(plain["loss"], rel=0.05)
    assert told["loss"] != plain["loss"]


def test_the_fastest_of_those_that_are_right_is_chosen() -> None:
    contestants = gpu_contestants(Path("store"), IMAGES, BATCH, 1)
    seconds = dict.fromkeys((c.name for c in contestants), 9.0)
    seconds |= {NAIVE: 0.1, WAYS[2].name: 1.0, WAYS[3].name: 2.0}
    standings = tuple(
        Standing(
            c,
            {0: Measurement(seconds[c.name], 1.0, 1.0, None, 0.0, {"cpu_s": 1.0})},
            "came to a loss of 9" if c.name == WAYS[2].name else None,
            (1.0,),
        )
        for c in contestants
    )
    assert fastest(Result("train", NAIVE, 1, standings, {})) == WAYS[3]
    assert fastest(Result("train", NAIVE, 1, standings[:2], {})) is None


def test_the_verb_is_not_taken_for_what_it_could_not_be(store: str) -> None:
    with pytest.raises(FailedError, match="skipped: asks for 1 CUDA GPUs"):
        whole_training(Path(store), IMAGES, BATCH, Way("bf16", "contiguous", "eager"), 1)
