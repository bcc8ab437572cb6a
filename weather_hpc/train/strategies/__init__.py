"""How one training step is spread over devices: one file per strategy, chosen by name."""

import torch

from weather_hpc.study.spec import Strategy as Name
from weather_hpc.train.strategies.base import Strategy
from weather_hpc.train.strategies.ddp import DistributedDataParallel
from weather_hpc.train.strategies.dp import DataParallel
from weather_hpc.train.strategies.model import ModelParallel
from weather_hpc.train.strategies.single import Single
from weather_hpc.train.world import World

STRATEGIES: dict[Name, type[Strategy]] = {
    Name.SINGLE: Single,
    Name.DP: DataParallel,
    Name.DDP: DistributedDataParallel,
    Name.MODEL: ModelParallel,
}


def make_strategy(name: Name, device: torch.device, world: World, devices: int) -> Strategy:
    """The strategy ``name`` for this process on ``device``; ``devices``: of all processes."""
    return STRATEGIES[name](device, world, devices)
