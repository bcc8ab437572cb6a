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
"""Of the published iteration: singular values of any size become about 1."""


MOMENTUM = 0.95


RMS = 0.2
"""Size of an update's entries, about that of AdamW's, for the same learning rate (Liu et al. 2025,
arXiv:2502.16982)."""


class Muon(torch.optim.AdamW):
    """Momentum with orthogonal updates for convolution kernels, AdamW for all other parameters.

    Jordan et al. 2024, https://kellerjordan.github.io/posts/muon/; torch's own takes no kernels.
    A kernel counts as a matrix with a row per output channel.

    Linear layers use AdamW: in small networks they are the head, where it does better.
    """

    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Update all parameters. The kernels' gradients are used up."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.ndim > 2:
                    self._update(parameter, group["lr"], group["weight_decay"])
                    parameter.grad = None  # AdamW skips parameters without one
        loss: float | None = super().step(closure)
        return loss

    @torch.no_grad()
    def _update(self, parameter: torch.Tensor, rate: float | torch.Tensor, decay: float) -> None:
        gradient = parameter.grad
        if gradient is None:
            return
        state = self.state[parameter]
        if not state:
            state["momentum"] = torch.zeros_like(parameter)
            state["step"] = torch.zeros(())  # AdamW expects it when it loads a state
        state["momentum"].lerp_(gradient, 1 - MOMENTUM)
        ahead = gradient.lerp(state["momentum"], MOMENTUM)  # Nesterov's
        update = orthogonal(ahead.flatten(1))
        size = RMS * max(update.shape) ** 0.5
        parameter.mul_(1 - rate * decay).sub_(update.view_as(parameter) * (rate * size))


def orthogonal(matrix: torch.Tensor) -> torch.Tensor:
    """The matrix of the same singular vectors whose singular values are about 1; 0 stays 0.

    By a Newton-Schulz iteration, which only multiplies matrices.
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
    """Moving average of a network's weights and running statistics; counts are copied.

    It generalises better than the last weights. Each step keeps the share ``keep`` of the old
    average, and less in the first steps, so that the initial weights lose their influence soon.
    """

    def __init__(self, network: nn.Module, keep: float) -> None:
        self.network = network
        self.keep = keep
        self.state: StateDict = {k: v.detach().clone() for k, v in network.state_dict().items()}

    @torch.no_grad()
    def update(self, step: int | torch.Tensor) -> None:
        """Average in the weights after step ``step`` of the run, counted from 0.

        A tensor of shape () stays on its device.
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
        """Within the block the network has the average as weights."""
        own = {name: value.detach().clone() for name, value in self.network.state_dict().items()}
        self.network.load_state_dict(self.state)
        try:
            yield
        finally:
            self.network.load_state_dict(own)

    def restore(self, state: StateDict) -> None:
        """Restore a copy of :attr:`state`, which may have more than this network's part."""
        for name, value in self.state.items():
            value.copy_(state[name])


KINDS: dict[Optimizer, type[torch.optim.Adam]] = {
    Optimizer.ADAM: torch.optim.Adam,
    Optimizer.ADAMW: torch.optim.AdamW,
    Optimizer.MUON: Muon,
}


ON_DEVICE: dict[str, Any] = {"capturable": True}
"""Options of torch's optimizers: step counts and all values stay on the GPU."""


def make_optimizer(
    network: nn.Module, recipe: Recipe, *, on_device: bool = False
) -> torch.optim.Optimizer:
    """Over the parameters of ``network``; the loop sets its learning rate at every step.

    ``on_device``: so that a CUDA graph can hold its step. Weight decay applies to matrices and
    kernels, not to biases and norms.
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
        fused=True,  # in a small network, calls per parameter would take longer than the work
        **(ON_DEVICE if on_device else {}),
    )
