"""Random changes of training images, the same for an image whatever rank it falls to."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch.nn.functional import pad

from weather_hpc.study.recipe import Augmentation
from weather_hpc.train.loader import Rows

AUGMENT = 3
"""Keeps this random stream of a seed apart from the loader's."""

# Weights of red, green and blue in brightness: ITU-R BT.601.
LUMA = (0.299, 0.587, 0.114)


@dataclass(frozen=True)
class Draw:
    """Uniform numbers of every image of one epoch: float32 (rows of the store, 6), 0..1."""

    numbers: npt.NDArray[np.float32]

    @classmethod
    def of(cls, images: int, seed: int, epoch: int) -> "Draw":
        """Those of ``images`` rows in ``epoch``: a function of seed and epoch alone."""
        generator = np.random.default_rng([seed, AUGMENT, epoch])
        return cls(generator.random((images, 6), dtype=np.float32))


def augment(images: torch.Tensor, rows: Rows, draw: Draw, how: Augmentation) -> torch.Tensor:
    """``images``, float32 (n, 3, side, side) in -1..1, of ``rows``, changed at random.

    The shifted picture's rim is mirrored. Values may leave -1..1 a little.
    """
    own = torch.from_numpy(draw.numbers[rows]).to(images.device)
    if how.flip:
        images = torch.where((own[:, 0] < 0.5)[:, None, None, None], images.flip(3), images)
    if how.shift:
        images = _shift(images, own[:, 1:3].cpu().numpy(), how.shift)
    either = own * 2 - 1
    if how.saturation:
        grey = (images * images.new_tensor(LUMA)[:, None, None]).sum(1, keepdim=True)
        images = torch.lerp(grey, images, _column(1 + how.saturation * either[:, 3]))
    if how.contrast or how.brightness:
        # around each image's own mean, which a change of contrast alone then keeps
        mean = images.mean((1, 2, 3), keepdim=True)
        factor = _column(1 + how.contrast * either[:, 4])
        images = (images - mean) * factor + (mean + 2 * how.brightness * _column(either[:, 5]))
    return images


def _shift(images: torch.Tensor, shares: npt.NDArray[np.float32], largest: float) -> torch.Tensor:
    side = images.shape[-1]
    rim = round(largest * side)
    if not rim:
        return images
    padded = pad(images, (rim,) * 4, mode="reflect")
    corners = np.minimum((shares * (2 * rim + 1)).astype(int), 2 * rim)
    return torch.stack(
        [padded[i, :, y : y + side, x : x + side] for i, (y, x) in enumerate(corners)]
    )


def _column(values: torch.Tensor) -> torch.Tensor:
    return values[:, None, None, None]
