"""The train verb, with a network that computes much longer on rank 1."""

import os
import sys
import time

import torch
from torch import nn

from tests.train.run_tiny import TINY
from weather_hpc import cli
from weather_hpc.models.registry import MODELS
from weather_hpc.train.__main__ import main

RANK = int(os.environ.get("RANK", "0"))
EXTRA_S = 0.05
"""Processor time that rank 1 spends more in each forward pass, however busy the machine is."""


class Busy(nn.Module):
    """Computes for ``seconds`` of processor time, and returns its input."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds = seconds

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        end = time.thread_time() + self.seconds
        while time.thread_time() < end:
            pass
        return values


def uneven(classes: int, image_size: int) -> nn.Sequential:
    """``tiny``, after work that only rank 1 has."""
    return nn.Sequential(Busy(EXTRA_S if RANK == 1 else 0), TINY["tiny"](classes, image_size))


if __name__ == "__main__":
    MODELS["uneven"] = uneven
    cli.run("train", main, sys.argv[1:])
