"""Layers of a network that several ranks train: batch norm and dropout over all ranks' images.

They replace torch's own layers in a network and take over their parameters, buffers and names, so
a checkpoint of either fits the other.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from weather_hpc.models.chunked import update_running_statistics

SumOverRanks = Callable[[torch.Tensor], torch.Tensor]
"""Gives every rank the sum of all ranks' tensors, as a new one. Collective."""


def replace_layers(
    network: nn.Module, kind: type[nn.Module], replacement: Callable[[Any], nn.Module]
) -> nn.Module:
    """``network`` with a ``replacement`` of each of its layers that is exactly a ``kind``.

    Changed in place, except where ``network`` itself is such a layer. A layer that occurs several
    times has one replacement.
    """
    made: dict[nn.Module, nn.Module] = {}
    for name, layer in list(network.named_modules(remove_duplicate=False)):
        if type(layer) is not kind:
            continue
        if layer not in made:
            made[layer] = replacement(layer).train(layer.training)
        parent, _, own = name.rpartition(".")
        if not own:
            return made[layer]
        setattr(network.get_submodule(parent), own, made[layer])
    return network


class SyncBatchNorm2d(nn.BatchNorm2d):
    """Training: the mean and variance of every rank's images together, gradients included.

    On CPUs too: torch's SyncBatchNorm is for GPUs only.
    """

    def __init__(self, norm: nn.BatchNorm2d, sum_over_ranks: SumOverRanks) -> None:
        """In place of ``norm``, whose parameters and running statistics it takes over."""
        super().__init__(
            norm.num_features, norm.eps, norm.momentum, norm.affine, norm.track_running_stats
        )
        self.weight, self.bias = norm.weight, norm.bias
        self.running_mean, self.running_var = norm.running_mean, norm.running_var
        self.num_batches_tracked = norm.num_batches_tracked
        self.sum_over_ranks = sum_over_ranks

    def forward(self, input: torch.Tensor) -> torch.Tensor:  # noqa: A002 - torch's own name
        """(images, channels, height, width) -> the same shape, normalised. Collective."""
        if not self.training:
            return super().forward(input)
        count, mean, variance = _statistics(input.float(), self.sum_over_ranks)
        if self.running_mean is not None and self.momentum is not None:
            update_running_statistics(self, mean, variance, count)
        scale = (variance + self.eps).rsqrt()
        if self.affine:
            scale = scale * self.weight
        shift = -mean * scale
        if self.affine:
            shift = shift + self.bias
        normalised = input * scale[:, None, None] + shift[:, None, None]
        return normalised.to(input.dtype)  # which is less than float32 within autocast


def _statistics(
    images: torch.Tensor, sum_over_ranks: SumOverRanks
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Values per channel of the float32 ``images`` on all ranks, their mean, and their variance.

    Two exchanges, since a sum of squares would lose what the mean leaves over.
    """
    # filled on the device: a number from the host would make the host wait
    own = images.new_full((1,), images.numel() // images.shape[1])
    sums = _sum(torch.cat([images.sum((0, 2, 3)), own]), sum_over_ranks)
    count = sums[-1].detach()
    mean = sums[:-1] / count
    squares = _sum((images - mean[:, None, None]).square().sum((0, 2, 3)), sum_over_ranks)
    return count, mean, squares / count


class _Sum(torch.autograd.Function):
    """Over all ranks: every rank's value has its share in every rank's result."""

    @staticmethod
    def forward(ctx: Any, values: torch.Tensor, sum_over_ranks: SumOverRanks) -> torch.Tensor:
        ctx.sum_over_ranks = sum_over_ranks
        return sum_over_ranks(values)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
        return ctx.sum_over_ranks(gradient.contiguous()), None


def _sum(values: torch.Tensor, sum_over_ranks: SumOverRanks) -> torch.Tensor:
    total: torch.Tensor = _Sum.apply(values, sum_over_ranks)  # type: ignore[no-untyped-call]
    return total


class StepShare:
    """Which images of the current step are this rank's."""

    def __init__(self) -> None:
        self.first = 0
        """Index of this rank's first image within the step."""
        self.step_images = 0
        """Images of the step on all ranks."""

    def begin_step(self, first: int, step_images: int) -> None:
        """A step of ``step_images`` begins; this rank's images start at index ``first``."""
        self.first, self.step_images = first, step_images


class SharedDropout(nn.Dropout):
    """Draws the masks of all ranks' images and uses its own: ranks draw from equal streams.

    What is dropped does not depend on how many ranks share the images of a step.
    """

    def __init__(self, dropout: nn.Dropout, share: StepShare) -> None:
        """In place of ``dropout``, for this rank's ``share`` of each step."""
        super().__init__(dropout.p, dropout.inplace)
        self.share = share

    def forward(self, input: torch.Tensor) -> torch.Tensor:  # noqa: A002 - torch's own name
        """(images of this rank, ...) -> the same shape."""
        if not self.training or self.p in (0.0, 1.0):
            return super().forward(input)
        keep, share = 1 - self.p, self.share
        mask = input.new_empty(share.step_images, *input.shape[1:]).bernoulli_(keep).div_(keep)
        return input * mask[share.first : share.first + len(input)]
