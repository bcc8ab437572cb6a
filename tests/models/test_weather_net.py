"""Our own network: its sizes, and that stages can be cut from it."""

import re

import pytest
import torch
from torch import nn

from weather_hpc.models.weather_net import Residual, weather_net
from weather_hpc.train.strategies.model import cut


def multiply_adds(network: nn.Module, size: int) -> int:
    """Of all convolutions and linear layers, for one image."""
    total = 0

    def add(layer: nn.Module, _: object, output: torch.Tensor) -> None:
        nonlocal total
        if isinstance(layer, (nn.Conv2d, nn.Linear)):
            total += layer.weight.numel() * (output[0].numel() // layer.weight.shape[0])

    for layer in network.modules():
        layer.register_forward_hook(add)
    network.eval()(torch.zeros(1, 3, size, size))
    return total


def documented(what: str) -> float:
    """The figure before ``what`` in the network's description."""
    text = " ".join((weather_net.__doc__ or "").split())
    found = re.search(rf"([\d.,]+) (million )?{what}", text)
    assert found, text
    return float(found[1].replace(",", "")) * (1e6 if found[2] else 1)


def test_its_description_is_true() -> None:
    network = weather_net(5, 256)
    parameters = sum(p.numel() for p in network.parameters())
    assert parameters == documented("trainable parameters")
    assert multiply_adds(network, 256) == pytest.approx(documented("multiply-adds"), rel=0.01)


@pytest.mark.parametrize("size", [8, 9, 33, 64, 100, 256, 300])
def test_any_size_fits(size: int) -> None:
    network = weather_net(3, size)
    assert network(torch.zeros(2, 3, size, size)).shape == (2, 3)


def test_a_new_block_passes_on_what_it_gets() -> None:
    values = torch.rand(2, 4, 6, 6)
    assert torch.equal(Residual(4)(values), values)


@pytest.mark.parametrize("stages", [2, 4])
def test_its_stages_do_what_it_does(stages: int) -> None:
    network = weather_net(5, 64).eval()
    images = torch.rand(2, 3, 64, 64)
    wanted = network(images)
    for stage in cut(network, stages, 64):
        images = stage.layers(images)
    assert torch.equal(images, wanted)
