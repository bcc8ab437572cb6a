"""Checks accept differences from rounding, and detect wrong training."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from weather_hpc.check import training
from weather_hpc.check.runs import FinishedRun
from weather_hpc.check.session import Session, WrongError
from weather_hpc.study.tasks import Device
from weather_hpc.train.loop import Trainer

plain = Trainer.restore


def with_another_bias(trainer: Trainer, state: Any) -> None:
    """Change a weight on which no loss depends, as rounding may: batch norm cancels it."""
    plain(trainer, state)
    with torch.no_grad():
        trainer.strategy.network.get_parameter("conv1.bias").add_(0.05)


def without_the_optimizer(trainer: Trainer, state: Any) -> None:
    trainer.restore_weights(state)


@pytest.fixture
def resume(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., float]:
    """The check of resuming as on a GPU, computed on the CPU, with another function to restore."""
    monkeypatch.setattr(training, "on_device", lambda session: ("--device", "cpu"))
    session = Session(Device.CPU, 0, tmp_path / "out", tmp_path, 1e6)
    session.device = Device.CUDA
    here = session.runs.here

    def run(restore: Callable[[Trainer, Any], None]) -> float:
        def patched(*options: object, **more: Any) -> FinishedRun:
            with monkeypatch.context() as patch:
                first = iter([restore] if "--resume" in options else [])
                patch.setattr(Trainer, "restore", lambda t, state: next(first, plain)(t, state))
                return here(*options, **more)

        monkeypatch.setattr(session.runs, "here", patched)
        return float(training.resumed()(session).figures["difference"] or 0.0)

    return run


def test_resuming_on_a_gpu_compares_losses(resume: Callable[..., float]) -> None:
    assert resume(plain) == 0.0
    assert 0.0 < resume(with_another_bias) < training.SAME / 100


def test_a_run_that_resumes_without_its_optimizer_is_detected(resume: Callable[..., float]) -> None:
    with pytest.raises(WrongError, match=r"losses differ by .*; allowed: 0\.002"):
        resume(without_the_optimizer)
