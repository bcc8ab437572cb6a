"""Layers in chunks: their results against float64, and which networks stay as they are."""

import copy
from collections import OrderedDict
from typing import cast

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from weather_hpc.models import chunked
from weather_hpc.models.chunked import ChunkedSequential, chunk_layers
from weather_hpc.models.paper_cnn import paper_cnn

EPS = torch.finfo(torch.float32).eps


def block(channels: int, cell: int) -> nn.Sequential:
    torch.manual_seed(0)
    norm = nn.BatchNorm2d(channels)
    with torch.no_grad():
        norm.weight.normal_().add_(1)
        norm.bias.normal_()
    return nn.Sequential(OrderedDict(norm=norm, tanh=nn.Tanh(), pool=nn.AvgPool2d(cell)))


def chunked_copy(network: nn.Sequential) -> ChunkedSequential:
    copied = chunk_layers(copy.deepcopy(network))
    assert isinstance(copied, ChunkedSequential)
    return copied


@pytest.mark.parametrize("chunk", [1, 2000, 1 << 18])
@pytest.mark.parametrize(
    ("shape", "cell"), [((5, 3, 13, 17), 5), ((7, 4, 12, 12), 2), ((3, 2, 9, 9), 4)]
)
def test_three_layers_are_those_in_float64(
    chunk: int, shape: tuple[int, ...], cell: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chunked, "CHUNK", chunk)
    plain = block(shape[1], cell)
    ours, exact = chunked_copy(plain), copy.deepcopy(plain).double()
    values = torch.randn(shape) * 2 + torch.arange(shape[1])[:, None, None] * 3
    results = []
    for network, given in ((ours, values), (exact, values.double())):
        given = given.requires_grad_()
        pooled = network(given)
        (pooled * torch.linspace(-1, 2, pooled.numel()).view_as(pooled)).sum().backward()
        norm = cast(nn.BatchNorm2d, network.norm)
        results.append(
            [pooled.detach(), given.grad, norm.weight.grad, norm.bias.grad, *norm.buffers()]
        )
        given.grad = None
    for found, wanted in zip(*results, strict=True):
        assert found is not None and wanted is not None  # noqa: PT018
        scale = float(wanted.abs().max()) or 1.0
        assert found.dtype in (torch.float32, torch.int64)
        assert float((found.double() - wanted.double()).abs().max()) <= 40 * EPS * scale


def test_a_large_mean_hides_no_variance_and_none_is_no_number() -> None:
    values = torch.randn(4, 2, 8, 8) * 1e-2 + 1000
    values[:, 1] = 7.25  # without any variance
    mean, variance = chunked._statistics(values)
    exact = values.double()
    torch.testing.assert_close(mean, exact.mean((0, 2, 3)), rtol=1e-9, atol=0)
    wanted = exact.var((0, 2, 3), correction=0)
    torch.testing.assert_close(variance, wanted, rtol=1e-5, atol=1e-12)
    assert chunked_copy(block(2, 2))(values).isfinite().all()
    values[0, 0, 0, 0] = float("nan")
    assert chunked_copy(block(2, 2))(values)[:, 0].isnan().all(), "as batch norm does"


def test_the_paper_s_network_learns_as_in_float64() -> None:
    torch.manual_seed(0)
    plain = paper_cnn(11)
    cast(nn.Dropout, plain.dropout).p = 0.0
    ours, exact = chunked_copy(plain), copy.deepcopy(plain).double()
    images, labels = torch.rand(4, 3, 256, 256) * 2 - 1, torch.tensor([1, 2, 3, 4])
    losses = {}
    for name, network, given in (
        ("ours", ours, images), ("plain", plain, images), ("exact", exact, images.double()),
    ):  # fmt: skip
        loss = cross_entropy(network(given), labels)
        loss.backward()  # type: ignore[no-untyped-call]
        losses[name] = float(loss.detach())
    assert losses["ours"] == pytest.approx(losses["exact"], rel=1e-5)
    wanted = dict(exact.named_parameters())
    usual = dict(plain.named_parameters())
    scale = max(float(p.grad.abs().max()) for p in wanted.values() if p.grad is not None)
    for name, parameter in ours.named_parameters():
        gradients = [of[name].grad for of in (wanted, usual)]
        error, their_error = (
            float((found.double() - gradients[0]).abs().max())  # type: ignore[union-attr, operator]
            for found in (parameter.grad, gradients[1])
        )
        assert error <= max(4 * their_error, 1e-5 * scale), name
    assert list(ours.state_dict()) == list(plain.state_dict())


def test_evaluation_is_the_plain_layers_to_the_bit() -> None:
    plain = paper_cnn(11).eval()
    images = torch.rand(2, 3, 256, 256) * 2 - 1
    assert torch.equal(chunked_copy(plain)(images), plain(images))


@pytest.mark.parametrize(
    "layers",
    [
        [nn.BatchNorm2d(3), nn.Tanh(), nn.AvgPool2d(2, stride=1)],
        [nn.BatchNorm2d(3), nn.Tanh(), nn.AvgPool2d(2, padding=1)],
        [nn.BatchNorm2d(3, affine=False), nn.Tanh(), nn.AvgPool2d(2)],
        [nn.BatchNorm2d(3, momentum=None), nn.Tanh(), nn.AvgPool2d(2)],
        [nn.BatchNorm2d(3), nn.ReLU(), nn.AvgPool2d(2)],
        [nn.BatchNorm2d(3), nn.Tanh()],
    ],
)
def test_other_layers_are_called_one_by_one(layers: list[nn.Module]) -> None:
    plain = nn.Sequential(*layers)
    values = torch.randn(4, 3, 8, 8)
    expected = copy.deepcopy(plain)(values)
    torch.testing.assert_close(chunked_copy(plain)(values), expected, rtol=0, atol=4 * EPS)
    assert not chunked._combinable(layers, values)


def test_networks_that_are_no_sequence_are_left_alone() -> None:
    network = nn.Linear(2, 2)
    assert chunk_layers(network) is network
