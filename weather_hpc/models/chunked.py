"""Batch norm, tanh and mean pool as one, a chunk of images at a time, with torch alone, for CPUs.

Layer by layer, each writes tens of megabytes that the next one reads again. Here a chunk of the
batch passes all three while it is in the processor's caches. tanh is computed by torch's logistic
function, tanh(x) = 2 logistic(2x) - 1, which is several times as fast as its tanh.
Everything is float32; what is summed over the batch is added up in float64.
"""

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Self, cast

import torch
from torch import nn
from torch.autograd.function import once_differentiable

CHUNK = 1 << 18
"""Values of a chunk, at least those of one image: 1 MB, so that several fit a cache."""


class ChunkedSequential(nn.Sequential):
    """A sequence of layers trained in chunks; its results differ by rounding alone."""

    @classmethod
    def of(cls, network: nn.Sequential) -> Self:
        """The layers of ``network`` under their names: the same modules, not copies."""
        sequential = cls(OrderedDict(network.named_children()))
        sequential.training = network.training  # train() would set that of all layers
        return sequential

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """As nn.Sequential."""
        return apply_layers(list(self), values)


def chunk_layers(network: nn.Module) -> nn.Module:
    """``network`` as a ChunkedSequential where it is a plain sequence of layers on the CPU."""
    on_cpu = all(parameter.device.type == "cpu" for parameter in network.parameters())
    return ChunkedSequential.of(network) if type(network) is nn.Sequential and on_cpu else network


def apply_layers(layers: Sequence[nn.Module], values: torch.Tensor) -> torch.Tensor:
    """``values`` through ``layers``, one by one or, in training, three as one where they fit."""
    rest = iter(range(len(layers)))
    for index in rest:
        layer = layers[index]
        if _combinable(layers[index : index + 3], values):
            values = _norm_tanh_pool(*layers[index : index + 3], values)  # type: ignore[call-arg, arg-type]
            next(rest), next(rest)
        elif type(layer) is nn.Tanh and layer.training:
            values = cast(torch.Tensor, _Tanh.apply(values))  # type: ignore[no-untyped-call]
        else:
            values = layer(values)
    return values


def _combinable(layers: Sequence[nn.Module], values: torch.Tensor) -> bool:
    """Whether these are batch norm, tanh and mean pool in training, as computed here."""
    if [type(layer) for layer in layers] != [nn.BatchNorm2d, nn.Tanh, nn.AvgPool2d]:
        return False
    norm, pool = cast(nn.BatchNorm2d, layers[0]), cast(nn.AvgPool2d, layers[2])
    usual = norm.affine and norm.track_running_stats and norm.momentum is not None
    plain = repr(pool) == repr(nn.AvgPool2d(pool.kernel_size)) and isinstance(pool.kernel_size, int)
    fits = values.dtype == torch.float32 and values.is_contiguous() and len(values) > 1
    return norm.training and usual and plain and fits


@torch.no_grad()
def update_running_statistics(
    norm: nn.BatchNorm2d, mean: torch.Tensor, variance: torch.Tensor, count: int | torch.Tensor
) -> None:
    """Update the running statistics as torch's batch norm does: with the unbiased variance.

    ``mean`` and ``variance`` are of ``count`` values per channel.
    """
    unbiased = variance * (count / (count - 1))
    for buffer, value in ((norm.running_mean, mean), (norm.running_var, unbiased)):
        running = cast(torch.Tensor, buffer)
        running.lerp_(value.to(running.dtype), cast(float, norm.momentum))
    cast(torch.Tensor, norm.num_batches_tracked).add_(1)


