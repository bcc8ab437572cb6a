"""Networks by name, and torchvision beside whatever torch there is."""

import subprocess
import sys

import pytest
import torch

from weather_hpc.errors import UserError
from weather_hpc.models.registry import build_model


@pytest.mark.parametrize(
    ("name", "size"),
    [("paper_cnn", 256), ("resnet18", 64), ("squeezenet1_1", 64), ("vit_b_16", 32)],
)
def test_a_network_answers_with_one_logit_per_class(name: str, size: int) -> None:
    network = build_model(name, classes=7, image_size=size).eval()
    with torch.no_grad():
        assert network(torch.zeros(2, 3, size, size)).shape == (2, 7)


def test_weights_follow_the_seed() -> None:
    def weights(seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        parameters = build_model("resnet18", 3, 32).parameters()
        return torch.cat([parameter.detach().flatten() for parameter in parameters])

    assert torch.equal(weights(1), weights(1))
    assert not torch.equal(weights(1), weights(2))


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("paper_cn", "did you mean 'paper_cnn'"),
        ("resnet81", "did you mean 'resnet18'"),
        ("zzz", "known: paper_cnn"),
    ],
)
def test_an_unknown_name_is_told_with_its_neighbour(name: str, told: str) -> None:
    with pytest.raises(UserError, match=f"--model {name}: no such network.*{told}"):
        build_model(name, 3, 256)


@pytest.mark.parametrize(
    ("name", "size", "told"),
    [
        ("vit_b_16", 50, "takes images of a multiple of 16 px, not 50 px"),
        ("inception_v3", 16, "takes images of 75 px and more, not 16 px"),
        ("paper_cnn", 128, "takes images of 253 to 292 px, not 128 px"),
    ],
)
def test_a_size_that_does_not_fit_is_told(name: str, size: int, told: str) -> None:
    with pytest.raises(UserError, match=f"--model {name} {told}; pack the store with another"):
        build_model(name, 3, size)


def test_torchvision_imports_in_a_fresh_process() -> None:
    """With warnings as errors; networks and transforms work without the compiled operators."""
    code = """
import torch
from weather_hpc.models.registry import import_torchvision
torchvision = import_torchvision()
assert import_torchvision() is torchvision
from torchvision.transforms import v2
assert v2.Resize((8, 8))(torch.zeros(3, 16, 16)).shape == (3, 8, 8)
assert torchvision.models.resnet18(weights=None)(torch.zeros(2, 3, 32, 32)).shape == (2, 1000)
"""
    argv = [sys.executable, "-W", "error", "-c", code]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
