"""The first layers of the paper's network as one: convolution, batch norm, tanh and mean pool.

They take most of a training step on a CPU, because their outputs are far larger than the caches.
``fused.cpp`` reads each image once per pass instead. Batch norm needs the mean and variance of the
convolution's output before that. Both follow from the pixels under the
kernel (a patch x of 48 values with mean m and covariance C over the batch): an output w x + b has
the mean w m + b and the variance w C w'. The gradient of the weights needs the same m and C, and of
the images only the sum of slope times gradient times patch.

All in float32, with sums in integers or float64; weights and state keep their names.
"""

import os
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.autograd.function import once_differentiable

from weather_hpc.errors import FailedError
from weather_hpc.models.chunked import ChunkedSequential, apply_layers, update_running_statistics
from weather_hpc.models.fused_build import SWITCH, kernels

CHANNELS, TAPS, KERNEL, POOL = 6, 48, 4, 5
FUSED = 4
"""How many layers of the network are fused."""

MOST_KNOWN = 10_000
"""Images whose moments are cached: 190 MB."""

HALF_RANGE = 127.5
"""Pixels are divided by it, less 1: -1..1, as in all networks."""


class FusedNetwork(ChunkedSequential):
    """paper_cnn for stored pixels: uint8 (images, side, side, 3), on the CPU.

    For float32 (images, 3, side, side) in -1..1 it computes layer by layer.
    """

    conv1: nn.Conv2d
    norm1: nn.BatchNorm2d

    def __init__(self, *layers: Any) -> None:
        super().__init__(*layers)
        self.moments = Moments()
        self.spare: list[torch.Tensor] = []
        """The previous step's buffer, if any: a new one would cause a page fault per page."""
        self._rows: npt.NDArray[np.int64] | None = None

    def set_rows(self, rows: npt.NDArray[np.int64]) -> None:
        """Number the images of the next forward pass: (images,).

        For images whose pixels are the same in every epoch: what depends on the pixels alone is
        then computed once.
        """
        self._rows = rows

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits (images, classes)."""
        if images.dtype != torch.uint8:
            return super().forward(images)
        return apply_layers(list(self)[FUSED:], self._first_layers(images.contiguous()))

    def _first_layers(self, images: torch.Tensor) -> torch.Tensor:
        conv, norm = self.conv1, self.norm1
        rows, self._rows = self._rows, None
        if norm.training:
            patches = _patches(images, self.moments, rows)
            mean, variance = _output_statistics(patches, conv)
            update_running_statistics(norm, mean, variance, patches.count)
        else:
            patches = None
            mean, variance = _running_statistics(norm)
        statistics = _Statistics(mean, (variance + norm.eps).rsqrt(), patches)
        pooled: torch.Tensor = _FirstLayers.apply(  # type: ignore[no-untyped-call]
            conv.weight, conv.bias, norm.weight, norm.bias, images, statistics, self.spare
        )
        return pooled


def fuse(network: nn.Module) -> tuple[nn.Module, str | None]:
    """``network`` as a FusedNetwork of the same layers, where it is paper_cnn on the CPU.

    With it ``on``, or ``off`` and the reason where the fused layers cannot be built or are
    disabled (the variable that SWITCH names is ``off``); None for any other network.
    """
    if type(network) is not nn.Sequential or not _starts_like_paper_cnn(network):
        return network, None
    if os.environ.get(SWITCH) == "off":
        return network, "off"
    try:
        kernels()
    except FailedError as error:
        return network, f"off: {error}"
    return FusedNetwork.of(network), "on"


def _starts_like_paper_cnn(network: nn.Sequential) -> bool:
    """Whether the fused layers compute the same. Batch norm over all ranks is of another type."""
    if next(network.parameters()).device.type != "cpu":
        return False
    ours = nn.Sequential(
        OrderedDict(
            conv1=nn.Conv2d(3, CHANNELS, KERNEL),
            norm1=nn.BatchNorm2d(CHANNELS),
            tanh1=nn.Tanh(),
            pool1=nn.AvgPool2d(POOL),
        )
    )
    return repr(network[:FUSED]) == repr(ours)


@dataclass(frozen=True)
class _Patches:
    """``count`` patches, pixels in -1..1: mean (48,) and covariance (48, 48), float64."""

    count: int
    mean: torch.Tensor
    covariance: torch.Tensor


@dataclass(frozen=True)
class _Statistics:
    """What batch norm normalises by, float64 (6,); ``patches`` where it is the batch's own."""

    mean: torch.Tensor
    inverse_deviation: torch.Tensor
    patches: _Patches | None


