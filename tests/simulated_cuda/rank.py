"""A rank of a run under torchrun that fails where its host waits for its device in an epoch."""

import sys
from typing import Any

from tests.simulated_cuda.waits import Watch
from tests.train.run_tiny import TINY
from weather_hpc import cli
from weather_hpc.models.registry import MODELS
from weather_hpc.train.__main__ import main
from weather_hpc.train.loop import Position, Trainer

train_epoch = Trainer.train_epoch


def without_waiting(*arguments: Any) -> Position:
    with Watch() as watch:
        position = train_epoch(*arguments)
    assert not watch.found, f"the host waits for its device: {watch.found}"
    return position


if __name__ == "__main__":
    Trainer.train_epoch = without_waiting  # type: ignore[method-assign, assignment]
    MODELS.update(TINY)
    cli.run("train", main, sys.argv[1:])
