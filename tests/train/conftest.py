"""Small stores of synthetic images, and the verb run here or under torchrun."""

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Any

import psutil
import pytest

from tests.train.forked import Forked
from tests.train.run_tiny import TINY
from weather_hpc import cli
from weather_hpc.dataset.synthetic import make_synthetic
from weather_hpc.models.registry import MODELS
from weather_hpc.preprocess.__main__ import main as preprocess
from weather_hpc.train.__main__ import main as train_main
from weather_hpc.train.ranks import torchrun as torchrun_arguments

STALLED_S = 240
"""Far more than a run under torchrun takes, and less than a test may take."""

RUN_TINY = Path(__file__).with_name("run_tiny.py")

Train = Callable[..., dict[str, Any]]
"""Trains with these options and returns the record; ``code`` is the exit code wanted."""


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four images of each of eleven classes."""
    folder = tmp_path_factory.mktemp("images") / "synthetic"
    make_synthetic(folder, 4)
    return folder


def packed(images: Path, store: Path, size: int) -> Path:
    assert preprocess(["--data", str(images), "--out", str(store), "--size", str(size)]) == 0
    return store


@pytest.fixture(scope="session")
def small_store(images: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images of 32 px: for the network ``tiny``."""
    return packed(images, tmp_path_factory.mktemp("stores") / "small", 32)


@pytest.fixture(scope="session")
def paper_store(images: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images of 256 px: for paper_cnn."""
    return packed(images, tmp_path_factory.mktemp("stores") / "paper", 256)


@pytest.fixture
def train(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Train:
    """The verb, run in this process."""
    for name, build in TINY.items():
        monkeypatch.setitem(MODELS, name, build)

    def run(*words: object, run_dir: Path, code: int = 0) -> dict[str, Any]:
        argv = [*map(str, words), "--run-dir", str(run_dir)]
        assert cli.guarded("train", train_main, argv) == code, capsys.readouterr().err
        return record_in(run_dir)

    return run


@pytest.fixture
def torchrun() -> Train:
    """The verb under torchrun, with two processes."""

    def run(*words: object, run_dir: Path, code: int = 0) -> dict[str, Any]:
        returned, error = run_forked(torchrun_argv(*words, "--run-dir", run_dir))
        assert returned == code, error
        assert "weather_hpc/" not in error, "a warning or a traceback of our own"
        return record_in(run_dir)

    return run


def run_forked(
    argv: Sequence[str], *, stdout: IO[str] | None = None, **variables: str
) -> tuple[int, str]:
    """Run ``argv`` with ``variables`` in its environment: its exit code and stderr."""
    with tempfile.TemporaryFile("w+") as file:
        child = Forked(argv, torchrun_environment() | variables, stdout=stdout, stderr=file)
        try:
            returned = child.wait(STALLED_S)
        except subprocess.TimeoutExpired:
            server = psutil.Process(child.pid).parent()
            for process in server.children() if server else ():
                process.send_signal(signal.SIGABRT)  # each tells where it stands
            returned = child.wait()
        file.seek(0)
        return returned, file.read()


def torchrun_argv(*words: object) -> list[str]:
    launcher = torchrun_arguments(1, 2)
    return [sys.executable, *launcher, str(RUN_TINY), *map(str, words)]


def torchrun_environment() -> dict[str, str]:
    """Ranks meet on loopback, and tell their stacks when they are aborted."""
    settings = {"GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1", "PYTHONFAULTHANDLER": "1"}
    return os.environ | settings


def family(pid: int) -> list[psutil.Process]:
    """The process ``pid`` and all it has started. torchrun gives each rank its own session."""
    root = psutil.Process(pid)
    return [*root.children(recursive=True), root]


def record_in(run_dir: Path) -> dict[str, Any]:
    record: dict[str, Any] = json.loads((run_dir / "record.json").read_bytes())
    return record


def events(run_dir: Path, name: str) -> list[dict[str, Any]]:
    lines = (run_dir / "events.jsonl").read_text().splitlines()
    return [event for event in map(json.loads, lines) if event["event"] == name]


def losses(run_dir: Path) -> list[float]:
    return [event["loss"] for event in events(run_dir, "epoch")]
