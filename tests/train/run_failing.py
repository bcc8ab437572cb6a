"""The train verb with ``tiny``, one rank of which fails, as ``FAILS`` says: ``1 memory``.

From that step on the others wait for ever, as they do under NCCL; gloo would let them go. Where the
rank only hangs or is stopped, they wait in the exchange.
"""

import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any

import torch

from tests.train.run_tiny import TINY
from weather_hpc import cli
from weather_hpc.models.registry import MODELS
from weather_hpc.train import agreement
from weather_hpc.train.__main__ import main
from weather_hpc.train.checkpoint import Checkpoint, load_checkpoint
from weather_hpc.train.loop import Trainer

AT_STEP = 6
"""Of all steps from the first of warm-up on: in measured time."""

RANK, HOW = os.environ["FAILS"].split()
"""``older``: this rank reads the checkpoint in the folder ``older`` of the run's."""

steps = 0
learn = Trainer.optimizer_step


def failing(self: Trainer, *arguments: Any) -> torch.Tensor:
    global steps
    steps += 1
    if steps < AT_STEP:
        return learn(self, *arguments)
    if os.environ["RANK"] != RANK and HOW in ("hang", "stop"):
        return learn(self, *arguments)
    if os.environ["RANK"] != RANK:
        threading.Event().wait()
    if HOW == "memory":
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
    if HOW == "launcher":
        os.kill(os.getppid(), signal.SIGKILL)
    if HOW in ("hang", "launcher"):
        threading.Event().wait()
    if HOW == "stop":
        os.kill(os.getpid(), signal.SIGSTOP)
    if HOW == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    raise RuntimeError("CUDA error: an illegal memory access was encountered")


def load_older(path: Path) -> Checkpoint:
    return load_checkpoint(path.parent / "older" / path.name)


if __name__ == "__main__":
    if HOW == "older":
        agreement.REREAD_S = 0.5
        if os.environ["RANK"] == RANK:
            agreement.load_checkpoint = load_older  # type: ignore[attr-defined]
    MODELS.update(TINY)
    Trainer.optimizer_step = failing  # type: ignore[assignment, method-assign]
    cli.run("train", main, sys.argv[1:])
