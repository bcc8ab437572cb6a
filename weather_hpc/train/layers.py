"""Layers of a network that several ranks train: batch norm and dropout over all ranks' images.

Batch norm works on CPUs too: torch's SyncBatchNorm is for GPUs only. Dropout's masks do not depend
on how many ranks share the images of a step.
"""

from collections.abc import Callable
from typing import Any, cast

import torch
from torch import nn

from weather_hpc.models.chunked import track

Statistics = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


SumOverRanks = Callable[[torch.Tensor], torch.Tensor]


class _SyncBatchNorm2d(nn.BatchNorm2d):
    """Training: the mean and variance of every rank's images together, gradients included."""

    over_ranks: SumOverRanks

    def forward(self, input: torch.Tensor) -> torch.Tensor:  # noqa: A002 - torch's own name
        """(images, channels, height, width) -> the same shape, normalised. Collective."""
        if not self.training:
            return super().forward(input)
        count, mean, variance = _statistics(input.float(), self.over_ranks)
        if self.running_mean is not None and self.momentum is not None:
            track(self, mean, variance, count)
        scale = (variance + self.eps).rsqrt()
        if self.affine:
            scale = scale * self.weight
        shift = -mean * scale
        if self.affine:
            shift = shift + self.bias
        normalised = input * scale[:, None, None] + shift[:, None, None]
        return normalised.to(input.dtype)  # which is less than float32 within autocast


def _statistics(images: torch.Tensor, over_ranks: SumOverRanks) -> Statistics:
    """Values per channel of the float32 ``images`` on all ranks, their mean, and their variance.

    Two exchanges, since a sum of squares would lose what the mean leaves over.
    """
    # filled on the device: a number from the host would make the host wait
    own = images.new_full((1,), images.numel() // images.shape[1])
    sums = _sum(torch.cat([images.sum((0, 2, 3)), own]), over_ranks)
    count = sums[-1].detach()
    mean = sums[:-1] / count
    squares = _sum((images - mean[:, None, None]).square().sum((0, 2, 3)), over_ranks)
    return count, mean, squares / count


class _Sum(torch.autograd.Function):
    """Over all ranks: every rank's value has its share in every rank's result."""

    @staticmethod
    def forward(ctx: Any, values: torch.Tensor, over_ranks: SumOverRanks) -> torch.Tensor:
        ctx.over_ranks = over_ranks
        return over_ranks(values)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
        return ctx.over_ranks(gradient.contiguous()), None


def _sum(values: torch.Tensor, over_ranks: SumOverRanks) -> torch.Tensor:
    total: torch.Tensor = _Sum.apply(values, over_ranks)  # type: ignore[no-untyped-call]
    return total


def synchronised(network: nn.Module, over_ranks: SumOverRanks) -> nn.Module:
    """``network`` with its batch norms over images taking their statistics from all ranks.

    ``over_ranks`` gives every rank the sum of all ranks' tensors, as a new one. Weights and names
    of the state stay. A network without batch norm comes back as it was.
    """
    for module in network.modules():
        if type(module) is nn.BatchNorm2d:
            module.__class__ = _SyncBatchNorm2d
            cast(_SyncBatchNorm2d, module).over_ranks = over_ranks
    return network


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
