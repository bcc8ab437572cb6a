"""Layers over all ranks' images, against torch's own layers in one process."""

import copy
from collections import OrderedDict
from functools import partial

import pytest
import torch
from torch import nn

from weather_hpc.train.layers import SharedDropout, StepShare, SyncBatchNorm2d, replace_layers


def layers() -> tuple[nn.BatchNorm2d, nn.Module]:
    """torch's own, and ours that is alone: all ranks' sum is its own."""
    torch.manual_seed(0)
    own = nn.BatchNorm2d(3)
    nn.init.normal_(own.weight)
    return own, SyncBatchNorm2d(copy.deepcopy(own), torch.clone)


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
        share = StepShare()
        ours = replace_layers(
            copy.deepcopy(network), nn.Dropout, partial(SharedDropout, share=share)
        )
        assert [type(layer) for layer in ours.children()] == [SharedDropout, nn.Tanh, SharedDropout]
        share.begin_step(4 * len(parts), 7)
        torch.manual_seed(1)
        parts.append(ours(part))
    assert torch.equal(torch.cat(parts), whole)
    assert torch.equal(ours.eval()(images), images.tanh()), "nothing is dropped in evaluation"


def test_replaced_layers_keep_parameters_names_and_order() -> None:
    torch.manual_seed(0)
    shared = nn.BatchNorm2d(3)
    inner = nn.Sequential(OrderedDict(a=nn.Conv2d(3, 3, 1), norm=shared, z=nn.ReLU())).eval()
    network = nn.Sequential(OrderedDict(first=shared, inner=inner, last=nn.BatchNorm2d(3)))
    before, parameters = network.state_dict(), list(network.parameters())
    replaced = replace_layers(
        network, nn.BatchNorm2d, partial(SyncBatchNorm2d, sum_over_ranks=torch.clone)
    )
    assert replaced is network
    after = network.state_dict()
    assert list(after) == list(before)
    assert all(after[name].data_ptr() == before[name].data_ptr() for name in before)
    assert all(a is b for a, b in zip(network.parameters(), parameters, strict=True))
    assert network.get_submodule("first") is network.get_submodule("inner.norm")
    assert [type(layer) for layer in inner] == [nn.Conv2d, SyncBatchNorm2d, nn.ReLU]
    assert not inner.get_submodule("norm").training
    alone = replace_layers(nn.Dropout(0.5), nn.Dropout, partial(SharedDropout, share=StepShare()))
    assert isinstance(alone, SharedDropout)
