"""The reproduced study's network."""

import torch
from torch import nn

from weather_hpc.models.paper_cnn import paper_cnn


def parameters(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters() if p.requires_grad)


def test_it_has_the_papers_parameters() -> None:
    assert parameters(paper_cnn(classes=11)) == 108_517
    # only the last layer knows the classes: 84 weights and a bias each
    assert parameters(paper_cnn(classes=11)) - parameters(paper_cnn(classes=5)) == 6 * 85


def test_shapes_are_the_papers() -> None:
    """Worked out by hand from the kernel sizes: the report's own shape comments are wrong."""
    shapes = {}
    values = torch.zeros(2, 3, 256, 256)
    for name, layer in paper_cnn(classes=11).named_children():
        values = layer(values)
        shapes[name] = tuple(values.shape[1:])
    assert shapes["conv1"] == (6, 253, 253)
    assert shapes["pool1"] == (6, 50, 50)
    assert shapes["conv2"] == (16, 46, 46)
    assert shapes["pool2"] == (16, 23, 23)
    assert shapes["conv3"] == (32, 16, 16)
    assert shapes["pool3"] == (32, 4, 4)
    assert shapes["conv4"] == (120, 1, 1)
    assert shapes["linear1"] == (84,)
    assert shapes["linear2"] == (11,)


def test_dropout_is_the_papers() -> None:
    dropped = [m.p for m in paper_cnn(11).modules() if isinstance(m, nn.Dropout)]
    assert dropped == [0.32]
