"""The train verb, with a network that computes three times as much on rank 1."""

import os
import sys

import torch
from torch import nn

from tests.train.run_tiny import TINY
from weather_hpc import cli
from weather_hpc.models.registry import MODELS
from weather_hpc.train.__main__ import main

RANK = int(os.environ.get("RANK", "0"))


class Busy(nn.Module):
    """Multiplies matrices for nothing, and returns its input."""

    def __init__(self, times: int) -> None:
        super().__init__()
        self.times = times
        self.matrix = torch.full((192, 192), 1 / 192)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        product = self.matrix
        for _ in range(self.times):
            product = product @ self.matrix
        return values


def uneven(classes: int, image_size: int) -> nn.Sequential:
    """``tiny`` after work that takes rank 1 three times as long."""
    return nn.Sequential(Busy(120 if RANK == 1 else 40), TINY["tiny"](classes, image_size))


if __name__ == "__main__":
    MODELS["uneven"] = uneven
    cli.run("train", main, sys.argv[1:])
