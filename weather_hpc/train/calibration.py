"""What images held apart from training tell: how far to trust a probability, and what is unlike.

They are of the training images' kind, but the network never saw them: how sure it is of them, and
how far they are from those that it saw, is what to expect of new images of that kind.
"""

import math
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from weather_hpc.dataset.store import Store
from weather_hpc.models.head import FeatureTap, head_of
from weather_hpc.train.likeness import MEASURES, MOST_NEIGHBOURS, Likeness, appearance
from weather_hpc.train.loader import Rows, network_input, pixels

Shares = npt.NDArray[np.floating]
"""Probabilities, (images, classes)."""

COLDEST, HOTTEST = 0.1, 10.0
"""Range of temperatures."""

PRIOR = 0.5
"""Deviation of a temperature's logarithm that is expected of networks."""

CLOSE = 1e-4
GOLDEN = (math.sqrt(5) - 1) / 2

SMALLEST = 1e-12
"""Probabilities below count as this much: 0 has no logarithm."""


@dataclass(frozen=True)
class Answer:
    """What a network makes of images."""

    shares: Shares
    """Their probabilities as the network gives them."""
    features: torch.Tensor
    """What its last layer was given: float32 (images, features), unit length."""
    looks: torch.Tensor
    """Their :func:`~weather_hpc.train.likeness.appearance`."""


@torch.no_grad()
def answer(network: nn.Module, classes: int, images: torch.Tensor) -> Answer:
    """What ``network`` makes of ``images``, uint8 (n, side, side, 3) on its device."""
    with FeatureTap(head_of(network, classes)) as tap:
        shares = _shares(network, images)
        features = nn.functional.normalize(tap.features).cpu()
    return Answer(shares, features, appearance(images))


@torch.no_grad()
def mirrored(network: nn.Module, images: torch.Tensor) -> Shares:
    """The probabilities of ``images`` flipped left to right."""
    return _shares(network, images.flip(2))


def _shares(network: nn.Module, images: torch.Tensor) -> Shares:
    logits: torch.Tensor = network(network_input(images))
    shares: Shares = logits.float().softmax(1).cpu().numpy()
    return shares


def tempered(shares: Shares, temperature: float) -> Shares:
    """``shares`` with their logarithms divided by ``temperature``: above 1 it makes them less sure.

    Guo et al. 2017, arXiv:1706.04599. The order of the classes stays.
    """
    logs = np.log(np.maximum(shares, SMALLEST)) / temperature
    powers = np.exp(logs - logs.max(1, keepdims=True))
    result: Shares = powers / powers.sum(1, keepdims=True)
    return result


def log_loss(shares: Shares, labels: npt.NDArray[np.integer]) -> float:
    """The mean negative logarithm of the true classes' probabilities."""
    return float(-np.log(np.maximum(shares[np.arange(len(labels)), labels], SMALLEST)).mean())


def fit_temperature(shares: Shares, labels: npt.NDArray[np.integer]) -> float:
    """The temperature that makes ``labels`` the most probable.

    Its logarithm is taken to be about 0 beforehand (normal, deviation :data:`PRIOR`), so that few
    images, or some that are all classified correctly, do not move it far.
    """

    def loss(exponent: float) -> float:
        fitted = log_loss(tempered(shares, math.exp(exponent)), labels) * len(labels)
        return fitted + (exponent / PRIOR) ** 2 / 2

    low, high = math.log(COLDEST), math.log(HOTTEST)
    while high - low > CLOSE:  # golden-section search
        step = GOLDEN * (high - low)
        low, high = (
            (low, low + step) if loss(high - step) < loss(low + step) else (high - step, high)
        )
    return math.exp((low + high) / 2)


@dataclass(frozen=True)
class Calibration:
    """What was found with the images held apart."""

    images: int
    """Number of images held apart."""
    temperature: float
    """For the probabilities of images as they are."""
    averaged_temperature: float
    """For the mean of an image's probabilities and those of its mirror image."""
    likeness: Likeness

    @property
    def least_chance(self) -> float:
        """The least that :meth:`~.likeness.Likeness.chance` can be with so few images."""
        return MEASURES / (self.images + 1)

    def state(self) -> dict[str, Any]:
        """As a checkpoint holds it: plain values and tensors."""
        return vars(self) | {"likeness": self.likeness.state()}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        """What :meth:`state` gave. Raises TypeError where it is another thing."""
        return cls(**state | {"likeness": Likeness(**state["likeness"])})


def calibrate(
    network: nn.Module, store: Store, trained: Rows, apart: Rows, batch_size: int, seed: int
) -> Calibration:
    """The calibration of ``network``, trained with the rows ``trained``, by the rows ``apart``.

    The network is evaluated on both (of many, on some) and left in evaluation mode. The images of
    ``apart`` must not have been used for anything else.
    """
    network.eval()
    device = next(network.parameters()).device
    classes = len(store.classes)

    def answers(rows: Rows, *, flips: bool = False) -> tuple[Answer, Shares]:
        found, flipped = [], []
        for first in range(0, len(rows), batch_size):
            images = pixels(store, rows[first : first + batch_size]).to(device)
            found.append(answer(network, classes, images))
            flipped.append(mirrored(network, images) if flips else found[-1].shares)
        whole = Answer(
            np.concatenate([one.shares for one in found]),
            torch.cat([one.features for one in found]),
            torch.cat([one.looks for one in found]),
        )
        return whole, np.concatenate(flipped)

    if len(trained) > MOST_NEIGHBOURS:
        trained = np.random.default_rng(seed).choice(trained, MOST_NEIGHBOURS, replace=False)
    known, _ = answers(trained)
    new, flipped = answers(apart, flips=True)
    labels = store.labels[apart]
    return Calibration(
        images=len(apart),
        temperature=fit_temperature(new.shares, labels),
        averaged_temperature=fit_temperature((new.shares + flipped) / 2, labels),
        likeness=Likeness.of((known.features, known.looks), (new.features, new.looks)),
    )
