"""Precision, memory format and execution: what they may change, and what they may not."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch._dynamo.utils import counters

from tests.train.conftest import Train, losses
from weather_hpc import cli
from weather_hpc.train.__main__ import main
from weather_hpc.train.loop import Position, Trainer
from weather_hpc.train.strategies.base import StepOptions


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


@pytest.mark.filterwarnings("ignore:.*script_method:DeprecationWarning")
def test_nothing_is_compiled_in_measured_time(
    train: Train, small_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled: list[int] = []
    train_epoch = Trainer.train_epoch

    def counting(self: Trainer, *arguments: Any) -> Position:
        before = counters["stats"]["unique_graphs"]
        position = train_epoch(self, *arguments)
        compiled.append(counters["stats"]["unique_graphs"] - before)
        return position

    monkeypatch.setattr(Trainer, "train_epoch", counting)
    options = words(small_store, "--images", 29, "--execution", "compiled")
    train(*options, "--warmup-steps", 1, run_dir=tmp_path)
    assert counters["stats"]["unique_graphs"] == 3, "one for each size of step"
    assert compiled == [0, 0]


GRAPH = ["--device", "cuda", "--without-cuda", "cpu", "--execution", "graph"]


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
    from weather_hpc.study.tasks import Precision
    from weather_hpc.train.strategies import choose_kernels

    assert StepOptions().precision is Precision.FP32
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    for settings, name in ((matmul, "allow_tf32"), (cudnn, "allow_tf32"), (cudnn, "benchmark")):
        monkeypatch.setattr(settings, name, getattr(settings, name))
    for precision, rounded in ((Precision.TF32, True), (Precision.FP32, False)):
        choose_kernels(precision, torch.device("cuda", 0))
        assert matmul.allow_tf32 is cudnn.allow_tf32 is rounded
        assert cudnn.benchmark
    choose_kernels(Precision.FP32, torch.device("cpu"))
    assert not cudnn.benchmark
