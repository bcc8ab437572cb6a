"""Muon: what it makes of a gradient, what it leaves to AdamW, and going on from its state."""

import copy

import pytest
import torch
from torch import nn

from weather_hpc.train.optimizer import Muon, orthogonal


@pytest.mark.parametrize("shape", [(4, 4), (3, 50), (50, 3), (1, 7)])
@pytest.mark.parametrize("size", [1e-6, 1.0, 1e6])
def test_singular_values_come_near_one(shape: tuple[int, int], size: float) -> None:
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(0)) * size
    left, _, right = torch.linalg.svd(matrix, full_matrices=False)
    turned = left.T @ orthogonal(matrix) @ right.T
    values = turned.diagonal()
    assert torch.allclose(turned, torch.diag(values), atol=1e-3), "the same singular vectors"
    assert 0.6 < float(values.min()) <= float(values.max()) < 1.3


def test_nothing_stays_nothing() -> None:
    assert torch.equal(orthogonal(torch.zeros(3, 5)), torch.zeros(3, 5))


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(16, 2))


def steps(model: nn.Module, optimizer: torch.optim.Optimizer, count: int) -> None:
    generator = torch.Generator().manual_seed(1)
    for _ in range(count):
        optimizer.zero_grad()
        outputs: torch.Tensor = model(torch.rand(5, 3, 4, 4, generator=generator))
        outputs.square().sum().backward()  # type: ignore[no-untyped-call]
        optimizer.step()


def test_linear_layers_and_biases_are_adamws() -> None:
    ours, theirs = network(), network()
    steps(ours, Muon(ours.parameters(), lr=0.01), 1)
    steps(theirs, torch.optim.AdamW(theirs.parameters(), lr=0.01), 1)
    for (name, mine), its in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        assert torch.equal(mine, its) == (name != "0.weight"), name


def test_a_step_is_about_as_long_as_adamws() -> None:
    """An entry moves by 0.2 of the learning rate in the mean, whatever the gradient's size."""
    model = network()
    kernel = next(model.parameters())
    before = kernel.detach().clone()
    steps(model, Muon(model.parameters(), lr=0.01, weight_decay=0.0), 1)
    moved = (kernel.detach() - before).square().mean().sqrt()
    assert 0.6 * 0.002 < float(moved) < 1.3 * 0.002


def test_it_goes_on_from_its_state() -> None:
    whole, first = network(), network()
    optimizer = Muon(whole.parameters(), lr=0.01)
    steps(whole, optimizer, 3)
    halfway = copy.deepcopy(optimizer.state_dict())
    first.load_state_dict(whole.state_dict())
    resumed = Muon(first.parameters(), lr=0.01)
    resumed.load_state_dict(halfway)
    steps(whole, optimizer, 2)
    steps(first, resumed, 2)
    for mine, its in zip(whole.parameters(), first.parameters(), strict=True):
        assert torch.equal(mine, its)
