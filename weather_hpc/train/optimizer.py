"""The optimizer that a recipe asks for."""

from typing import Any

import torch
from torch import nn

from weather_hpc.study.recipe import Optimizer, Recipe
from weather_hpc.train.muon import Muon

KINDS: dict[Optimizer, type[torch.optim.Adam]] = {
    Optimizer.ADAM: torch.optim.Adam,
    Optimizer.ADAMW: torch.optim.AdamW,
    Optimizer.MUON: Muon,
}


ON_DEVICE: dict[str, Any] = {"capturable": True}
"""Options of torch's optimizers: all that they count and compute stays on the GPU."""


def make_optimizer(
    network: nn.Module, recipe: Recipe, *, on_device: bool = False
) -> torch.optim.Optimizer:
    """Over the parameters of ``network``; the loop sets its learning rate at every step.

    ``on_device``: such that a CUDA graph can hold its step.

    Weight decay draws matrices and kernels towards 0, never biases and norms, whose size does
    not make a network more complicated.
    """
    parameters = list(network.parameters())
    matrices = [p for p in parameters if p.ndim > 1]
    vectors = [p for p in parameters if p.ndim <= 1]
    groups = [
        {"params": matrices, "weight_decay": recipe.weight_decay},
        {"params": vectors, "weight_decay": 0.0},
    ]
    return KINDS[recipe.optimizer](
        [group for group in groups if group["params"]],
        lr=recipe.learning_rate,
        fused=True,  # a small network's parameters take less time than calls for each of them
        **(ON_DEVICE if on_device else {}),
    )