def _norm_tanh_pool(
    norm: nn.BatchNorm2d, _: nn.Tanh, pool: nn.AvgPool2d, values: torch.Tensor
) -> torch.Tensor:
    mean, variance = _statistics(values.detach())
    update_running_statistics(norm, mean, variance, values.numel() // values.shape[1])
    batch = _Batch(mean, (variance + norm.eps).rsqrt(), cast(int, pool.kernel_size))
    pooled: torch.Tensor = _NormTanhPool.apply(  # type: ignore[no-untyped-call]
        values, norm.weight, norm.bias, batch
    )
    return pooled


@dataclass(frozen=True)
class _Batch:
    """What batch norm normalises by, float64 (channels,), and the side of the pool's cells."""

    mean: torch.Tensor
    inverse_deviation: torch.Tensor
    cell: int


def _chunks(images: torch.Tensor) -> Iterator[slice]:
    count = max(1, CHUNK // images[0].numel())
    for first in range(0, len(images), count):
        yield slice(first, min(first + count, len(images)))


def _by_channel(values: torch.Tensor) -> torch.Tensor:
    return values.float()[:, None, None]


def _sum(values: torch.Tensor) -> torch.Tensor:
    """Over all but the channels: float64 (channels,)."""
    return values.sum((2, 3)).sum(0, dtype=torch.float64)


def _statistics(values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and variance of each channel, float64.

    Relative to the first image's mean, so that a large mean does not hide a small variance.
    """
    centre = _by_channel(values[0].mean((1, 2)))
    total = torch.zeros(values.shape[1], dtype=torch.float64)
    squares = torch.zeros_like(total)
    for chunk in _chunks(values):
        apart = values[chunk] - centre
        total += _sum(apart)
        norms = torch.linalg.vector_norm(apart, dim=(2, 3)).double()
        squares += norms.square_().sum(0)
    count = values.numel() // values.shape[1]
    offset = total / count
    variance = (squares / count - offset.square()).clamp_min_(0.0)
    return centre.flatten().double() + offset, variance


class _NormTanhPool(torch.autograd.Function):
    """float32 (n, channels, side, side) -> (n, channels, cells, cells)."""

    @staticmethod
    def forward(
        ctx: Any, values: torch.Tensor, gain: torch.Tensor, offset: torch.Tensor, batch: _Batch
    ) -> torch.Tensor:
        scale = gain.double() * batch.inverse_deviation
        twice = _by_channel(2 * scale), _by_channel(2 * (offset.double() - batch.mean * scale))
        cell, (high, wide) = batch.cell, values.shape[2:]
        rows, columns = high // cell, wide // cell
        logistic = torch.empty_like(values)
        pooled = values.new_empty(*values.shape[:2], rows, columns)
        for chunk in _chunks(values):
            part = torch.addcmul(twice[1], values[chunk], twice[0], out=logistic[chunk]).sigmoid_()
            cells = part[:, :, : rows * cell, : columns * cell]
            strips = cells.unflatten(2, (rows, cell)).sum(3)  # type: ignore[no-untyped-call]
            torch.sum(strips.unflatten(3, (columns, cell)), 4, out=pooled[chunk])
        ctx.save_for_backward(values, logistic, scale)
        ctx.batch = batch
        return pooled.mul_(2 / cell**2).sub_(1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        values, logistic, scale = ctx.saved_tensors
        batch: _Batch = ctx.batch
        cell, (rows, columns) = batch.cell, gradient.shape[2:]
        mean = _by_channel(batch.mean)
        before_tanh = torch.empty_like(values)
        total = torch.zeros_like(batch.mean)
        about_mean = torch.zeros_like(batch.mean)
        for chunk in _chunks(values):
            part = torch.addcmul(
                logistic[chunk], logistic[chunk], logistic[chunk], value=-1, out=before_tanh[chunk]
            )
            wide = (gradient[chunk] * (4 / cell**2)).repeat_interleave(cell, 3)
            cells = part[:, :, : rows * cell, : columns * cell]
            cells.unflatten(2, (rows, cell)).mul_(wide[:, :, :, None])  # type: ignore[no-untyped-call]
            part[:, :, rows * cell :] = 0
            part[:, :, :, columns * cell :] = 0
            total += _sum(part)
            about_mean += _sum((values[chunk] - mean).mul_(part))
        of_gain = about_mean * batch.inverse_deviation
        count = values.numel() // values.shape[1]
        # how the batch's mean and deviation depend on each value
        slope = -scale * of_gain * batch.inverse_deviation / count
        constant = -scale * total / count - slope * batch.mean
        factors = [_by_channel(each) for each in (scale, slope, constant)]
        for chunk in _chunks(values):
            through_batch = torch.addcmul(factors[2], values[chunk], factors[1])
            part = before_tanh[chunk]
            torch.addcmul(through_batch, part, factors[0], out=part)
        return before_tanh, of_gain.float(), total.float(), None


class _Tanh(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: torch.Tensor) -> torch.Tensor:
        result = (values * 2).sigmoid_().mul_(2).sub_(1)
        ctx.save_for_backward(result)
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
        (result,) = ctx.saved_tensors
        return torch.ops.aten.tanh_backward(gradient, result)  # type: ignore[no-any-return]
