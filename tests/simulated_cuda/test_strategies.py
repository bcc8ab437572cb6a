"""Every strategy on simulated devices learns what it learns on CPUs, and no host waits for one."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.simulated_cuda.conftest import Simulated, Told
from tests.train.conftest import Train, losses
from tests.train.test_rank_epochs import lines_in

pytestmark = pytest.mark.xdist_group("simulated_cuda")

ON_CUDA = ("--device", "cuda")


def words(store: Path, model: str = "tiny", *more: object) -> list[object]:
    """Steps of 8, 8, 8, 7 and 6 images or so: the last ones of an epoch are smaller."""
    return ["--store", store, "--model", model, "--epochs", 2, "--batch-size", 8, *more]


@pytest.fixture
def expected(train: Train, small_store: Path, tmp_path: Path) -> list[float]:
    """Losses of one process on the CPU."""
    train(*words(small_store), "--device", "cpu", run_dir=tmp_path / "cpu")
    return losses(tmp_path / "cpu")


def check_epochs(told: Told) -> None:
    assert len(told.waits) == 2
    for epoch in told.waits:
        assert not epoch, "the host waits for the device"


@pytest.mark.parametrize("execution", ["eager", "graph"])
def test_one_process(
    execution: str, simulated: Simulated, expected: list[float], small_store: Path, tmp_path: Path
) -> None:
    told = simulated(
        *words(small_store), *ON_CUDA, "--execution", execution, run_dir=tmp_path / "run"
    )
    # graphs have the learning rate as a float32, the loop has it as a double
    assert losses(tmp_path / "run") == pytest.approx(expected, rel=1e-6)
    assert told.record["actual"]["ranks"][0]["device"] == "cuda:0"
    assert told.record["provenance"]["packages"]["cuda"] == "0.0"
    assert told.count("replay") == (told.record["counts"]["steps"] if execution == "graph" else 0)
    assert "execution" not in told.record["provenance"]["environment"]
    check_epochs(told)


def test_the_papers_network(
    simulated: Simulated, train: Train, paper_store: Path, tmp_path: Path
) -> None:
    options = words(paper_store, "paper_dry", "--images", 16)
    train(*options, "--device", "cpu", run_dir=tmp_path / "cpu")
    told = simulated(*options, *ON_CUDA, "--execution", "graph", run_dir=tmp_path / "gpu")
    # the CPU computes its first layers as one, and so in another order
    assert losses(tmp_path / "gpu") == pytest.approx(losses(tmp_path / "cpu"), rel=1e-3)
    check_epochs(told)


@pytest.mark.parametrize("gpus", [2, 4])
def test_dp(
    gpus: int, simulated: Simulated, expected: list[float], small_store: Path, tmp_path: Path
) -> None:
    options = words(small_store, "tiny", "--strategy", "dp", "--world-size", gpus)
    options += ["--batch-mode", "global"]
    told = simulated(*options, run_dir=tmp_path / "dp")
    assert losses(tmp_path / "dp") == pytest.approx(expected, rel=1e-5)
    assert len(told.record["actual"]["ranks"][0]["device_memory_peak_mb"]) == gpus
    (rank,) = told.record["actual"]["ranks"]
    assert rank["computation_s"] is rank["communication_s"] is None, "of its GPUs it is not known"
    assert [line.rank for line in lines_in(tmp_path / "dp")] == [0, 0], "one process"
    assert {call[1] for call in told.calls if call[0] == "synchronize"} == set(range(gpus))
    check_epochs(told)


@pytest.mark.parametrize("strategy", ["ddp", "model"])
def test_one_rank(
    strategy: str, simulated: Simulated, expected: list[float], small_store: Path, tmp_path: Path
) -> None:
    options = words(small_store, "tiny", *ON_CUDA, "--strategy", strategy)
    told = simulated(*options, run_dir=tmp_path / "run")
    assert losses(tmp_path / "run") == pytest.approx(expected, rel=1e-5)
    check_epochs(told)


@pytest.mark.parametrize(("strategy", "ranks"), [("ddp", 1), ("ddp", 3), ("model", 3)])
def test_ranks_on_a_device_each(
    strategy: str,
    ranks: int,
    simulated_ranks: Callable[..., dict[str, Any]],
    train: Train,
    small_store: Path,
    tmp_path: Path,
) -> None:
    options = words(small_store, "tiny_deep", "--batch-mode", "global", "--batch-size", 12)
    train(*options, "--device", "cpu", run_dir=tmp_path / "cpu")
    record = simulated_ranks(
        ranks, *options, *ON_CUDA, "--strategy", strategy, run_dir=tmp_path / "ranks"
    )
    assert losses(tmp_path / "ranks") == pytest.approx(losses(tmp_path / "cpu"), rel=1e-5)
    devices = [rank["device"] for rank in record["actual"]["ranks"]]
    assert devices == [f"cuda:{rank}" for rank in range(ranks)]
    if strategy == "ddp":
        assert record["provenance"]["environment"]["exchange"] == "nccl"
    known = ranks == 1  # NCCL's exchanges overlap with computation
    for rank in record["actual"]["ranks"]:
        assert (rank["computation_s"] is not None) == known
        assert rank["data_wait_s"] is not None
    lines = lines_in(tmp_path / "ranks")
    assert [(line.epoch, line.rank) for line in lines] == [
        (epoch, rank) for epoch in (1, 2) for rank in range(ranks)
    ]
    with_loss = [line.rank for line in lines if line.loss is not None]
    assert with_loss == [line.rank for line in lines if strategy == "ddp" or line.rank == ranks - 1]


def test_synchronised_batch_norm(
    simulated_ranks: Callable[..., dict[str, Any]],
    train: Train,
    small_store: Path,
    tmp_path: Path,
) -> None:
    """Two ranks learn as one process, in half precision too, where no host waits for its device.

    In single precision it is a check of test_check.py.
    """
    options = words(small_store, "tiny_norm_dry", "--batch-mode", "global")
    half = (*ON_CUDA, "--strategy", "ddp", "--batch-norm", "sync", "--precision", "bf16")
    train(*options, "--device", "cpu", run_dir=tmp_path / "cpu")
    simulated_ranks(2, *options, *half, run_dir=tmp_path / "half")
    assert losses(tmp_path / "half") == pytest.approx(losses(tmp_path / "cpu"), rel=2e-2)


@pytest.mark.parametrize("recipe", ["paper", "strong"])
@pytest.mark.parametrize("memory_format", ["contiguous", "channels-last"])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_graphs_learn_as_the_loop_does(
    precision: str,
    memory_format: str,
    recipe: str,
    simulated: Simulated,
    small_store: Path,
    tmp_path: Path,
) -> None:
    """Batch norm, dropout, augmentation, schedule and averaged weights included."""
    options = words(
        small_store, "tiny_norm", *ON_CUDA, "--recipe", recipe, "--precision", precision
    )
    options += ["--memory-format", memory_format, "--images", 29]
    told = {
        execution: simulated(*options, "--execution", execution, run_dir=tmp_path / execution)
        for execution in ("eager", "graph")
    }
    assert told["graph"].count("replay") == 8
    # bfloat16 rounds what the learning rate's last bits change
    close = 1e-5 if precision == "fp32" else 1e-3
    assert losses(tmp_path / "graph") == pytest.approx(losses(tmp_path / "eager"), rel=close)
    for one in told.values():
        check_epochs(one)


def test_half_precision_and_the_other_memory_format_come_near_the_cpu(
    simulated: Simulated, expected: list[float], small_store: Path, tmp_path: Path
) -> None:
    options = words(small_store, "tiny", *ON_CUDA, "--memory-format", "channels-last")
    simulated(*options, run_dir=tmp_path / "last")
    assert losses(tmp_path / "last") == pytest.approx(expected, rel=1e-5)
    simulated(*options, "--precision", "bf16", run_dir=tmp_path / "half")
    assert losses(tmp_path / "half") == pytest.approx(expected, rel=2e-2)
    assert losses(tmp_path / "half") != losses(tmp_path / "last")
