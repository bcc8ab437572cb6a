"""The train verb with one network more, ``tiny``, whose images do not influence each other."""

import sys
from collections import OrderedDict

from torch import nn

from weather_hpc import cli
from weather_hpc.models.registry import MODELS
from weather_hpc.train.__main__ import main


def tiny(classes: int, image_size: int) -> nn.Sequential:
    """A sequence of layers without batch norm and dropout, for any image size."""
    return nn.Sequential(
        OrderedDict(
            conv1=nn.Conv2d(3, 8, 5, stride=2),
            tanh1=nn.Tanh(),
            conv2=nn.Conv2d(8, 16, 5, stride=2),
            tanh2=nn.Tanh(),
            pool=nn.AdaptiveAvgPool2d(2),
            flatten=nn.Flatten(),
            linear=nn.Linear(64, classes),
        )
    )


if __name__ == "__main__":
    MODELS["tiny"] = tiny
    cli.run("train", main, sys.argv[1:])
