"""Cutting a network into stages of about equal cost."""

import copy
from collections import OrderedDict
from dataclasses import dataclass
from itertools import combinations, pairwise

import torch
from torch import nn

from weather_hpc.errors import UserError

WEIGHTED = (nn.Conv2d, nn.Linear, nn.Sequential)
"""A block begins with one of these: before them the activations are smallest."""

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Stage:
    """Consecutive layers, under their own names, and the shapes per image that go in and out."""

    layers: nn.Sequential
    input_shape: Shape
    output_shape: Shape


@dataclass(frozen=True)
class _Block:
    """Layers that stay together, with their cost per image: multiply-adds and values written."""

    layers: list[tuple[str, nn.Module]]
    cost: int
    output_shape: Shape


def cut(network: nn.Module, count: int, image_size: int) -> list[Stage]:
    """``network`` as ``count`` stages such that the costliest costs least.

    Raises UserError where it is not a plain sequence of layers, or has too few of them.
    """
    if not isinstance(network, nn.Sequential):
        raise UserError(
            "--strategy model cuts networks that are a plain sequence of layers, such as "
            f"paper_cnn; {type(network).__name__} is none"
        )
    blocks = _blocks(network, (3, image_size, image_size))
    if count > len(blocks):
        raise UserError(
            f"--strategy model with --world-size {count}: the network has {len(blocks)} layers "
            f"with weights, so {len(blocks)} stages at most"
        )
    costs = [block.cost for block in blocks]
    choices = [(0, *inner, len(blocks)) for inner in combinations(range(1, len(blocks)), count - 1)]
    best = min(choices, key=lambda edges: max(sum(costs[a:b]) for a, b in pairwise(edges)))
    stages = []
    shape: Shape = (3, image_size, image_size)
    for first, end in pairwise(best):
        layers = OrderedDict(layer for block in blocks[first:end] for layer in block.layers)
        stages.append(Stage(nn.Sequential(layers), shape, blocks[end - 1].output_shape))
        shape = stages[-1].output_shape
    return stages


def _blocks(network: nn.Sequential, shape: Shape) -> list[_Block]:
    groups: list[list[tuple[str, nn.Module]]] = []
    for name, layer in network.named_children():
        if not groups or isinstance(layer, WEIGHTED):
            groups.append([])
        groups[-1].append((name, layer))
    blocks = []
    for group in groups:
        cost = 0
        for _, layer in group:
            shape, layer_cost = _run(layer, shape)
            cost += layer_cost
        blocks.append(_Block(group, cost, shape))
    return blocks


def _run(layer: nn.Module, shape: Shape) -> tuple[Shape, int]:
    """The shape that ``layer`` makes of ``shape``, and its cost, both for one image."""
    cost = 0

    def add(module: nn.Module, _: object, output: torch.Tensor) -> None:
        nonlocal cost
        cost += output[0].numel()
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            positions = output[0].numel() // module.weight.shape[0]
            cost += module.weight.numel() * positions

    # a copy without storage; in evaluation, where batch norm takes a single image
    ghost = copy.deepcopy(layer).to("meta").eval()
    for module in ghost.modules():
        if not list(module.children()):
            module.register_forward_hook(add)
    with torch.no_grad():
        output = ghost(torch.empty(1, *shape, device="meta"))
    return tuple(output.shape[1:]), cost
