"""What the verb refuses, skips and says."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.train.conftest import Train, packed, run_forked, torchrun_argv
from weather_hpc import cli
from weather_hpc.errors import UserError
from weather_hpc.files import write_json
from weather_hpc.study.spec import RunSpec, Stage
from weather_hpc.study.tasks import Device, TrainTask
from weather_hpc.train.__main__ import main
from weather_hpc.train.cuda import why_no_cuda
from weather_hpc.train.ranks import (
    TorchrunEnv,
    Unavailable,
    check_launch,
    choose_device,
    torchrun_env,
)

LAUNCHED = {"RANK": "1", "WORLD_SIZE": "4", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2"}


def task(**settings: Any) -> TrainTask:
    defaults = {"strategy": "ddp", "device": "cuda", "world_size": 4, "batch_size": 8, "epochs": 1}
    return TrainTask.model_validate(defaults | settings)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("--strategy dpd", "--strategy dpd: no such strategy; did you mean 'dp'?"),
        ("--device gpu", "--device gpu: no such device; did you mean 'cuda'?"),
        ("--batch-mode glob", "--batch-mode glob: no such batch-mode; did you mean 'global'?"),
        ("--model resnet81", "--model resnet81: no such network; did you mean 'resnet18'?"),
        ("--epochs 0", "--epochs 0: Input should be greater than or equal to 1"),
        ("--threads 0", "--threads 0: Input should be"),
        ("--recipe stong", "recipe stong: no such recipe; did you mean 'strong'?"),
        ("--batch-norm sync", "batch_norm sync is for strategy ddp"),
        ("--batch-norm some", "--batch-norm some: no such batch-norm; known: local, sync"),
        ("--lr -1", "--lr -1.0: Input should be greater than 0"),
        ("--images 5000", "training images"),
        ("--batch-size 1", "leaves 1 image for one device in some steps; batch norm"),
        ("--world-size 2", "strategy single has world_size 1"),
        ("--strategy ddp --world-size 3 --batch-mode global --batch-size 8", "is not divisible"),
        ("--strategy ddp --world-size 2", "--nproc-per-node=2 -m weather_hpc.train --store"),
        ("--strategy model --world-size 3", "--nproc-per-node=3 -m weather_hpc.train"),
        ("--resume", "--resume needs --run-dir"),
        ("--discard", "--discard needs --run-dir"),
        ("--evaluate-every -1", "--evaluate-every -1: must be 0 or more"),
    ],
)
def test_bad_input_is_one_line(
    words: str, told: str, paper_store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.guarded("train", main, ["--store", str(paper_store), *words.split()]) == 2
    error = capsys.readouterr().err
    assert told in error
    assert error.count("\n") == 1


def test_images_too_small_for_the_network(
    small_store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.guarded("train", main, ["--store", str(small_store)]) == 2
    assert "--model paper_cnn takes images of 253 to 292 px" in capsys.readouterr().err


def test_images_left_out_of_the_store_are_told(
    train: Train, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(images, tmp_path / "images")
    shutil.copytree(images / "dew", tmp_path / "images" / "morning")
    store = packed(tmp_path / "images", tmp_path / "store", 32)
    capsys.readouterr()
    record = train("--store", store, "--model", "tiny", "--epochs", 1, run_dir=tmp_path / "run")
    told = "4 of 48 image files (8%) are left out"
    assert capsys.readouterr().err.startswith(f"train: {store}: {told}")
    assert record["left_out"].startswith(told)


def test_no_such_store(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.guarded("train", main, ["--store", str(tmp_path / "none")]) == 2
    assert "no such store" in capsys.readouterr().err


@pytest.mark.parametrize("words", ["--strategy dp --device cpu", "--strategy dp --world-size 2"])
def test_data_parallel_without_cuda_is_skipped(
    words: str, train: Train, paper_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    record = train("--store", paper_store, *words.split(), run_dir=tmp_path)
    assert record["status"] == "skipped"
    assert "CUDA" in record["reason"]
    assert record["time_s"] is None
    assert record["quality"]["train_loss"] is None
    assert record["actual"]["ranks"] == []


def test_cuda_without_cuda(
    train: Train, small_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Skipped; or, where the site asks for it, on the CPU, and the record says so."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    options = ("--store", small_store, "--device", "cuda", "--model", "tiny", "--epochs", 1)
    record = train(*options, run_dir=tmp_path / "skip")
    assert record["status"] == "skipped"
    lacking, _, why = record["reason"].partition(": ")
    assert lacking == "asks for 1 CUDA GPU; this machine has 0"
    assert why == why_no_cuda()
    record = train(*options, "--without-cuda", "cpu", run_dir=tmp_path / "cpu")
    assert (record["status"], record["actual"]["device"]) == ("ok", "cpu")
    assert record["spec"]["task"]["device"] == "cuda"


@pytest.mark.parametrize(
    ("settings", "gpus", "chosen"),
    [
        ({"device": "cuda"}, 2, Device.CUDA),
        ({"device": "auto"}, 2, Device.CUDA),
        ({"device": "auto"}, 1, Device.CPU),
        ({"device": "cpu"}, 2, Device.CPU),
        ({"strategy": "dp"}, 4, Device.CUDA),
    ],
)
def test_device_by_what_this_node_has(settings: dict[str, Any], gpus: int, chosen: Device) -> None:
    """Four ranks on two nodes: each node needs two GPUs; DataParallel needs all four."""
    assert choose_device(task(**settings), torchrun_env(LAUNCHED), gpus) is chosen


@pytest.mark.parametrize(
    ("settings", "gpus"),
    [({"device": "cuda"}, 1), ({"strategy": "dp"}, 3), ({"strategy": "dp", "device": "cpu"}, 4)],
)
def test_too_few_gpus(settings: dict[str, Any], gpus: int) -> None:
    with pytest.raises(Unavailable, match="CUDA GPUs"):
        choose_device(task(**settings), torchrun_env(LAUNCHED), gpus)
    if "strategy" in settings:
        with pytest.raises(Unavailable):
            choose_device(task(**settings), torchrun_env(LAUNCHED), gpus, fall_back=True)


def test_the_world_that_torchrun_tells() -> None:
    assert torchrun_env({}) == TorchrunEnv()
    assert torchrun_env(LAUNCHED) == TorchrunEnv(1, 4, 1, 2, launched=True)
    with pytest.raises(UserError, match="LOCAL_RANK"):
        torchrun_env({"RANK": "0", "WORLD_SIZE": "2"})


def test_torchruns_world_must_be_the_one_asked_for() -> None:
    check_launch(task(), torchrun_env(LAUNCHED), [])
    with pytest.raises(UserError, match="world-size 2 is 2 processes; torchrun started 4"):
        check_launch(task(world_size=2), torchrun_env(LAUNCHED), [])
    with pytest.raises(UserError, match=r"strategy dp .* is 1 processes; torchrun started 4"):
        check_launch(task(strategy="dp"), torchrun_env(LAUNCHED), [])


def test_the_launchers_spec_goes_into_the_record(
    train: Train, small_store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = task(strategy="single", device="cpu", world_size=1, model="tiny", image_size=32)
    spec = RunSpec(study="mine", stage=Stage.TRAIN, task=asked, repeat=2, data="/images")
    run_dir = tmp_path / spec.run_id
    write_json(run_dir / "spec.json", spec.as_dict())
    options = ["--store", small_store, "--device", "cpu", "--model", "tiny"]
    options += ["--epochs", 1, "--batch-size", 8]
    record = train(*options, run_dir=run_dir)
    assert record["run_id"] == spec.run_id
    assert record["spec"]["study"] == "mine"

    train(*options, "--seed", 3, run_dir=run_dir, code=2)
    train(*options, run_dir=tmp_path / "without", code=0)


def test_json_is_the_last_line(small_store: Path) -> None:
    words = ["--store", str(small_store), "--strategy", "dp", "--device", "cpu", "--json"]
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "weather_hpc.train", *words],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    summary = json.loads(done.stdout.splitlines()[-1])
    assert (summary["status"], summary["time_s"]) == ("skipped", None)
    assert done.stderr == ""


def test_only_rank_0_speaks(small_store: Path, tmp_path: Path) -> None:
    words = ("--store", small_store, "--strategy", "ddp", "--device", "cuda", "--json")
    printed = tmp_path / "stdout"
    with printed.open("w") as out:
        code, error = run_forked(
            torchrun_argv(*words, "--model", "tiny", "--epochs", 1), stdout=out
        )
    assert code == 0, error
    assert len(printed.read_text().splitlines()) == 1
