"""The implementations of ``bench train``, and that all reach the same loss; never their speed."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.dataset.nasty import plain_folder
from weather_hpc import cli
from weather_hpc.bench import train_functions
from weather_hpc.bench.__main__ import main
from weather_hpc.bench.benchmark import BenchmarkResult, ImplementationResult
from weather_hpc.bench.measurement import Implementation, Measurement, Outcome
from weather_hpc.bench.timed_function import Timed
from weather_hpc.bench.train import make_store
from weather_hpc.bench.train_implementations import (
    CPU_GOALS,
    NAIVE,
    PORTABLE,
    VARIANTS,
    SameLoss,
    Variant,
    Workload,
    cpu_implementations,
    fastest,
    gpu_goals,
    gpu_implementations,
    rank_counts,
    whole_training,
)
from weather_hpc.dataset.store import Store
from weather_hpc.errors import FailedError
from weather_hpc.models.fused_build import SWITCH
from weather_hpc.preprocess.__main__ import main as preprocess

IMAGES, BATCH = 8, 4
WORK = Workload("store", IMAGES, BATCH)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("bench")
    images = plain_folder(folder / "images")
    assert preprocess(["--data", str(images), "--out", str(folder / "store"), "--size", "256"]) == 0
    return str(folder / "store")


@pytest.fixture(scope="module")
def small_images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of at least 50 training images of 16 px, made as by ``bench train``."""
    return make_store(tmp_path_factory.mktemp("small"), 50, size=16)


def outcome(tmp_path: Path, loss: float) -> Outcome:
    return Outcome(tmp_path, tmp_path / "stdout", {"loss": loss})


def test_another_loss_is_a_failure(tmp_path: Path) -> None:
    check = SameLoss()
    check(outcome(tmp_path, 2.0))
    check(outcome(tmp_path, 2.001))
    for wrong in (2.01, 1.99, float("nan")):
        with pytest.raises(FailedError, match="came to a loss of"):
            check(outcome(tmp_path, wrong))


def test_every_goal_is_between_implementations() -> None:
    names = {c.name for c in cpu_implementations(WORK)}
    for goal in CPU_GOALS:
        assert {goal.faster, goal.slower} <= names


def test_all_reach_the_same_loss(store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    losses = {}
    for name in ("naive", "fabric", "ours"):
        if name == "fabric":
            pytest.importorskip("lightning_fabric")
        timed: Timed = getattr(train_functions, name)(store=store, images=IMAGES, batch=BATCH)
        assert timed.seconds > 0
        assert timed.facts["cpu_s"] > 0
        losses[name] = timed.facts["loss"]
    monkeypatch.setenv(SWITCH, "off")
    portable = train_functions.ours(store=store, images=IMAGES, batch=BATCH).facts
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
         "--store {small}: its images have 16 px; expected 256 px"),
        (["--store", "{store}"], "--store {store}: has {there} training images; --images 128 asks"),
        (["--store", "{store}", "--images", "7", "--batch-size", "4"],
         "--images 7: must be at least 8"),
    ],
)  # fmt: skip
def test_a_store_that_cannot_be_used(
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


def test_a_whole_benchmark(
    store: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def selected(work: Workload) -> list[Implementation]:
        return [c for c in cpu_implementations(work) if c.name in (NAIVE, PORTABLE)]

    monkeypatch.setattr("weather_hpc.bench.train_implementations.cpu_implementations", selected)
    monkeypatch.setattr("weather_hpc.bench.train_implementations.CPU_GOALS", CPU_GOALS[:1])
    words = ["--store", store, "--images", str(IMAGES), "--batch-size", str(BATCH)]
    assert main(["train", *words, "--rounds", "1", "--json"]) == 0
    value = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert [c["name"] for c in value["contestants"]] == [NAIVE, PORTABLE]
    assert all(c["reason"] is None for c in value["contestants"])
    assert value["goals"][0]["ratio"] > 0


def test_without_a_gpu_the_message_says_why(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert cli.guarded("bench", main, ["train", "--device", "cuda"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"--device cuda: torch {torch.__version__} is " in line


def test_variants_have_different_names_and_follow_naive_code() -> None:
    names = [c.name for c in gpu_implementations(WORK)]
    assert len(set(names)) == len(names) == len(VARIANTS) + 3
    assert names[0] == gpu_goals(VARIANTS[0])[0].slower == NAIVE


def test_several_epochs_of_another_variant_reach_the_same_loss(store: str) -> None:
    """A workload of the GPU benchmark, as far as a CPU can compute it."""
    workload: dict[str, Any] = {"store": store, "images": IMAGES, "batch": BATCH, "epochs": 3}
    naive = train_functions.naive(**workload).facts["loss"]
    variant = {"precision": "bf16", "memory_format": "channels-last", "execution": "eager"}
    ours = train_functions.ours(variant=variant, **workload).facts["loss"]
    assert ours == pytest.approx(naive, rel=0.05)
    assert ours != naive


def test_the_fastest_variant_with_the_right_loss_is_chosen() -> None:
    available = gpu_implementations(WORK)
    seconds = dict.fromkeys((c.name for c in available), 9.0)
    seconds |= {NAIVE: 0.1, VARIANTS[2].name: 1.0, VARIANTS[3].name: 2.0}
    results = tuple(
        ImplementationResult(
            c,
            {0: Measurement(seconds[c.name], 1.0, 1.0, None, 0.0, {"cpu_s": 1.0})},
            "came to a loss of 9" if c.name == VARIANTS[2].name else None,
            (1.0,),
        )
        for c in available
    )
    assert fastest(BenchmarkResult("train", NAIVE, 1, results, {})) == VARIANTS[3]
    assert fastest(BenchmarkResult("train", NAIVE, 1, results[:2], {})) is None


def test_a_skipped_run_of_the_verb_is_not_measured(store: str) -> None:
    work = Workload(store, IMAGES, BATCH, device="cuda")
    with pytest.raises(FailedError, match="skipped: asks for 1 CUDA GPU"):
        whole_training(work, Variant("bf16", "contiguous", "eager"), 1)


def test_ranks_run_on_one_to_all_gpus() -> None:
    assert [rank_counts(gpus) for gpus in (1, 2, 3, 4, 6, 8)] == [
        [1], [1, 2], [1, 2, 3], [1, 2, 4], [1, 2, 4, 6], [1, 2, 4, 8],
    ]  # fmt: skip
    work = Workload("store", 64, BATCH, epochs=2, device="cuda")
    available = {c.name: c for c in gpu_implementations(work, gpus=4)}
    assert [name for name in available if "ddp" in name] == [
        "ours, ddp, 1 rank", "ours, ddp, 2 ranks", "ours, ddp, 4 ranks",
    ]  # fmt: skip
    arguments = available["ours, ddp, 4 ranks"].command[-1]
    assert json.loads(arguments) == {
        "store": "store", "images": 64, "batch": BATCH, "device": "cuda", "epochs": 2, "count": 4,
    }  # fmt: skip


def test_ranks_that_found_no_gpu_are_not_measured(
    store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FailedError, match="skipped: asks for 1 CUDA GPU"):
        train_functions.ranks(store, IMAGES, BATCH, epochs=1, count=1, device="cuda")
