"""Dropout over ranks: each drops what one process would have dropped of its images."""

import copy

import pytest
import torch
from torch import nn

from weather_hpc.train.dropout import share_dropout


@pytest.mark.parametrize("p", [0.0, 0.32, 1.0])
def test_parts_are_those_of_the_whole(p: float) -> None:
    network = nn.Sequential(nn.Dropout(p), nn.Tanh(), nn.Dropout(p / 2))
    images = torch.randn(7, 5, 3)
    torch.manual_seed(1)
    whole = network(images)
    parts: list[torch.Tensor] = []
    for part in (images[:4], images[4:]):
        ours = copy.deepcopy(network)
        layers = share_dropout(ours)
        assert len(layers) == 2
        for layer in layers:
            layer.first, layer.together = 4 * len(parts), 7
        torch.manual_seed(1)
        parts.append(ours(part))
    assert torch.equal(torch.cat(parts), whole)
    assert torch.equal(ours.eval()(images), images.tanh()), "nothing is dropped in evaluation"
