"""Training on a real GPU: what no simulated one can show. Left out where there is none.

Each run is a process of its own that sees the GPUs; what they are compared with on the CPU runs
in this one, which sees none.
"""

import csv
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.conftest import seeing_gpus
from tests.train.conftest import RUN_TINY, Train, losses, record_in
from weather_hpc.train.ranks import torchrun as torchrun_arguments

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.usefixtures("gpus"),
    pytest.mark.xdist_group("gpu"),  # one worker: they share a device
]

LITTLE_MEMORY = """
import runpy, sys, torch
_, total = torch.cuda.mem_get_info()
torch.cuda.set_per_process_memory_fraction(64e6 / total)
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""
"""Runs a script in a process that may have 64 MB of the GPU's memory."""


def on_gpu(
    *words: object, run_dir: Path, ranks: int = 0, before: tuple[str, ...] = (), code: int = 0
) -> dict[str, Any]:
    """The verb in a process that sees the GPUs, or in ``ranks`` under torchrun; the record."""
    launcher = torchrun_arguments(1, ranks)
    argv = [sys.executable, *(launcher if ranks else before), str(RUN_TINY), *map(str, words)]
    done = subprocess.run(
        [*argv, "--device", "cuda", "--run-dir", str(run_dir)],
        env=seeing_gpus() | {"OMP_NUM_THREADS": "1"},
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == code, done.stderr
    return record_in(run_dir)


def words(store: Path, model: str = "tiny", *more: object) -> list[object]:
    return ["--store", store, "--model", model, "--epochs", 2, "--batch-size", 8, *more]


def test_a_gpu_comes_to_the_cpu_s_losses(train: Train, small_store: Path, tmp_path: Path) -> None:
    train(*words(small_store), "--device", "cpu", run_dir=tmp_path / "cpu")
    record = on_gpu(*words(small_store), run_dir=tmp_path / "gpu")
    assert losses(tmp_path / "gpu") == pytest.approx(losses(tmp_path / "cpu"), rel=2e-3)
    assert record["actual"]["device"] == "cuda"
    assert record["actual"]["ranks"][0]["device"] == "cuda:0"
    assert record["usage"]["device_memory_peak_mb"] > 0


@pytest.mark.parametrize(
    ("way", "tolerance"),
    [
        (["--precision", "fp32"], 2e-3),
        (["--precision", "bf16", "--memory-format", "channels-last"], 3e-2),
    ],
)
def test_recorded_steps_come_to_the_same_losses(
    way: list[str], tolerance: float, small_store: Path, tmp_path: Path
) -> None:
    """Batch norm, dropout, augmentation and a last step of another size included."""
    options = words(small_store, "tiny_norm", "--recipe", "strong", "--images", 29)
    on_gpu(*options, run_dir=tmp_path / "eager")
    record = on_gpu(*options, *way, "--execution", "graph", run_dir=tmp_path / "graph")
    assert "execution" not in record["provenance"]["environment"]
    assert losses(tmp_path / "graph") == pytest.approx(losses(tmp_path / "eager"), rel=tolerance)


def test_a_run_that_was_stopped_goes_on(small_store: Path, tmp_path: Path) -> None:
    options = words(small_store, "tiny_norm", "--execution", "graph")
    on_gpu(*options, run_dir=tmp_path / "whole")
    parts = tmp_path / "parts"
    parts.mkdir()
    (parts / "stop").touch()
    on_gpu(*options, run_dir=parts, code=75)
    (parts / "stop").unlink()
    record = on_gpu(*options, "--resume", run_dir=parts)
    assert (record["status"], record["provenance"]["restarts"]) == ("ok", 1)
    whole, resumed = (
        torch.load(folder / "checkpoint.pt", weights_only=True, map_location="cpu")["network"]
        for folder in (tmp_path / "whole", parts)
    )
    for name, value in whole.items():
        torch.testing.assert_close(resumed[name], value, rtol=1e-3, atol=1e-4, msg=name)


def test_ranks_over_nccl_come_to_one_process_s_losses(
    gpus: int, train: Train, small_store: Path, tmp_path: Path
) -> None:
    """One rank on each GPU, up to two."""
    ranks = min(gpus, 2)
    train(*words(small_store), "--device", "cpu", run_dir=tmp_path / "one")
    more = ("--strategy", "ddp", "--batch-mode", "global")
    record = on_gpu(*words(small_store), *more, run_dir=tmp_path / "ddp", ranks=ranks)
    assert (record["actual"]["device"], record["actual"]["world_size"]) == ("cuda", ranks)
    assert losses(tmp_path / "ddp") == pytest.approx(losses(tmp_path / "one"), rel=2e-3)


@pytest.mark.parametrize("execution", ["eager", "graph"])
def test_too_little_memory_is_named(execution: str, paper_store: Path, tmp_path: Path) -> None:
    options = ("--store", paper_store, "--epochs", 1, "--execution", execution)
    before = ("-c", LITTLE_MEMORY)
    record = on_gpu(*options, run_dir=tmp_path, before=before, code=1)
    assert record["status"] == "out_of_memory", record["reason"]
    assert record["time_s"] is None


def test_what_the_gpu_did_and_used_is_told(small_store: Path, tmp_path: Path) -> None:
    record = on_gpu(*words(small_store, "tiny", "--epochs", 150), run_dir=tmp_path)
    assert record["provenance"]["driver"]
    name = record["actual"]["ranks"][0]["device_name"]
    if "MIG" not in name:  # a part of a GPU has no counter of its own
        assert record["usage"]["energy_j"] > 0
    with (tmp_path / "telemetry.csv").open(newline="") as file:
        samples = list(csv.DictReader(file))
    assert all(float(sample["device_memory_mb"]) > 0 for sample in samples)
