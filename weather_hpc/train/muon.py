"""Muon: momentum whose matrices are made orthogonal (Jordan et al. 2024), and AdamW beside it.

https://kellerjordan.github.io/posts/muon/. torch's own takes plain matrices only, not kernels.
"""

from collections.abc import Callable

import torch

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
