"""Cutting a network into stages, and batches into microbatches."""

import pytest
import torch
from torch import nn

from weather_hpc.errors import UserError
from weather_hpc.models.paper_cnn import paper_cnn
from weather_hpc.study.steps import MIN_MICROBATCH, microbatches
from weather_hpc.train.strategies.model import cut


@pytest.mark.parametrize("count", range(1, 7))
def test_stages_one_after_the_other_are_the_network(count: int) -> None:
    network = paper_cnn(11).eval()
    stages = cut(network, count, 256)
    assert len(stages) == count
    names = [name for stage in stages for name in stage.layers.state_dict()]
    assert names == list(network.state_dict())
    images = torch.randn(2, 3, 256, 256)
    values = images
    with torch.no_grad():
        for stage in stages:
            assert tuple(values.shape[1:]) == stage.input_shape
            values = stage.layers(values)
            assert tuple(values.shape[1:]) == stage.output_shape
        assert torch.equal(values, network(images))


def test_stages_are_balanced() -> None:
    """The paper's first convolution costs more than all that follows."""
    first, second = cut(paper_cnn(11), 2, 256)
    assert "conv1" in dict(first.layers.named_children())
    assert next(iter(dict(second.layers.named_children()))) == "conv2"


def test_cutting_leaves_the_network_as_it_was() -> None:
    network = paper_cnn(11)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    cut(network, 3, 256)
    assert network.training
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())


def test_too_many_stages() -> None:
    with pytest.raises(UserError, match=r"--world-size 7: .* 6 stages at most"):
        cut(paper_cnn(11), 7, 256)


def test_a_network_that_is_no_sequence() -> None:
    class Branches(nn.Module):
        pass

    with pytest.raises(UserError, match=r"plain sequence of layers.*Branches is not one"):
        cut(Branches(), 2, 64)


@pytest.mark.parametrize(
    ("images", "stages", "pieces"), [(64, 2, 4), (64, 4, 8), (63, 2, 3), (61, 2, 1), (4, 4, 2)]
)
def test_microbatches_divide_the_batch(images: int, stages: int, pieces: int) -> None:
    assert microbatches(images, stages) == pieces
    assert images % pieces == 0
    assert images // pieces >= MIN_MICROBATCH
