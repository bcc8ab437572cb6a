"""Batch norm over all ranks' images, beside torch's own layer in one process."""

import copy

import pytest
import torch
from torch import nn

from weather_hpc.train.layers import share_dropout, synchronised


def layers() -> tuple[nn.BatchNorm2d, nn.Module]:
    """torch's own, and ours that is alone: all ranks' sum is its own."""
    torch.manual_seed(0)
    own = nn.BatchNorm2d(3)
    nn.init.normal_(own.weight)
    ours = nn.Sequential(nn.BatchNorm2d(3))
    ours[0].load_state_dict(own.state_dict())
    return own, synchronised(ours, lambda values: values.clone())[0]  # type: ignore[index]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_it_is_torchs_layer_in_the_precision_of_its_input(dtype: torch.dtype) -> None:
    own, ours = layers()
    images = (torch.randn(8, 3, 40, 40) + 3).to(dtype)
    expected, found = own(images), ours(images)
    assert found.dtype == expected.dtype == dtype
    torch.testing.assert_close(found, expected, rtol=2e-2, atol=2e-2)


def test_statistics_of_bfloat16_are_summed_in_float32() -> None:
    """bfloat16 counts no further than 256: sums in it would stop growing."""
    own, ours = layers()
    images = (torch.randn(8, 3, 40, 40) + 3).to(torch.bfloat16)
    own(images.float())
    ours(images)
    for name, value in own.state_dict().items():
        torch.testing.assert_close(ours.state_dict()[name], value, rtol=1e-5, atol=1e-6)


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
