"""How one training step is spread over devices: one file per strategy, chosen by name."""

import torch
from torch import nn

from weather_hpc.models.chunked import learn_in_pieces
from weather_hpc.models.fused import fuse
from weather_hpc.study.recipe import RECIPES
from weather_hpc.study.spec import BatchNorm, MemoryFormat, Precision, TrainTask
from weather_hpc.study.spec import Strategy as Name
from weather_hpc.train.ranks import World
from weather_hpc.train.strategies.base import Single, Strategy
from weather_hpc.train.strategies.ddp import DistributedDataParallel
from weather_hpc.train.strategies.dp import DataParallel
from weather_hpc.train.strategies.model import ModelParallel

STRATEGIES: dict[Name, type[Strategy]] = {
    Name.SINGLE: Single,
    Name.DP: DataParallel,
    Name.DDP: DistributedDataParallel,
    Name.MODEL: ModelParallel,
}


def make_strategy(task: TrainTask, device: torch.device, world: World) -> Strategy:
    """The strategy of ``task`` for this process on ``device``."""
    strategy = STRATEGIES[task.strategy](device, world, task.world_size)
    strategy.label_smoothing = RECIPES[task.recipe].label_smoothing
    strategy.sync_batch_norm = task.batch_norm is BatchNorm.SYNC
    strategy.precision = task.precision
    strategy.compiles = task.execution.compiles
    if task.memory_format is MemoryFormat.CHANNELS_LAST:
        strategy.memory_format = torch.channels_last
    choose_kernels(task.precision, device)
    return strategy


def choose_kernels(precision: Precision, device: torch.device) -> None:
    """Set, for this process, whether float32 products may be TF32 and how kernels are chosen."""
    rounded = precision is not Precision.FP32
    torch.backends.cuda.matmul.allow_tf32 = rounded
    torch.backends.cudnn.allow_tf32 = rounded
    # each size of batch tries cuDNN's kernels once, in warm-up, and keeps the fastest
    torch.backends.cudnn.benchmark = device.type == "cuda"


def use_fast_layers(network: nn.Module, task: TrainTask) -> str | None:
    """On a CPU, let ``network``, already placed, compute several of its layers as one.

    The paper's first layers where that can be, else, and in other sequences of layers, a few
    images at a time. What :func:`~weather_hpc.models.fused.fuse` tells; None where the strategy,
    the precision or the execution of ``task`` needs layers as they are.
    """
    compiled, half = task.execution.compiles, task.precision is Precision.BF16
    if compiled or half or task.strategy is Name.MODEL:
        return None
    told = fuse(network)
    learn_in_pieces(network)
    return told
