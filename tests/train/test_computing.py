"""Precision, memory format and execution: what they may change, and what they may not."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from tests.train.conftest import Train, losses
from weather_hpc import cli
from weather_hpc.train import graphs, optimizer
from weather_hpc.train.__main__ import main
from weather_hpc.train.loop import Trainer
from weather_hpc.train.resident import Images
from weather_hpc.train.strategies.base import Strategy


def words(store: Path, *more: object) -> list[object]:
    return ["--store", store, "--model", "tiny", "--epochs", 2, "--batch-size", 8, *more]


def test_formats_of_memory_give_the_same_curve(
    train: Train, paper_store: Path, tmp_path: Path
) -> None:
    curves = []
    for name in ("contiguous", "channels-last"):
        options = ["--store", paper_store, "--epochs", 1, "--images", 16, "--memory-format", name]
        train(*options, run_dir=tmp_path / name)
        curves.append(losses(tmp_path / name))
    assert curves[0] == pytest.approx(curves[1], rel=1e-3)


def test_bfloat16_comes_near_and_says_so(train: Train, small_store: Path, tmp_path: Path) -> None:
    seen: list[torch.dtype] = []
    curves = {}
    for name in ("fp32", "bf16"):
        record = train(*words(small_store, "--precision", name), run_dir=tmp_path / name)
        assert record["spec"]["task"]["precision"] == name
        curves[name] = losses(tmp_path / name)
        saved = torch.load(tmp_path / name / "checkpoint.pt", weights_only=True)["network"]
        seen += [value.dtype for value in saved.values() if value.is_floating_point()]
    assert set(seen) == {torch.float32}, "weights stay float32"
    assert curves["fp32"] != curves["bf16"] == pytest.approx(curves["fp32"], rel=0.05)


@pytest.mark.filterwarnings(
    "ignore:.*script_method:DeprecationWarning"
)  # torch's own, in its import
def test_a_compiled_network_learns_alike(train: Train, small_store: Path, tmp_path: Path) -> None:
    for name in ("eager", "compiled"):
        train(*words(small_store, "--images", 32, "--execution", name), run_dir=tmp_path / name)
    assert losses(tmp_path / "compiled") == pytest.approx(losses(tmp_path / "eager"), rel=1e-3)
    one, other = (
        torch.load(tmp_path / name / "checkpoint.pt", weights_only=True)["network"].keys()
        for name in ("eager", "compiled")
    )
    assert one == other, "weights keep their names"


class KernelsAlone(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Refuses what a graph cannot hold: numbers that the host reads off a device or sends there."""

    REFUSED = ("_local_scalar_dense", "nonzero", "masked_select", "lift_fresh", "unique")

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.__name__
        assert not name.startswith(self.REFUSED), f"the host takes part: {name}"
        return func(*args, **(kwargs or {}))


@pytest.fixture
def steps_played(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The CPU stands in for a GPU: a graph's kernels are called one by one, in its memory."""
    played: list[int] = []

    def record(step: Callable[[], torch.Tensor], trainer: Trainer) -> graphs.Replay:
        step()
        with KernelsAlone():  # type: ignore[no-untyped-call]
            step()

        def replay() -> torch.Tensor:
            played.append(1)
            return step()

        return replay

    monkeypatch.setattr(graphs, "possible", lambda device: True)
    monkeypatch.setattr(graphs, "record", record)
    monkeypatch.setattr(optimizer, "ON_DEVICE", {})  # capturable is CUDA's alone
    monkeypatch.setattr(Images, "fit", lambda self, rows, needed: True)
    return played


GRAPH = ["--device", "cuda", "--without-cuda", "cpu", "--execution", "graph"]


@pytest.mark.parametrize("recipe", ["paper", "strong"])
def test_recorded_steps_are_the_loop_s(
    recipe: str, train: Train, small_store: Path, tmp_path: Path, steps_played: list[int]
) -> None:
    """Same images, random numbers, rates and average; rehearsals leave no trace."""
    options = words(small_store, "--recipe", recipe, "--images", 29)
    eager = train(*options, "--device", "cpu", run_dir=tmp_path / "eager")
    assert not steps_played
    played = train(*options, *GRAPH, run_dir=tmp_path / "graph")
    assert len(steps_played) == played["counts"]["steps"] == eager["counts"]["steps"]
    # the rate is a float32 there, and a double in the loop
    assert losses(tmp_path / "graph") == pytest.approx(losses(tmp_path / "eager"), rel=1e-5)
    assert "execution" not in played["provenance"]["environment"]
    for key in ("train_accuracy", "test_accuracy"):
        assert played["quality"][key] == eager["quality"][key]


def test_recorded_steps_go_on_where_they_stopped(
    train: Train,
    small_store: Path,
    tmp_path: Path,
    steps_played: list[int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    options = [*words(small_store, "--recipe", "strong"), *GRAPH]
    train(*options, run_dir=tmp_path / "whole")
    monkeypatch.setattr("weather_hpc.train.stop.STEPS_BETWEEN_LOOKS", 1)
    begin = graphs.StepGraphs.begin

    def stopping(self: graphs.StepGraphs, epoch: int, done: int = 0) -> None:
        begin(self, epoch, done)
        if epoch == 2:
            (tmp_path / "parts" / "stop").touch()

    with monkeypatch.context() as patched:
        patched.setattr(graphs.StepGraphs, "begin", stopping)
        train(*options, run_dir=tmp_path / "parts", code=75)
    (tmp_path / "parts" / "stop").unlink()
    steps_played.clear()
    record = train(*options, "--resume", run_dir=tmp_path / "parts")
    assert 0 < len(steps_played) < record["counts"]["steps"] / 2
    whole, parts = (
        torch.load(tmp_path / name / "checkpoint.pt", weights_only=True)
        for name in ("whole", "parts")
    )
    for name, value in whole["network"].items():
        assert torch.equal(value, parts["network"][name]), name


def test_without_cuda_steps_are_not_recorded_and_the_record_says_so(
    train: Train, small_store: Path, tmp_path: Path
) -> None:
    record = train(*words(small_store), *GRAPH, run_dir=tmp_path)
    assert record["provenance"]["environment"]["execution"] == "without graphs: no CUDA"


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--execution", "graph"], "execution graph needs device cuda, not auto"),
        (
            ["--execution", "graph", "--device", "cuda", "--strategy", "ddp"],
            "execution graph is for strategy single; under ddp use eager or compiled",
        ),
        (["--precision", "bf16", "--strategy", "model"], "bf16 is for strategies single and ddp"),
        (["--precision", "half"], "--precision half: no such precision; known: fp32, tf32, bf16"),
        (["--memory-format", "channels-last", "--strategy", "model"], "single, dp and ddp"),
    ],
)
def test_what_cannot_be_is_one_line(
    options: list[str], told: str, small_store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.guarded("train", main, ["--store", str(small_store), *options]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert told in line


def test_kernels_are_chosen_by_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    from weather_hpc.study.spec import Precision
    from weather_hpc.train.strategies import choose_kernels

    assert Strategy.precision is Precision.FP32
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    for settings, name in ((matmul, "allow_tf32"), (cudnn, "allow_tf32"), (cudnn, "benchmark")):
        monkeypatch.setattr(settings, name, getattr(settings, name))
    for precision, rounded in ((Precision.TF32, True), (Precision.FP32, False)):
        choose_kernels(precision, torch.device("cuda", 0))
        assert matmul.allow_tf32 is cudnn.allow_tf32 is rounded
        assert cudnn.benchmark
    choose_kernels(Precision.FP32, torch.device("cpu"))
    assert not cudnn.benchmark
