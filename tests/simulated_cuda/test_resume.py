"""Runs on simulated devices, stopped and resumed there or on the CPU."""

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.simulated_cuda.conftest import Simulated
from tests.simulated_cuda.test_strategies import ON_CUDA, words
from tests.train.conftest import Train, record_in

pytestmark = pytest.mark.xdist_group("simulated_cuda")

STOPPED = 75


def state_in(run_dir: Path) -> dict[str, Any]:
    state: dict[str, Any] = torch.load(run_dir / "checkpoint.pt", weights_only=True)
    return state


def asked_to_stop(run_dir: Path) -> Path:
    """A run's folder in which training stops after its first epoch."""
    run_dir.mkdir(parents=True)
    (run_dir / "stop").touch()
    return run_dir


def largest_difference(one: Path, other: Path) -> float:
    a, b = state_in(one)["network"], state_in(other)["network"]
    return max(float((a[name].double() - b[name].double()).abs().max()) for name in a)


@pytest.mark.parametrize("execution", ["eager", "graph"])
def test_resumed_it_ends_with_the_weights_of_an_unbroken_run(
    execution: str, simulated: Simulated, small_store: Path, tmp_path: Path
) -> None:
    """Dropout, augmentation and averaged weights included."""
    options = words(small_store, "tiny_norm", *ON_CUDA, "--recipe", "strong", "--epochs", 3)
    options += ["--execution", execution]
    simulated(*options, run_dir=tmp_path / "whole")
    parts = asked_to_stop(tmp_path / "parts")
    simulated(*options, run_dir=parts, code=STOPPED)
    (parts / "stop").unlink()
    told = simulated(*options, "--resume", run_dir=parts)
    assert len(told.waits) == 2 or len(told.waits) == 3, "what was done is not done again"
    assert largest_difference(tmp_path / "whole", parts) == 0.0
    assert told.record["provenance"]["devices"] == ["Simulated GPU"]


def test_dp_goes_on_with_the_random_numbers_of_all_its_gpus(
    simulated: Simulated, small_store: Path, tmp_path: Path
) -> None:
    options = words(small_store, "tiny_norm", "--strategy", "dp", "--world-size", 2)
    options += ["--epochs", 3]
    simulated(*options, run_dir=tmp_path / "whole")
    parts = asked_to_stop(tmp_path / "parts")
    simulated(*options, run_dir=parts, code=STOPPED)
    first, second = state_in(parts)["ranks"][0]["random"]["cuda"]
    assert not torch.equal(first, second), "each GPU drops out what it draws itself"
    (parts / "stop").unlink()
    simulated(*options, "--resume", run_dir=parts)
    assert largest_difference(tmp_path / "whole", parts) == 0.0


@pytest.mark.parametrize("recipe", ["paper", "strong"])
@pytest.mark.parametrize("first", ["cpu", "gpu"])
def test_a_run_by_graphs_goes_from_the_cpu_to_a_gpu_and_back(
    first: str, recipe: str, simulated: Simulated, train: Train, small_store: Path, tmp_path: Path
) -> None:
    """Its optimizer keeps its state, and works as it must where it is."""
    options = words(small_store, "tiny", *ON_CUDA, "--execution", "graph", "--recipe", recipe)
    options += ["--without-cuda", "cpu"]
    train(*options, run_dir=tmp_path / "whole")
    run_dir = asked_to_stop(tmp_path / "moved")

    def go_on(where: str, *more: object, code: int = 0) -> None:
        if where == "cpu":
            train(*options, *more, run_dir=run_dir, code=code)
        else:
            simulated(*options, *more, run_dir=run_dir, code=code)

    then = "gpu" if first == "cpu" else "cpu"
    go_on(first, code=STOPPED)
    (run_dir / "stop").unlink()
    go_on(then, "--resume")
    names = {"cpu": "cpu", "gpu": "Simulated GPU"}
    record = record_in(run_dir)
    assert record["status"] == "ok"
    assert record["provenance"]["devices"] == [names[first], names[then]]
    assert largest_difference(tmp_path / "whole", run_dir) < 1e-4
