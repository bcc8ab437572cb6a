"""Who races in ``bench train``, and that all come to the same loss; never how fast."""

import json
from pathlib import Path

import pytest
import torch

from tests.dataset.nasty import plain_folder
from weather_hpc import cli
from weather_hpc.bench import train_functions
from weather_hpc.bench.__main__ import main
from weather_hpc.bench.benchmark import Result, Standing
from weather_hpc.bench.measurement import Contestant, Measurement, Outcome
from weather_hpc.bench.timed_function import MEASURED
from weather_hpc.bench.train import make_store
from weather_hpc.bench.train_implementations import (
    CPU_GOALS,
    NAIVE,
    PORTABLE,
    WAYS,
    SameLoss,
    Way,
    cpu_contestants,
    fastest,
    gpu_contestants,
    gpu_goals,
    rank_counts,
    whole_training,
)
from weather_hpc.dataset.store import Store
from weather_hpc.errors import FailedError
from weather_hpc.models.fused_build import SWITCH
from weather_hpc.preprocess.__main__ import main as preprocess
from weather_hpc.runs.clock import Clock

IMAGES, BATCH = 8, 4


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("race")
    images = plain_folder(folder / "images")
    assert preprocess(["--data", str(images), "--out", str(folder / "store"), "--size", "256"]) == 0
    return str(folder / "store")


@pytest.fixture(scope="module")
def small_images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of at least 50 training images of 16 px, as the race makes its own."""
    return make_store(tmp_path_factory.mktemp("small"), 50, size=16)


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
    names = {c.name for c in cpu_contestants(tmp_path, IMAGES, BATCH)}
    for goal in CPU_GOALS:
        assert {goal.faster, goal.slower} <= names


def test_all_come_to_the_same_loss(store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    losses = {}
    for name in ("naive", "fabric", "ours"):
        if name == "fabric":
            pytest.importorskip("lightning_fabric")
        clock = Clock()
        facts = getattr(train_functions, name)(clock, store=store, images=IMAGES, batch=BATCH)
        assert clock.seconds[MEASURED] > 0
        assert facts["cpu_s"] > 0
        losses[name] = facts["loss"]
    monkeypatch.setenv(SWITCH, "off")
    portable = train_functions.ours(Clock(), store=store, images=IMAGES, batch=BATCH)
    assert portable["fused"] == "off"
    for loss in losses.values():
        assert loss == pytest.approx(portable["loss"], rel=1e-4)


def test_a_store_of_enough_images(small_images: Path) -> None:
    assert len(Store.open(small_images).rows("train")) >= 50


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--store", "{tmp}/none"], "none: no such store"),
        (["--store", "{small}", "--images", "8", "--batch-size", "4"],
         "--store {small}: its images have 16 px; 256 px are wanted"),
        (["--store", "{store}"], "--store {store}: has {there} training images; --images 128 asks"),
        (["--store", "{store}", "--images", "7", "--batch-size", "4"], "--images 7: at least 8"),
    ],
)  # fmt: skip
def test_a_given_store_that_will_not_do(
    words: list[str],
    said: str,
    store: str,
    small_images: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    there = len(Store.open(Path(store)).rows("train"))
    known = {"tmp": tmp_path, "store": store, "there": there, "small": small_images}
    argv = [word.format(**known) for word in words]
    assert cli.guarded("bench", main, ["train", *argv]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert said.format(**known) in line


def test_too_few_images(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.guarded("bench", main, ["train", "--images", "8"]) == 2
    assert "--images 8" in capsys.readouterr().err


def test_a_whole_race(
    store: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def chosen(path: Path, images: int, batch: int, epochs: int) -> list[Contestant]:
        everybody = cpu_contestants(path, images, batch, epochs)
        return [c for c in everybody if c.name in (NAIVE, PORTABLE)]

    monkeypatch.setattr("weather_hpc.bench.train_implementations.cpu_contestants", chosen)
    monkeypatch.setattr("weather_hpc.bench.train_implementations.CPU_GOALS", CPU_GOALS[:1])
    words = ["--store", store, "--images", str(IMAGES), "--batch-size", str(BATCH)]
    assert main(["train", *words, "--rounds", "1", "--json"]) == 0
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
    assert len(set(names)) == len(names) == len(WAYS) + 3
    assert names[0] == gpu_goals(WAYS[0])[0].slower == NAIVE


def test_several_epochs_in_another_way_come_to_the_same_loss(store: str) -> None:
    """What a GPU is asked to do, as far as a CPU can do it."""
    asked = {"store": store, "images": IMAGES, "batch": BATCH, "epochs": 3}
    plain = train_functions.naive(Clock(), **asked)
    way = {"precision": "bf16", "memory_format": "channels-last", "execution": "eager"}
    told = train_functions.ours(Clock(), way=way, **asked)
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


def test_ranks_race_on_one_to_all_gpus() -> None:
    assert [rank_counts(gpus) for gpus in (1, 2, 3, 4, 6, 8)] == [
        [1], [1, 2], [1, 2, 3], [1, 2, 4], [1, 2, 4, 6], [1, 2, 4, 8],
    ]  # fmt: skip
    everybody = {c.name: c for c in gpu_contestants(Path("store"), 64, BATCH, 2, gpus=4)}
    assert [name for name in everybody if "ddp" in name] == [
        "ours, ddp, 1 rank", "ours, ddp, 2 ranks", "ours, ddp, 4 ranks",
    ]  # fmt: skip
    _, asked = everybody["ours, ddp, 4 ranks"].command[-2:]
    assert json.loads(asked) == {
        "store": "store", "images": 64, "batch": BATCH, "device": "cuda", "epochs": 2, "count": 4,
    }  # fmt: skip


def test_ranks_that_found_no_gpu_are_not_measured(
    store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FailedError, match="skipped: asks for 1 CUDA GPUs"):
        train_functions.ranks(Clock(), store, IMAGES, BATCH, epochs=1, count=1, device="cuda")
