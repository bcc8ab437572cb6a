"""A classifier's last layer, and what the others hand to it: the features of an image."""

import torch
from torch import nn

from weather_hpc.errors import UserError

Head = nn.Linear | nn.Conv2d


def head_of(network: nn.Module, classes: int) -> Head:
    """The last layer with an output for each class. Raises UserError where there is none."""
    heads = [
        layer
        for layer in network.modules()
        if (isinstance(layer, nn.Linear) and layer.out_features == classes)
        or (isinstance(layer, nn.Conv2d) and layer.out_channels == classes)
    ]
    if not heads:
        raise UserError(f"{type(network).__name__} has no last layer of {classes} outputs")
    return heads[-1]


class FeatureTap:
    """While it is entered, keeps what ``head`` was given last: float32 (images, features).

    Maps are averaged over their positions.
    """

    def __init__(self, head: Head) -> None:
        self.head = head

    def __enter__(self) -> "FeatureTap":
        self._hook = self.head.register_forward_pre_hook(self._keep)
        return self

    def __exit__(self, *_: object) -> None:
        self._hook.remove()

    def _keep(self, _: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        values = inputs[0].detach().float()
        if isinstance(self.head, nn.Conv2d):
            values = values.mean((2, 3))
        self.features = values.flatten(1)
