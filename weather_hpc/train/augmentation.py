"""Random changes of training images, the same for an image whichever rank computes it."""

import numpy as np
import numpy.typing as npt
import torch

from weather_hpc.study.recipe import Augmentation

AUGMENT = 3
"""Separates this random stream of a seed from the loader's."""


# Weights of red, green and blue in brightness: ITU-R BT.601.
LUMA = (0.299, 0.587, 0.114)


WHITE = 255


Numbers = npt.NDArray[np.float32]


def random_numbers(images: int, seed: int, epoch: int) -> Numbers:
    """Uniform numbers for each of a store's ``images`` in ``epoch``: float32 (images, 6), 0..1.

    A function of seed and epoch alone.
    """
    generator = np.random.default_rng([seed, AUGMENT, epoch])
    return generator.random((images, 6), dtype=np.float32)


def augment(images: torch.Tensor, numbers: torch.Tensor, how: Augmentation) -> torch.Tensor:
    """``images``, uint8 (n, side, side, 3) as stored, changed by their ``numbers``, (n, 6).

    Both are on one device; the host does not wait for it. A shifted image is mirrored at its edges;
    colours are clipped to black and white.
    """
    if how.flip or how.shift:
        images = _shifted(images, numbers, how)
    if how.saturation or how.contrast or how.brightness:
        images = _recoloured(images, numbers, how)
    return images


def _shifted(images: torch.Tensor, numbers: torch.Tensor, how: Augmentation) -> torch.Tensor:
    """Flipped and shifted: rows and columns of pixels are selected, none is computed."""
    side = images.shape[1]
    largest = round(how.shift * side)
    shifts = (numbers[:, 1:3] * (2 * largest + 1)).long().clamp_max(2 * largest) - largest
    places = torch.arange(side, device=images.device) + shifts[:, :, None]
    high, wide = _mirrored(places, side).unbind(1)
    if how.flip:
        wide = torch.where(numbers[:, :1] < 0.5, wide.flip(1), wide)
    if images.device.type != "cpu":
        image = torch.arange(len(images), device=images.device)
        return images[image[:, None, None], high[:, :, None], wide[:, None, :]]
    moved = torch.empty_like(images)
    # image by image: on a CPU four times as fast as one three-dimensional index for all
    for picture, ys, xs, out in zip(images, high, wide, moved, strict=True):
        torch.index_select(picture.index_select(0, ys), 1, xs, out=out)
    return moved


def _mirrored(places: torch.Tensor, side: int) -> torch.Tensor:
    """``places`` up to one side beyond 0..side-1, mirrored at the edges."""
    places = places.abs()
    return torch.where(places < side, places, 2 * (side - 1) - places)


def _recoloured(images: torch.Tensor, numbers: torch.Tensor, how: Augmentation) -> torch.Tensor:
    """Each image's pixels times one matrix plus one number: all changes of colour together."""
    pixels = images.flatten(1, 2).float()
    either = (numbers * 2 - 1)[:, :, None, None]
    # filled on the device: a copy from the host would make the host wait
    to_grey = torch.stack([pixels.new_full((3,), weight) for weight in LUMA])
    itself = torch.eye(3, device=pixels.device)
    saturated = torch.lerp(to_grey, itself, 1 + how.saturation * either[:, 3])
    # around each image's own mean, which a change of contrast alone then keeps
    mean = (pixels.mean(1, keepdim=True) @ saturated).mean(2, keepdim=True)
    contrast = 1 + how.contrast * either[:, 4]
    step = mean * (1 - contrast) + WHITE * how.brightness * either[:, 5]
    changed = torch.baddbmm(step.expand(-1, 1, 3), pixels, saturated * contrast)
    return changed.round_().clamp_(0, WHITE).to(torch.uint8).view_as(images)
