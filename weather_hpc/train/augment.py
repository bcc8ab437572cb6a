"""Random changes of training images, the same for an image whatever rank it falls to."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from weather_hpc.study.recipe import Augmentation
from weather_hpc.train.loader import Rows

AUGMENT = 3
"""Keeps this random stream of a seed apart from the loader's."""

# Weights of red, green and blue in brightness: ITU-R BT.601.
LUMA = (0.299, 0.587, 0.114)

WHITE = 255

Numbers = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Draw:
    """Uniform numbers of every image of one epoch: float32 (rows of the store, 6), 0..1."""

    numbers: Numbers

    @classmethod
    def of(cls, images: int, seed: int, epoch: int) -> "Draw":
        """Those of ``images`` rows in ``epoch``: a function of seed and epoch alone."""
        generator = np.random.default_rng([seed, AUGMENT, epoch])
        return cls(generator.random((images, 6), dtype=np.float32))


def augment(images: torch.Tensor, rows: Rows, draw: Draw, how: Augmentation) -> torch.Tensor:
    """``images``, uint8 (n, side, side, 3) as stored, of ``rows``, changed at random.

    The shifted picture's rim is mirrored; colours end at black and white.
    """
    own = draw.numbers[rows]
    if how.flip or how.shift:
        images = _moved(images, own, how)
    if how.saturation or how.contrast or how.brightness:
        images = _recoloured(images, torch.from_numpy(own).to(images.device), how)
    return images


def _moved(images: torch.Tensor, own: Numbers, how: Augmentation) -> torch.Tensor:
    """Flipped and shifted: rows and columns of pixels are chosen, none is computed."""
    side = images.shape[1]
    largest = round(how.shift * side)
    shifts = np.minimum((own[:, 1:3] * (2 * largest + 1)).astype(int), 2 * largest) - largest
    high, wide = _mirrored(np.arange(side) + shifts[:, :, None], side).swapaxes(0, 1)
    if how.flip:
        wide = np.where(own[:, :1] < 0.5, wide[:, ::-1], wide)
    chosen = torch.from_numpy(np.stack([high, wide])).to(images.device)
    moved = torch.empty_like(images)
    # image by image: on a CPU four times as fast as all of them by one index of three dimensions
    for image, ys, xs, out in zip(images, *chosen, moved, strict=True):
        torch.index_select(image.index_select(0, ys), 1, xs, out=out)
    return moved


def _mirrored(places: npt.NDArray[np.int64], side: int) -> npt.NDArray[np.int64]:
    """``places`` up to a side beyond 0..side-1, as if the rim were a mirror."""
    places = np.abs(places)
    return np.where(places < side, places, 2 * (side - 1) - places)


def _recoloured(images: torch.Tensor, own: torch.Tensor, how: Augmentation) -> torch.Tensor:
    """Each image's pixels times one matrix, plus one number: what all the changes come to."""
    pixels = images.flatten(1, 2).float()
    either = (own * 2 - 1)[:, :, None, None]
    to_grey = pixels.new_tensor(LUMA)[:, None].expand(3, 3)
    itself = torch.eye(3, device=pixels.device)
    saturated = torch.lerp(to_grey, itself, 1 + how.saturation * either[:, 3])
    # around each image's own mean, which a change of contrast alone then keeps
    mean = (pixels.mean(1, keepdim=True) @ saturated).mean(2, keepdim=True)
    contrast = 1 + how.contrast * either[:, 4]
    step = mean * (1 - contrast) + WHITE * how.brightness * either[:, 5]
    changed = torch.baddbmm(step.expand(-1, 1, 3), pixels, saturated * contrast)
    return changed.round_().clamp_(0, WHITE).to(torch.uint8).view_as(images)
