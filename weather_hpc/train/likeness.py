"""How far an image is from those that a network was trained with, against images held apart.

Two distances to the nearest training image: of the features that the network itself makes of them
(Sun et al. 2022, arXiv:2204.06507), and of what they look like, which shows noise, text and charts
that a network for photographs may not see. How many of the images held apart, which are of the
training images' kind, are as far away is the chance of marking an image of that kind wrongly
(conformal p-values: Bates et al. 2023, arXiv:2104.08279).
"""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import torch
from torch.nn.functional import avg_pool2d

Values = npt.NDArray[np.floating]

MOST_NEIGHBOURS = 4096
"""Training images that new ones are compared with: of more, a random choice."""

MEASURES = 2
"""Kinds of distance."""

SCALES = 4
"""Sizes at which differences of neighbouring pixels are measured, each half the one before."""

TINY = 1e-3


def appearance(images: torch.Tensor) -> torch.Tensor:
    """What ``images``, uint8 (n, side, side, 3), look like: float32 (n, 15).

    Mean and deviation of each channel, the share of pixels equal to their neighbour, and the
    logarithm of the mean difference of neighbours across and down at several sizes.
    """
    colours = images.permute(0, 3, 1, 2).float() / 255
    grey = colours.mean(1, keepdim=True)
    same = (grey[..., 1:] == grey[..., :-1]).float().mean((2, 3))
    parts = [colours.mean((2, 3)), colours.std((2, 3)), same]
    for _ in range(SCALES):
        across = (grey[..., 1:] - grey[..., :-1]).abs().mean((2, 3))
        down = (grey[..., 1:, :] - grey[..., :-1, :]).abs().mean((2, 3))
        parts += [(across + TINY).log(), (down + TINY).log()]
        if grey.shape[-1] >= 4:
            grey = avg_pool2d(grey, 2)
    return torch.cat(parts, dim=1).cpu()


def farther(distances: torch.Tensor, held_apart: torch.Tensor) -> Values:
    """For each of ``distances`` the share of ``held_apart`` (sorted) that is at least as far.

    (n,). It counts itself: with m images held apart the share is at least 1 / (m + 1).
    """
    count = len(held_apart)
    nearer = torch.searchsorted(held_apart, distances.contiguous())
    result: Values = ((1 + count - nearer) / (count + 1)).numpy()
    return result


@dataclass(frozen=True)
class Likeness:
    """The training images' features and looks, and the distances of images held apart to them."""

    features: torch.Tensor
    """Of training images: float16 (neighbours, features), unit length."""
    looks: torch.Tensor
    """The same images': float32 (neighbours, 15), each divided by ``scale``."""
    scale: torch.Tensor
    """Deviation of each number of :func:`appearance` over training images."""
    feature_distances: torch.Tensor
    """Of images held apart, sorted."""
    look_distances: torch.Tensor
    """The same."""

    @classmethod
    def of(
        cls, training: tuple[torch.Tensor, torch.Tensor], apart: tuple[torch.Tensor, torch.Tensor]
    ) -> Self:
        """From (features, :func:`appearance`) of training images and of images held apart."""
        features, looks = training
        scale = looks.std(0) + TINY
        empty = torch.empty(0)
        known = cls(features.half(), looks / scale, scale, empty, empty)
        distances = [one.sort().values for one in known._distances(*apart)]
        return cls(known.features, known.looks, scale, *distances)

    def chance(self, features: torch.Tensor, looks: torch.Tensor) -> Values:
        """The chance that an image of the training images' kind is as far from them: (n,), 0..1.

        ``features`` have unit length, ``looks`` are from :func:`appearance`. That of the more
        unusual distance, times the number of distances (Bonferroni).
        """
        measured = self._distances(features, looks)
        known = (self.feature_distances, self.look_distances)
        chances = [farther(*pair) for pair in zip(measured, known, strict=True)]
        result: Values = np.minimum(MEASURES * np.minimum(*chances), 1.0)
        return result

    def _distances(self, features: torch.Tensor, looks: torch.Tensor) -> tuple[torch.Tensor, ...]:
        cosine = 1 - (features @ self.features.float().T).max(1).values
        apart = torch.cdist(looks / self.scale, self.looks).min(1).values
        return cosine, apart

    def state(self) -> dict[str, Any]:
        """As a checkpoint holds it."""
        return vars(self).copy()
