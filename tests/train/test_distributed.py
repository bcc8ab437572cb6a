"""Two processes over gloo: the same training as one, whatever the strategy."""

import os
from pathlib import Path

import pytest

from tests.train.conftest import Train, events, losses, record_in
from weather_hpc.models.fused_build import SWITCH

OPTIONS = ("--model", "tiny", "--device", "cpu", "--epochs", 3, "--batch-size", 10)


@pytest.fixture
def alone(train: Train, small_store: Path, tmp_path: Path) -> Path:
    """A single process's run."""
    train(*OPTIONS, "--store", small_store, run_dir=tmp_path / "alone")
    return tmp_path / "alone"


@pytest.mark.parametrize("strategy", ["ddp", "model"])
def test_the_loss_curve_is_that_of_one_process(
    strategy: str, alone: Path, torchrun: Train, small_store: Path, tmp_path: Path
) -> None:
    """The epoch's last two batches are odd on purpose: shares and microbatches are uneven."""
    run_dir = tmp_path / strategy
    options = ("--store", small_store, "--strategy", strategy, "--batch-mode", "global")
    record = torchrun(*OPTIONS, *options, run_dir=run_dir)
    assert losses(run_dir) == pytest.approx(losses(alone), rel=1e-4)
    quality, expected = record["quality"], record_in(alone)["quality"]
    assert quality["test_loss"] == pytest.approx(expected["test_loss"], rel=1e-4)
    for name in ("test_accuracy", "train_accuracy", "parameters", "store_checksum"):
        assert quality[name] == pytest.approx(expected[name])
    assert record["counts"] == record_in(alone)["counts"]
    actual = record["actual"]
    assert (actual["world_size"], actual["nodes"], actual["device"]) == (2, 1, "cpu")
    assert [rank["rank"] for rank in actual["ranks"]] == [0, 1]
    assert len({rank["pid"] for rank in actual["ranks"]}) == 2
    assert os.getpid() not in {rank["pid"] for rank in actual["ranks"]}
    images = 3 * record["counts"]["images"]
    handled = [rank["images"] for rank in actual["ranks"]]
    # under ddp ranks share the images; under model each has its stage's work for all of them
    assert (sum(handled) == images) if strategy == "ddp" else (handled == [images, images])
    assert [event["epoch"] for event in events(run_dir, "epoch")] == [1, 2, 3]


def test_the_strong_recipe_with_synchronised_batch_norm(
    train: Train, torchrun: Train, small_store: Path, tmp_path: Path
) -> None:
    """Augmentation, smoothed labels, schedule, average, batch norm, dropout: as in one process."""
    options = (*OPTIONS, "--model", "tiny_norm", "--store", small_store, "--recipe", "strong")
    alone, spread, local = (tmp_path / name for name in ("alone", "spread", "local"))
    expected = train(*options, run_dir=alone)["quality"]
    ddp = (*options, "--strategy", "ddp", "--batch-mode", "global")
    quality = torchrun(*ddp, "--batch-norm", "sync", run_dir=spread)["quality"]
    assert losses(spread) == pytest.approx(losses(alone), rel=1e-4)
    for name in ("test_loss", "test_accuracy", "train_accuracy"):
        # Muon makes weak directions as strong as others, and with them what was rounded off
        assert quality[name] == pytest.approx(expected[name], rel=1e-3)
    torchrun(*ddp, run_dir=local)
    assert losses(local) != pytest.approx(losses(alone), rel=1e-4), "the test sees a difference"


@pytest.mark.parametrize("strategy", ["ddp", "model"])
def test_one_rank_needs_no_torchrun(
    strategy: str, alone: Path, train: Train, small_store: Path, tmp_path: Path
) -> None:
    options = ("--store", small_store, "--strategy", strategy)
    record = train(*OPTIONS, *options, run_dir=tmp_path / strategy)
    assert losses(tmp_path / strategy) == pytest.approx(losses(alone), rel=1e-4)
    assert record["quality"]["test_loss"] == pytest.approx(
        record_in(alone)["quality"]["test_loss"], rel=1e-4
    )


def test_the_papers_network_in_stages(torchrun: Train, paper_store: Path, tmp_path: Path) -> None:
    options = ("--store", paper_store, "--strategy", "model", "--batch-size", 12, "--images", 24)
    record = torchrun(*options, "--epochs", 2, run_dir=tmp_path)
    assert record["quality"]["parameters"] == 108_517
    assert losses(tmp_path)[1] < losses(tmp_path)[0]


def test_ranks_of_fused_and_of_separate_layers_come_to_the_same_losses(
    torchrun: Train, paper_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the second epoch on a rank uses what the other has computed; shares are uneven."""
    options = ("--store", paper_store, "--strategy", "ddp", "--batch-size", 7, "--images", 22)
    curves = []
    for fused in ("on", "off"):
        monkeypatch.setenv(SWITCH, fused)
        record = torchrun(*options, "--epochs", 3, run_dir=tmp_path / fused)
        assert record["provenance"]["environment"]["fused_layers"] == fused
        curves.append(losses(tmp_path / fused))
    assert curves[0] == pytest.approx(curves[1], rel=1e-3)
