"""Batch norm over all ranks' images, on CPUs too: torch's SyncBatchNorm works on GPUs only."""

from collections.abc import Callable
from typing import Any, cast

import torch
from torch import nn

from weather_hpc.models.pieces import track

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
