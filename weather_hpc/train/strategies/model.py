"""``model``: the network is cut into stages, one per device; batches pass in microbatches.

torch.distributed.pipelining runs the stages: 1F1B (one forward, one backward) where a batch makes
enough microbatches to fill the pipeline, else GPipe. Every rank gets every step's rows; only the
first reads pixels. Batch norm takes its statistics from one microbatch at a time, so its loss
curve differs from a single process's; other networks (dropout apart) give the same.
"""

import copy
from collections import OrderedDict
from dataclasses import dataclass
from functools import partial
from itertools import combinations, pairwise

import torch
from torch import nn
from torch.distributed.pipelining import PipelineStage, Schedule1F1B, ScheduleGPipe
from torch.distributed.pipelining.schedules import PipelineScheduleSingle
from torch.nn.functional import cross_entropy

from weather_hpc.errors import UserError
from weather_hpc.study.steps import microbatches
from weather_hpc.train.strategies.base import tally
from weather_hpc.train.strategies.distributed import Distributed

WEIGHTED = (nn.Conv2d, nn.Linear, nn.Sequential)
"""A block starts with one of these, where activations are smallest."""


@dataclass(frozen=True)
class NetworkStage:
    """Consecutive layers under their own names, and shapes of input and output per image."""

    layers: nn.Sequential
    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]


@dataclass(frozen=True)
class _Block:
    """Layers that stay together, and their cost per image: multiply-adds plus values written."""

    layers: list[tuple[str, nn.Module]]
    cost: int
    output_shape: tuple[int, ...]


def cut(network: nn.Module, count: int, image_size: int) -> list[NetworkStage]:
    """``network`` as ``count`` stages that minimise the cost of the costliest.

    Raises UserError where it is not a plain sequence of layers, or has too few of them.
    """
    if not isinstance(network, nn.Sequential):
        raise UserError(
            "--strategy model cuts networks that are a plain sequence of layers, such as "
            f"paper_cnn; {type(network).__name__} is not one"
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
    shape: tuple[int, ...] = (3, image_size, image_size)
    for first, end in pairwise(best):
        layers = OrderedDict(layer for block in blocks[first:end] for layer in block.layers)
        stages.append(NetworkStage(nn.Sequential(layers), shape, blocks[end - 1].output_shape))
        shape = stages[-1].output_shape
    return stages


def _blocks(network: nn.Sequential, shape: tuple[int, ...]) -> list[_Block]:
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


def _run(layer: nn.Module, shape: tuple[int, ...]) -> tuple[tuple[int, ...], int]:
    """The output shape of ``layer`` for the input ``shape``, and its cost, for one image."""
    cost = 0

    def add(module: nn.Module, _: object, output: torch.Tensor) -> None:
        nonlocal cost
        cost += output[0].numel()
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            positions = output[0].numel() // module.weight.shape[0]
            cost += module.weight.numel() * positions

    # a copy without storage; in evaluation, where batch norm takes a single image
    meta_copy = copy.deepcopy(layer).to("meta").eval()
    for module in meta_copy.modules():
        if not list(module.children()):
            module.register_forward_hook(add)
    with torch.no_grad():
        output = meta_copy(torch.empty(1, *shape, device="meta"))
    return tuple(output.shape[1:]), cost


class ModelParallel(Distributed):
    """One stage of the network per rank."""

    def place(self, network: nn.Module, image_size: int) -> None:
        """Keep this rank's stage of ``network``."""
        self.stage: NetworkStage = cut(network, self.env.world_size, image_size)[self.env.rank]
        super().place(self.stage.layers, image_size)
        self._schedules: dict[tuple[int, bool], PipelineScheduleSingle] = {}

    @property
    def reads_images(self) -> bool:  # type: ignore[override]
        """The first stage takes pixels, the others the output of the previous one."""
        return self.env.rank == 0

    @property
    def computes_loss(self) -> bool:  # type: ignore[override]
        """The last stage has the network's output."""
        return self._is_last

    @property
    def _is_last(self) -> bool:
        return self.env.rank == self.env.world_size - 1

    def train_step(
        self, images: torch.Tensor, labels: torch.Tensor, step_images: int
    ) -> torch.Tensor:
        """All microbatches forward and backward; the last stage's rank has the tally."""
        losses: list[torch.Tensor] = []
        schedule = self._schedule(len(labels), training=True)
        logits = schedule.step(
            *self._input(images),
            target=labels if self._is_last else None,
            losses=losses if self._is_last else None,
        )
        if not self._is_last:
            return torch.zeros(2, dtype=torch.float64, device=self.device)
        loss_sum = torch.stack(losses).mean() * step_images
        return tally(loss_sum, logits, labels)

    def predict(self, images: torch.Tensor) -> torch.Tensor | None:
        """Forward through all stages; the last one's rank has the logits."""
        schedule = self._schedule(len(images), training=False)
        logits: torch.Tensor = schedule.step(*self._input(images))
        return logits if self._is_last else None

    def _input(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return (images,) if self.reads_images else ()

    def _schedule(self, images: int, training: bool) -> PipelineScheduleSingle:
        """The schedule for batches of ``images``; its buffers have that size."""
        key = images, training
        if key not in self._schedules:
            pieces = microbatches(images, self.env.world_size)
            each = images // pieces
            stage = PipelineStage(
                self.network,
                self.env.rank,
                self.env.world_size,
                self.device,
                input_args=_meta_tensor(
                    each, self.stage.input_shape, training and not self.reads_images
                ),
                output_args=_meta_tensor(each, self.stage.output_shape, training),
            )
            kind = Schedule1F1B if training and pieces >= self.env.world_size else ScheduleGPipe
            loss = partial(cross_entropy, label_smoothing=self.options.label_smoothing)
            self._schedules[key] = kind(stage, pieces, loss_fn=loss if training else None)
        return self._schedules[key]


def _meta_tensor(images: int, shape: tuple[int, ...], requires_grad: bool) -> torch.Tensor:
    """A tensor without storage: the shape that passes between two stages."""
    return torch.empty(images, *shape, device="meta", requires_grad=requires_grad)
