"""Seconds of a run's phases, over the processes that it took."""

import time
from typing import cast

import pytest
import torch

from weather_hpc.runs.record import Phases
from weather_hpc.runs.telemetry import Energy, Telemetry
from weather_hpc.train.loader import DataWait
from weather_hpc.train.meter import Meter, Phase
from weather_hpc.train.ranks import TorchrunEnv
from weather_hpc.train.strategies.base import TrainingStrategy

CPU = torch.device("cpu")


class NoDevices:
    def energy_j(self) -> None:
        return None


class Exchanging(TrainingStrategy):
    """Exchanges for a second whenever its seconds are read."""

    seconds = 0.0

    @property
    def communication_s(self) -> float:  # type: ignore[override]
        self.seconds += 1
        return self.seconds


def meter(strategy: type[TrainingStrategy], earlier: dict[str, float] | None = None) -> Meter:
    return Meter(strategy(CPU, TorchrunEnv(), 1), Energy(), earlier)


def train(measured: Meter, *, resumed: bool = False) -> None:
    data_wait = DataWait(CPU)
    with measured.epoch(data_wait, cast(Telemetry, NoDevices()), resumed=resumed):
        with data_wait.batch():
            time.sleep(0.01)
        time.sleep(0.01)


def test_phases_add_up_and_an_epoch_has_its_own_seconds() -> None:
    measured = meter(Exchanging)
    epochs = []
    for _ in range(2):
        train(measured)
        epochs.append(measured.epoch_s)
    assert measured.seconds(Phase.TRAIN) == pytest.approx(sum(epochs), rel=1e-9)
    assert 0.01 <= measured.epoch_data_wait_s < measured.epoch_s
    phases = Phases()
    measured.report(phases)
    assert phases.communication == 2
    assert phases.data_wait == measured.seconds(Phase.DATA_WAIT)
    assert phases.checkpoint is phases.evaluation is None
    assert phases.compute == measured.seconds(Phase.TRAIN) - phases.data_wait - 2


def test_a_resumed_run_counts_the_seconds_before_it() -> None:
    first = meter(TrainingStrategy)
    train(first)
    stored = first.seconds_so_far()
    assert {type(name) for name in stored} == {str}, "which torch.load takes for plain data"
    assert "communication" not in stored, "a single process does not exchange"
    second = meter(TrainingStrategy, stored)
    train(second, resumed=True)
    assert second.epoch_s == second.seconds(Phase.TRAIN) > stored["train"] + 0.02
    assert second.seconds(Phase.TOTAL) > stored["total"]
    assert second.known_seconds(Phase.COMMUNICATION) is None