class Moments:
    """Sums of taps (48) and of products of two (48 x 48) over each image's patches, int64.

    They depend only on pixels, so those of numbered images are cached, 19 KB each.
    """

    def __init__(self) -> None:
        # allocated once: parts of it among the buffers of steps would fragment the memory that
        # steps reuse. Pages take memory only once they are written
        self._known = torch.empty(MOST_KNOWN, TAPS, TAPS + 1, dtype=torch.int64)
        self._index: dict[int, int] = {}
        """Index in it of each cached image, by the image's number."""

    def of(self, images: torch.Tensor, rows: npt.NDArray[np.int64] | None) -> torch.Tensor:
        """int64 (48, 49): the totals over ``images``, with the sums in the last column."""
        if rows is None:
            return self._computed(images).sum(0)
        numbers = rows.tolist()
        missing = [index for index, row in enumerate(numbers) if row not in self._index]
        total = torch.zeros(TAPS, TAPS + 1, dtype=torch.int64)
        known = [self._index[row] for row in numbers if row in self._index]
        if known:
            total += self._known[known].sum(0)
        if missing:
            new = self._computed(images if len(missing) == len(images) else images[missing])
            total += new.sum(0)
            self._store([numbers[index] for index in missing], new)
        return total

    def exchange(self, gather: Callable[[torch.Tensor], torch.Tensor]) -> None:
        """Exchange cached moments with other ranks.

        ``gather`` concatenates all ranks' tensors along the first dimension. Collective.
        """
        own = torch.tensor(list(self._index), dtype=torch.int64)
        rows = gather(own)
        self._store(rows.tolist(), gather(self._known[: len(own)]))

    def _store(self, rows: list[int], moments: torch.Tensor) -> None:
        for row, one in zip(rows, moments, strict=True):
            place = len(self._index)
            if row not in self._index and place < MOST_KNOWN:
                self._known[place] = one
                self._index[row] = place

    def _computed(self, images: torch.Tensor) -> torch.Tensor:
        sums = torch.empty(len(images), TAPS, dtype=torch.int64)
        products = torch.empty(len(images), TAPS, TAPS, dtype=torch.int64)
        kernels().call("moments", images, sums, products)
        return torch.cat([products, sums[:, :, None]], 2)


def _patches(
    images: torch.Tensor, moments: Moments, rows: npt.NDArray[np.int64] | None = None
) -> _Patches:
    number, side = images.shape[:2]
    together = moments.of(images, rows).double()
    count = number * (side - KERNEL + 1) ** 2
    mean = together[:, TAPS] / count
    covariance = together[:, :TAPS] / count - mean.outer(mean)
    return _Patches(count, mean / HALF_RANGE - 1, covariance / HALF_RANGE**2)


@torch.no_grad()
def _output_statistics(patches: _Patches, conv: nn.Conv2d) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and variance, float64 (6,), of the convolution's output."""
    weight = _rows(conv.weight)
    mean = weight @ patches.mean + cast(torch.Tensor, conv.bias)
    return mean, ((weight @ patches.covariance) * weight).sum(1)


def _running_statistics(norm: nn.BatchNorm2d) -> tuple[torch.Tensor, torch.Tensor]:
    running = cast(torch.Tensor, norm.running_mean), cast(torch.Tensor, norm.running_var)
    return running[0].double(), running[1].double()


def _rows(weight: torch.Tensor) -> torch.Tensor:
    """A kernel's weights as float64 (6, 48)."""
    return weight.detach().double().reshape(CHANNELS, TAPS)


class _FirstLayers(torch.autograd.Function):
    """uint8 (n, side, side, 3) -> float32 (n, 6, cells, cells), laid out channels last."""

    @staticmethod
    def forward(
        ctx: Any,
        weight: torch.Tensor,
        bias: torch.Tensor,
        gain: torch.Tensor,
        offset: torch.Tensor,
        images: torch.Tensor,
        statistics: _Statistics,
        spare: list[torch.Tensor],
    ) -> torch.Tensor:
        number, side = images.shape[:2]
        cells = (side - KERNEL + 1) // POOL
        scale = gain.double() * statistics.inverse_deviation
        scaled = (_rows(weight) * scale[:, None]).T.float().contiguous()
        shift = ((bias - statistics.mean) * scale + offset).float()
        pooled = torch.empty(number, cells, cells, CHANNELS)
        slopes = None
        if any(ctx.needs_input_grad):
            slopes = _buffer(number * kernels().slopes_of_image(side), spare)
        kernels().call("forward", images, scaled, shift, pooled, slopes)
        ctx.save_for_backward(weight, bias, scale, images)
        ctx.statistics, ctx.slopes, ctx.spare = statistics, slopes, spare
        return pooled.permute(0, 3, 1, 2)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        weight, bias, scale, images = ctx.saved_tensors
        statistics: _Statistics = ctx.statistics
        slopes, ctx.slopes = ctx.slopes, None
        if slopes is None:
            raise RuntimeError("the fused first layers go backward once per forward pass")
        number = len(images)
        products = torch.empty(number, CHANNELS, TAPS, dtype=torch.float64)
        sums = torch.empty(number, CHANNELS, dtype=torch.float64)
        pooled = gradient.permute(0, 2, 3, 1).contiguous()
        kernels().call("backward", images, slopes, pooled, products, sums)
        ctx.spare[:] = [slopes]
        # of the gradient of batch norm's output: its sum, and its products with the patches
        total, by_tap = sums.sum(0), products.sum(0)
        rows = _rows(weight)
        about_mean = (rows * by_tap).sum(1) + (bias - statistics.mean) * total
        of_gain = about_mean * statistics.inverse_deviation
        if statistics.patches is None:
            of_bias = scale * total
        else:
            # the batch's mean and deviation depend on the weights too; the mean cancels the bias
            of_bias = torch.zeros_like(total)
            through_deviation = (of_gain * statistics.inverse_deviation)[:, None] * (
                rows @ statistics.patches.covariance
            )
            by_tap = by_tap - total.outer(statistics.patches.mean) - through_deviation
        of_weight = (scale[:, None] * by_tap).reshape(weight.shape)
        return of_weight.float(), of_bias.float(), of_gain.float(), total.float(), None, None, None


def _buffer(values: int, spare: list[torch.Tensor]) -> torch.Tensor:
    """A buffer of at least ``values`` float32: the spare one, where it is large enough."""
    kept = spare.pop() if spare else torch.empty(0)
    return kept if len(kept) >= values else torch.empty(values)
