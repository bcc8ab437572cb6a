"""What a recipe updates weights with: torch's optimizers, Muon, and the weights' moving average."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from weather_hpc.models.registry import StateDict
from weather_hpc.study.recipe import Optimizer, Recipe

ITERATIONS = 5


COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Of the published iteration: singular values of any size come near 1, not exactly to it."""


MOMENTUM = 0.95


RMS = 0.2
"""Size of an update's entries, about AdamW's own: so both take the same learning rate (Liu et al.
2025, arXiv:2502.16982)."""


class Muon(torch.optim.AdamW):
    """AdamW, but for convolution kernels: they count as matrices, a row per output channel.

    Linear layers stay AdamW's: in small networks they are the head, where it does better.
    """

    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Update all parameters. The kernels' gradients are used up."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.ndim > 2:
                    self._turn(parameter, group["lr"], group["weight_decay"])
                    parameter.grad = None  # AdamW passes over what has none
        loss: float | None = super().step(closure)
        return loss

    @torch.no_grad()
    def _turn(self, parameter: torch.Tensor, rate: float | torch.Tensor, decay: float) -> None:
        gradient = parameter.grad
        if gradient is None:
            return
        state = self.state[parameter]
        if not state:
            state["momentum"] = torch.zeros_like(parameter)
            state["step"] = torch.zeros(())  # AdamW wants it in whatever it loads
        state["momentum"].lerp_(gradient, 1 - MOMENTUM)
        ahead = gradient.lerp(state["momentum"], MOMENTUM)  # Nesterov's
        update = orthogonal(ahead.flatten(1))
        size = RMS * max(update.shape) ** 0.5
        parameter.mul_(1 - rate * decay).sub_(update.view_as(parameter) * (rate * size))


def orthogonal(matrix: torch.Tensor) -> torch.Tensor:
    """The matrix of the same singular vectors whose singular values are about 1; 0 stays 0.

    By Newton and Schulz's iteration: products of matrices alone.
    """
    tall = matrix.shape[0] > matrix.shape[1]
    x: torch.Tensor = matrix.T if tall else matrix
    x = x / x.norm().clamp_min(torch.finfo(x.dtype).tiny)
    a, b, c = COEFFICIENTS
    for _ in range(ITERATIONS):
        square = x @ x.T
        x = a * x + (b * square + c * square @ square) @ x
    return x.T if tall else x


class Average:
    """Of all weights and running statistics of ``network``; counts are copied.

    After each step ``keep`` of the old average stays; less in the first steps, so that the
    weights that training began with are soon forgotten.
    """

    def __init__(self, network: nn.Module, keep: float) -> None:
        self.network = network
        self.keep = keep
        self.state: StateDict = {k: v.detach().clone() for k, v in network.state_dict().items()}

    @torch.no_grad()
    def update(self, step: int | torch.Tensor) -> None:
        """Take in the weights that the ``step``-th step of the run has left, counted from 0.

        A number on the device, shape (), is left there.
        """
        now = self.network.state_dict()
        floats = [name for name, value in self.state.items() if value.is_floating_point()]
        average, new = ([of[name] for name in floats] for of in (self.state, now))
        early = (1 + step) / (10 + step)
        if isinstance(early, torch.Tensor):
            change = torch._foreach_sub(new, average)
            torch._foreach_mul_(change, 1 - early.clamp_max(self.keep))
            torch._foreach_add_(average, change)
        else:
            torch._foreach_lerp_(average, new, 1 - min(self.keep, early))
        for name in self.state.keys() - set(floats):
            self.state[name].copy_(now[name])

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """The network holds the average meanwhile."""
        own = {name: value.detach().clone() for name, value in self.network.state_dict().items()}
        self.network.load_state_dict(self.state)
        try:
            yield
        finally:
            self.network.load_state_dict(own)

    def restore(self, state: StateDict) -> None:
        """Go back to a copy of :attr:`state`; it may hold more than this network's part."""
        for name, value in self.state.items():
            value.copy_(state[name])


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
