"""The table of networks, compared with the networks and with the installed torchvision."""

import subprocess
import sys

import pytest
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from weather_hpc.errors import UserError
from weather_hpc.models.registry import build_model, import_torchvision
from weather_hpc.study.networks import CUT, NETWORKS, OURS, Network
from weather_hpc.train.strategies.model import cut

ONE_OF_EACH_FAMILY = [
    "paper_cnn", "weather_net", "alexnet", "convnext_tiny", "densenet121", "efficientnet_b0",
    "googlenet", "inception_v3", "maxvit_t", "mnasnet0_5", "mobilenet_v2", "mobilenet_v3_small",
    "regnet_y_400mf", "resnet18", "resnext50_32x4d", "shufflenet_v2_x0_5", "squeezenet1_0",
    "squeezenet1_1", "swin_t", "swin_v2_t", "vgg11", "vgg11_bn", "vit_b_16", "vit_b_32",
]  # fmt: skip


def test_the_names_are_ours_and_those_of_the_installed_torchvision() -> None:
    models = import_torchvision().models
    classifiers = models.list_models(module=models)
    assert set(NETWORKS) == {*OURS, *classifiers}
    # in a process of its own: other tests add networks to this one
    code = "from weather_hpc.models.registry import MODELS; print(*MODELS)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )  # fmt: skip
    assert set(done.stdout.split()) == set(OURS)


def takes(network: nn.Module, image_size: int) -> bool:
    """Whether the network computes on a batch of images of this size."""
    try:
        with torch.no_grad():
            network(torch.empty(2, 3, image_size, image_size, device="meta"))
    except (RuntimeError, ValueError, AssertionError):
        return False
    return True


@pytest.mark.parametrize("name", ONE_OF_EACH_FAMILY)
def test_the_table_says_what_a_network_takes(name: str) -> None:
    network = NETWORKS[name]
    built = build_model(name, 3, network.smallest).to("meta")  # shapes alone, no numbers
    assert takes(built, network.smallest)
    if network.smallest > 8:
        assert not takes(built, network.smallest - 1)
    if network.largest is not None:
        assert takes(built, network.largest)
        assert not takes(built, network.largest + 1)
    normalises = any(isinstance(layer, _BatchNorm) for layer in built.modules())
    assert normalises == network.batch_norm
    assert isinstance(built, nn.Sequential) == (network.stages > 1)


@pytest.mark.parametrize("name", CUT)
def test_a_network_is_cut_into_as_many_stages_as_the_table_says(name: str) -> None:
    stages, built = NETWORKS[name].stages, build_model(name, 3, 256)
    assert len(cut(built, stages, 256)) == stages
    with pytest.raises(UserError, match=f"{stages} stages at most"):
        cut(built, stages + 1, 256)


@pytest.mark.parametrize(("name", "image_size"), [("vit_b_16", 48), ("vit_b_32", 96)])
def test_an_image_is_divided_into_patches(name: str, image_size: int) -> None:
    assert takes(build_model(name, 3, image_size).to("meta"), image_size)
    with pytest.raises(UserError, match=f"multiple of {NETWORKS[name].multiple} px"):
        build_model(name, 3, image_size + 8)


def test_weights_are_published_for_all_networks_but_ours() -> None:
    models = import_torchvision().models
    for name in set(NETWORKS) - set(OURS):
        assert len(models.get_model_weights(name)) > 0, name


@pytest.mark.parametrize(
    ("network", "image_size", "refusal"),
    [
        (Network(smallest=32), 31, "takes images of 32 px and more, not 31 px"),
        (Network(smallest=32), 32, None),
        (Network(smallest=32, largest=40), 41, "takes images of 32 to 40 px, not 41 px"),
        (Network(smallest=221, largest=224), 256, "takes images of 221 to 224 px, not 256 px"),
        (Network(multiple=16), 250, "takes images of a multiple of 16 px, not 250 px"),
        (Network(multiple=16), 256, None),
    ],
)
def test_a_refusal_says_what_fits(network: Network, image_size: int, refusal: str | None) -> None:
    assert network.refusal(image_size) == refusal
