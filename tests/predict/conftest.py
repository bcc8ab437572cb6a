"""A trained checkpoint, made once."""

from pathlib import Path

import pytest

from weather_hpc.dataset.synthetic import make_synthetic
from weather_hpc.preprocess.__main__ import main as preprocess
from weather_hpc.train.__main__ import main as train


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four images of each of eleven classes."""
    folder = tmp_path_factory.mktemp("predict") / "images"
    make_synthetic(folder, 4)
    return folder


@pytest.fixture(scope="session")
def checkpoint(images: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of paper_cnn, trained until it knows most of its images by heart."""
    folder = tmp_path_factory.mktemp("predict")
    assert preprocess(["--data", str(images), "--out", str(folder / "store")]) == 0
    options = ["--batch-size", "11", "--epochs", "12", "--lr", "3e-3", "--warmup-steps", "0"]
    run = ["--store", str(folder / "store"), "--run-dir", str(folder / "run"), "--device", "cpu"]
    assert train([*run, *options]) == 0
    return folder / "run" / "checkpoint.pt"
