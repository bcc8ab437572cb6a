"""The optimizer that a recipe asks for."""

import torch
from torch import nn

from weather_hpc.study.recipe import Optimizer, Recipe
from weather_hpc.train.muon import Muon

KINDS: dict[Optimizer, type[torch.optim.Adam]] = {
    Optimizer.ADAM: torch.optim.Adam,
    Optimizer.ADAMW: torch.optim.AdamW,
    Optimizer.MUON: Muon,
}


def make_optimizer(network: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """Over the parameters of ``network``; the loop sets its learning rate at every step.

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
        [group for group in groups if group["params"]], lr=recipe.learning_rate
    )
