"""Dropout of a step's images whose masks do not depend on how many ranks share them."""

import torch
from torch import nn


class _SharedDropout(nn.Dropout):
    """Draws the masks of all ranks' images and uses its own: ranks draw from equal streams."""

    first = 0
    """Index of this rank's first image within the step."""

    together = 0
    """Images of the step."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:  # noqa: A002 - torch's own name
        """(images of this rank, ...) -> the same shape."""
        if not self.training or self.p in (0.0, 1.0):
            return super().forward(input)
        keep = 1 - self.p
        mask = input.new_empty(self.together, *input.shape[1:]).bernoulli_(keep).div_(keep)
        return input * mask[self.first : self.first + len(input)]


def share_dropout(network: nn.Module) -> list[_SharedDropout]:
    """Let the dropout layers of ``network`` share their masks; they are returned."""
    shared = []
    for module in network.modules():
        if type(module) is nn.Dropout:
            module.__class__ = _SharedDropout
        if isinstance(module, _SharedDropout):
            shared.append(module)
    return shared
