"""How a training step is distributed over devices: one file per strategy, chosen by name."""

import torch

from weather_hpc.study.tasks import Precision, Strategy, TrainTask
from weather_hpc.train.ranks import TorchrunEnv
from weather_hpc.train.strategies.base import Single, StepOptions, TrainingStrategy
from weather_hpc.train.strategies.ddp import DistributedDataParallel
from weather_hpc.train.strategies.dp import DataParallel
from weather_hpc.train.strategies.model import ModelParallel

STRATEGIES: dict[Strategy, type[TrainingStrategy]] = {
    Strategy.SINGLE: Single,
    Strategy.DP: DataParallel,
    Strategy.DDP: DistributedDataParallel,
    Strategy.MODEL: ModelParallel,
}


def make_strategy(task: TrainTask, device: torch.device, env: TorchrunEnv) -> TrainingStrategy:
    """The strategy of ``task`` for this process on ``device``."""
    choose_kernels(task.precision, device)
    return STRATEGIES[task.strategy](device, env, task.world_size, StepOptions.of(task))


def choose_kernels(precision: Precision, device: torch.device) -> None:
    """Set, for this process, whether float32 products may be TF32 and how kernels are chosen."""
    rounded = precision is not Precision.FP32
    torch.backends.cuda.matmul.allow_tf32 = rounded
    torch.backends.cudnn.allow_tf32 = rounded
    # cuDNN's kernels are timed once for each batch size, in warm-up
    torch.backends.cudnn.benchmark = device.type == "cuda"
