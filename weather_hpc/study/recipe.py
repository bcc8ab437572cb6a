"""Training recipes: optimizer, schedule, augmentation. Named, so that a study can compare them."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from weather_hpc.study.networks import PACKAGED


class Optimizer(StrEnum):
    """The optimizers that recipes use; ``muon`` is ours, for kernels, with AdamW for the rest.

    ``lbfgs`` fits the last layer alone, on what the others, which stay as they are, make of images.
    """

    ADAM = "adam"
    ADAMW = "adamw"
    MUON = "muon"
    LBFGS = "lbfgs"


class Schedule(StrEnum):
    """``one-cycle``: up to the learning rate in the first steps, then down to 0 by a cosine."""

    CONSTANT = "constant"
    ONE_CYCLE = "one-cycle"


RISING = 0.15
"""Share of all steps in which a one-cycle schedule rises."""


@dataclass(frozen=True)
class Augmentation:
    """Random changes of training images, different in every epoch; 0 and False: none.

    Shares are of the image's side (shift) or of the full range of values (brightness); contrast
    and saturation are stretched by up to this share.
    """

    flip: bool = False
    shift: float = 0.0
    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0


@dataclass(frozen=True)
class Recipe:
    """A training recipe: all settings but data, network, batch size, epochs and seed."""

    text: str
    optimizer: Optimizer
    learning_rate: float
    """The largest learning rate, unless the run sets its own."""
    weight_decay: float = 0.0
    schedule: Schedule = Schedule.CONSTANT
    label_smoothing: float = 0.0
    averaging: float | None = None
    """Share of the old weights that their moving average keeps at each step; None: no average.
    Where there is one, it is what is evaluated and what predicts."""
    augmentation: Augmentation = Augmentation()
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Settings of a run that a command line or study file gets where it does not give its own."""

    @property
    def fits_head(self) -> bool:
        """Whether only the last layer is fitted, without steps."""
        return self.optimizer is Optimizer.LBFGS

    @property
    def augments(self) -> bool:
        """Whether images are changed at random, differently in every epoch."""
        return self.augmentation != Augmentation()

    def learning_rate_at(self, step: int, steps: int, peak: float | None = None) -> float:
        """The learning rate of the ``step``-th of ``steps`` steps, from 0; ``peak``: of the run."""
        peak = self.learning_rate if peak is None else peak
        if self.schedule is Schedule.CONSTANT:
            return peak
        rising = max(1, round(RISING * steps))
        if step < rising:
            return peak * (step + 1) / rising
        return peak * (1 + math.cos(math.pi * (step - rising + 1) / (steps - rising + 1))) / 2


RECIPES = {
    "paper": Recipe("plain Adam, as in the reproduced study", Optimizer.ADAM, 1e-3),
    "strong": Recipe(
        "Muon on one cycle, augmented images, smoothed labels, averaged weights",
        Optimizer.MUON,
        learning_rate=8e-3,
        weight_decay=0.05,
        schedule=Schedule.ONE_CYCLE,
        label_smoothing=0.05,
        averaging=0.98,
        augmentation=Augmentation(
            flip=True, shift=0.1, brightness=0.1, contrast=0.2, saturation=0.2
        ),
    ),
    "probe": Recipe(
        "logistic regression on what a network with ImageNet weights makes of images",
        Optimizer.LBFGS,
        learning_rate=1.0,
        settings={
            "model": "efficientnet_lite0",
            "weights": PACKAGED,
            "epochs": 1,
            "memory_format": "channels-last",
            "held_apart": 0.1,
        },
    ),
}


def settings_of(recipe: str | None) -> Mapping[str, Any]:
    """What the recipe of this name sets where a run does not; nothing for an unknown one."""
    return RECIPES[recipe].settings if recipe in RECIPES else {}
