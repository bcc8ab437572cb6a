"""One process on a CPU: learning, timing, the record."""

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.train.conftest import Train, events, losses, record_in
from weather_hpc.runs.epochs import read_epochs
from weather_hpc.runs.record import read_record
from weather_hpc.train.loop import Trainer


def test_the_loss_falls_and_the_record_says_so(
    train: Train, small_store: Path, tmp_path: Path
) -> None:
    options = ("--store", small_store, "--model", "tiny", "--batch-size", 8, "--epochs", 15)
    record = train(*options, "--lr", 0.005, run_dir=tmp_path)
    curve = losses(tmp_path)
    assert curve[-1] < 0.7 * curve[0]
    quality = record["quality"]
    assert quality["train_loss"] == curve[-1]
    assert quality["train_accuracy"] > 0.3
    assert 0 <= quality["test_accuracy"] <= 1
    assert record["counts"]["test_images"] + record["counts"]["images"] == 44


def test_the_record_is_consistent(train: Train, small_store: Path, tmp_path: Path) -> None:
    options = ("--store", small_store, "--model", "tiny", "--batch-size", 10, "--epochs", 3)
    train(*options, run_dir=tmp_path)
    record = read_record(tmp_path / "record.json")
    assert record.status == "ok"
    images = record.counts.images
    assert images is not None
    phases = record.phases
    assert phases.startup is not None
    assert phases.total is not None
    assert record.time_s is not None
    assert record.images_per_s == pytest.approx(3 * images / record.time_s)
    assert phases.data_wait is not None
    assert phases.compute == pytest.approx(record.time_s - phases.data_wait)
    assert phases.total > phases.startup + record.time_s
    assert None not in (phases.warmup, phases.evaluation, phases.checkpoint)
    assert phases.communication is None
    epochs = events(tmp_path, "epoch")
    assert [event["epoch"] for event in epochs] == [1, 2, 3]
    assert sum(event["time_s"] for event in epochs) == pytest.approx(record.time_s)
    assert sum(event["data_wait_s"] for event in epochs) == pytest.approx(phases.data_wait)
    assert record.counts.steps == 3 * -(-images // 10)
    (rank,) = record.actual.ranks
    assert (rank.rank, rank.device, rank.threads, rank.images) == (0, "cpu", 1, 3 * images)
    assert (record.actual.world_size, record.actual.nodes, record.actual.device) == (1, 1, "cpu")
    assert record.provenance.restarts == 0
    assert (record.usage.host_cpu_percent or 0.0) > 0.0
    assert (record.usage.device_use_percent, record.usage.energy_j) == (None, None)
    assert (tmp_path / "telemetry.csv").read_text().count("\n") >= 2


def test_warm_up_leaves_no_trace(train: Train, paper_store: Path, tmp_path: Path) -> None:
    """Not in weights, batch norm's statistics, the optimizer or the random streams."""
    options = ("--store", paper_store, "--batch-size", 16, "--epochs", 2, "--images", 24)
    records = {
        steps: train(*options, "--warmup-steps", steps, run_dir=tmp_path / str(steps))
        for steps in (0, 3)
    }
    assert losses(tmp_path / "0") == losses(tmp_path / "3")
    assert records[0]["quality"] == records[3]["quality"]
    assert records[0]["quality"]["parameters"] == 108_517


def test_warm_up_meets_every_size_of_step(
    train: Train, small_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The largest first, whose memory then serves the others."""
    sizes: list[int] = []
    learn = Trainer.optimizer_step

    def noting(self: Trainer, *arguments: Any) -> torch.Tensor:
        sizes.append(len(arguments[1]))
        return learn(self, *arguments)

    monkeypatch.setattr(Trainer, "optimizer_step", noting)
    options = ("--store", small_store, "--model", "tiny", "--batch-size", 8, "--images", 29)
    for steps, warmed_up in ((0, []), (1, [8, 7, 6]), (4, [8, 7, 6, 8])):
        sizes.clear()
        train(*options, "--epochs", 1, "--warmup-steps", steps, run_dir=tmp_path / str(steps))
        assert sizes == [*warmed_up, 8, 8, 7, 6]


def test_seeds_make_curves(train: Train, small_store: Path, tmp_path: Path) -> None:
    options = ("--store", small_store, "--model", "tiny", "--epochs", 2)
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        train(*options, "--seed", seed, run_dir=tmp_path / name)
    assert losses(tmp_path / "a") == losses(tmp_path / "b") != losses(tmp_path / "c")


def test_evaluation_on_the_way_changes_nothing(
    train: Train, small_store: Path, tmp_path: Path
) -> None:
    options = ("--store", small_store, "--model", "tiny", "--epochs", 3)
    train(*options, run_dir=tmp_path / "end")
    train(*options, "--evaluate-every", 1, run_dir=tmp_path / "each")
    assert losses(tmp_path / "end") == losses(tmp_path / "each")
    curves = [read_epochs(tmp_path / name / "events.jsonl") for name in ("end", "each")]
    assert [epoch.test_accuracy is None for epoch in curves[0]] == [True, True, False]
    assert curves[0][-1].test_loss == record_in(tmp_path / "end")["quality"]["test_loss"]
    accuracies = [epoch.test_accuracy for epoch in curves[1]]
    assert None not in accuracies
    assert accuracies[-1] == record_in(tmp_path / "end")["quality"]["test_accuracy"]


def test_a_loss_that_is_no_number_fails_the_run(
    train: Train, small_store: Path, tmp_path: Path
) -> None:
    options = ("--store", small_store, "--model", "tiny", "--epochs", 3, "--lr", 1e37)
    record = train(*options, run_dir=tmp_path, code=1)
    assert record["status"] == "failed"
    assert record["reason"].startswith("loss is ")
    assert "at epoch 1" in record["reason"]
    assert record["time_s"] is None
    assert not (tmp_path / "checkpoint.pt").exists()


def test_a_network_of_torchvision_trains(train: Train, small_store: Path, tmp_path: Path) -> None:
    options = ("--store", small_store, "--model", "resnet18", "--epochs", 1, "--images", 8)
    assert train(*options, "--batch-size", 4, run_dir=tmp_path)["quality"]["train_loss"] > 0
