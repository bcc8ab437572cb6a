"""The interface of strategies to the training loop, implemented for one process on one device.

Other strategies override what differs. The loop, the loader, the checkpoint and the record depend
on nothing else of how the work is distributed.
"""

from dataclasses import dataclass
from typing import Any, Self, cast

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.functional import cross_entropy

from weather_hpc.models.chunked import chunk_layers
from weather_hpc.models.compile_cache import own_compile_cache
from weather_hpc.models.fused import fuse
from weather_hpc.study.recipe import RECIPES
from weather_hpc.study.tasks import BatchNorm, MemoryFormat, Precision, Strategy, TrainTask
from weather_hpc.train.loader import Shard
from weather_hpc.train.ranks import TorchrunEnv


@dataclass(frozen=True)
class StepOptions:
    """How a strategy computes its steps."""

    label_smoothing: float = 0.0
    """Share of every label that training spreads evenly over all classes, 0..1."""

    sync_batch_norm: bool = False
    """Whether batch norm takes its statistics from all ranks' images of a step."""

    precision: Precision = Precision.FP32
    """What the network computes in."""

    memory_format: torch.memory_format = torch.contiguous_format
    """The order in memory of images and kernels."""

    compiles: bool = False
    """Whether torch.compile compiles the network for training."""

    combines_layers: bool = False
    """Whether several layers may be computed as one on a CPU."""

    @classmethod
    def of(cls, task: TrainTask) -> Self:
        """Those of ``task``. Layers are combined in a float32 network that is neither compiled nor
        cut into stages: these need its layers one by one."""
        compiles, precision = task.execution.compiles, task.precision
        one_by_one = compiles or precision is Precision.BF16 or task.strategy is Strategy.MODEL
        channels_last = task.memory_format is MemoryFormat.CHANNELS_LAST
        return cls(
            label_smoothing=RECIPES[task.recipe].label_smoothing,
            sync_batch_norm=task.batch_norm is BatchNorm.SYNC,
            precision=precision,
            memory_format=torch.channels_last if channels_last else torch.contiguous_format,
            compiles=compiles,
            combines_layers=not one_by_one,
        )


DEFAULTS = StepOptions()


class TrainingStrategy:
    """One process on one device; ``devices`` counts those of all processes.

    Methods marked *collective* are called by all ranks, in the same order.
    """

    network: nn.Module
    """The part of the network that this rank computes, without any wrapper."""

    reads_images = True
    """Whether this rank needs the pixels of its rows."""

    fused_layers: str | None = None
    """What :func:`~weather_hpc.models.fused.fuse` reports, once the network is placed."""

    exchange: str | None = None
    """How ranks exchange gradients, where they do."""

    communication_s: float | None = None
    """Seconds this rank has spent on exchanges and waiting in them; None: not measurable."""

    computes_loss = True
    """Whether this rank has losses and answers of the images that it handles."""

    owns_weights = True
    """Whether a checkpoint needs this rank's weights; else rank 0 has them."""

    def __init__(
        self, device: torch.device, env: TorchrunEnv, devices: int, options: StepOptions = DEFAULTS
    ) -> None:
        self.device = device
        self.env = env
        self.devices = devices
        self.options = options

    @property
    def shard(self) -> Shard:
        """This rank's share of every step's images."""
        return Shard()

    @property
    def gpus(self) -> list[torch.device]:
        """The GPUs that this process computes on; none on a CPU."""
        return [self.device] if self.device.type == "cuda" else []

    def set_up(self, store: "dist.Store | None" = None) -> None:  # type: ignore[name-defined]
        """Join the other ranks at ``store``; None: there are none. Collective."""

    def place(self, network: nn.Module, image_size: int) -> None:
        """Take over ``network``, equal on all ranks, for images of ``image_size`` px. Collective.

        Raises UserError where the network does not suit the strategy.
        """
        if self.options.combines_layers and self.device.type == "cpu":
            # paper_cnn's first layers in C++ where that can be built, else any sequence in chunks
            network, self.fused_layers = fuse(network)
            network = chunk_layers(network)
        self.network = network.to(self.device, memory_format=self.options.memory_format)  # type: ignore[call-overload]
        self.trained: nn.Module = self.network
        if self.options.compiles:
            own_compile_cache()
            # batches have few sizes, and one kernel per size is faster than one for all
            self.trained = cast(nn.Module, torch.compile(self.network, dynamic=False))

    def train_step(
        self, images: torch.Tensor, labels: torch.Tensor, step_images: int
    ) -> torch.Tensor:
        """Forward and backward: leaves in ``.grad`` the gradient of the step's mean loss.

        ``images`` (shape (n, 3, side, side)) and ``labels`` ((n,)) are this rank's;
        ``step_images`` counts those of all ranks. Returns this rank's part of the step's
        :func:`tally`. Collective.
        """
        return self._backward(self._logits(self.trained, images), labels, 1.0 / step_images)

    def predict(self, images: torch.Tensor) -> torch.Tensor | None:
        """Logits of ``images``; None on ranks that are not the last to compute. Collective."""
        return self._logits(self.network, images)

    @property
    def random_stream(self) -> int:
        """Which of the seed's random streams this rank draws from in training."""
        return self.env.rank

    def before_evaluation(self) -> None:
        """Make replicas equal where they differ after training. Collective."""

    def sum(self, values: torch.Tensor) -> torch.Tensor:
        """``values`` summed over the ranks. Collective."""
        return values

    def concatenate(self, values: torch.Tensor) -> torch.Tensor:
        """All ranks' ``values``, by rank, along the first dimension, in which they may differ.

        Collective.
        """
        return values

    def gather(self, value: Any) -> list[Any]:
        """Every rank's ``value``, by rank, on rank 0; nothing on other ranks. Collective.

        It consists of plain values and tensors.
        """
        return [value]

    def synchronise(self) -> None:
        """Wait until this rank's devices have finished their work."""
        for gpu in self.gpus:
            torch.cuda.synchronize(gpu)

    def barrier(self) -> None:
        """Wait until all ranks' devices have finished. Collective."""
        self.synchronise()

    def tear_down(self) -> None:
        """Leave the other ranks."""

    def _logits(self, network: nn.Module, images: torch.Tensor) -> torch.Tensor:
        """float32 (n, classes), computed in the precision of :attr:`options`."""
        half = self.options.precision is Precision.BF16
        # a step uses each weight once: caching casts does not pay
        with torch.autocast(self.device.type, torch.bfloat16, half, cache_enabled=False):
            logits: torch.Tensor = network(images)
        return logits.float()

    def _backward(self, logits: torch.Tensor, labels: torch.Tensor, scale: float) -> torch.Tensor:
        smoothing = self.options.label_smoothing
        loss_sum = cross_entropy(logits, labels, reduction="sum", label_smoothing=smoothing)
        (loss_sum * scale).backward()  # type: ignore[no-untyped-call]
        return tally(loss_sum, logits, labels)


def tally(loss_sum: torch.Tensor, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """float64 (2,), on the device: the sum of losses and the number of correct answers."""
    right = (logits.detach().argmax(1) == labels).sum()
    return torch.stack([loss_sum.detach().double(), right.double()])


class Single(TrainingStrategy):
    """``single``: one process on one CPU or GPU, the baseline of every speedup."""
