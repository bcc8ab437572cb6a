"""When a training run looks at its nodes' GPUs, and who does."""

import csv
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.train.conftest import Train, events
from weather_hpc.runs.gpus import GpuState
from weather_hpc.train import run
from weather_hpc.train.meter import Phase
from weather_hpc.train.ranks import TorchrunEnv


@pytest.mark.parametrize(("epochs", "before_the_middle"), [(1, 1), (4, 2), (5, 3)])
def test_at_the_start_and_once_half_of_the_epochs_have_ended(
    epochs: int,
    before_the_middle: int,
    train: Train,
    small_store: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looks: list[tuple[str, int, float]] = []

    def look(self: Any, moment: str) -> None:
        seconds = self.meter.seconds(Phase.TRAIN)
        begun = len(events(tmp_path, "epoch")) if seconds else -1
        looks.append((moment, begun + 1, seconds))

    monkeypatch.setattr(run.TrainingRun, "_record_gpus", look)
    options = ("--store", small_store, "--model", "tiny", "--device", "cpu", "--epochs", epochs)
    record = train(*options, run_dir=tmp_path)
    assert [look[:2] for look in looks] == [("start", 0), ("middle", before_the_middle)]
    if epochs == 1:
        assert looks[1][2] == record["time_s"], "no measured time comes after the look"


def gpu(moment: str, host: str) -> GpuState:
    return GpuState(moment, 1.0, host, 0, "a GPU", "580", 1.0, 2.0, 3.0, 4.0, 5.0, "P0")


@pytest.mark.parametrize(("rank", "local_rank"), [(0, 0), (1, 1), (2, 0)])
def test_one_rank_of_each_node_looks_and_rank_0_writes(
    rank: int, local_rank: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Four ranks on two nodes."""
    monkeypatch.setattr(run, "read_gpus", lambda moment: [gpu(moment, f"rank{rank}'s")])
    shared: list[list[dict[str, Any]]] = []

    def gather(own: list[dict[str, Any]]) -> list[list[dict[str, Any]]]:
        shared.append(own)
        return [own, [], [asdict(gpu("start", "another"))], []] if rank == 0 else []

    paths = SimpleNamespace(gpus=tmp_path / "nvidia-smi.csv") if rank == 0 else None
    this: Any = SimpleNamespace(
        strategy=SimpleNamespace(device=SimpleNamespace(type="cuda"), gather=gather),
        request=SimpleNamespace(env=TorchrunEnv(rank, 4, local_rank, 2, True)),
        writer=SimpleNamespace(paths=paths),
    )
    run.TrainingRun._record_gpus(this, "start")
    assert len(shared[0]) == (local_rank == 0)
    if rank == 0:
        with (tmp_path / "nvidia-smi.csv").open(newline="") as file:
            assert [line["host"] for line in csv.DictReader(file)] == ["rank0's", "another"]


def test_on_cpus_nobody_looks(
    train: Train, small_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def look(moment: str) -> list[GpuState]:
        raise AssertionError(moment)

    monkeypatch.setattr(run, "read_gpus", look)
    options = ("--store", small_store, "--model", "tiny", "--device", "cpu", "--epochs", 1)
    train(*options, run_dir=tmp_path)
    assert not (tmp_path / "nvidia-smi.csv").exists()
