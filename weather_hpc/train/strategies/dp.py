"""``dp``: torch.nn.DataParallel, one process that drives several GPUs.

Each step's batch is divided over the GPUs and the logits are gathered on the first. Batch norm uses
one GPU's images; the first GPU's running statistics are kept.
"""

import torch
from torch import nn

from weather_hpc.train.strategies.base import TrainingStrategy


class DataParallel(TrainingStrategy):
    """One process, ``devices`` GPUs. Never used without CUDA, where it would do nothing."""

    @property
    def gpus(self) -> list[torch.device]:
        """All of them: the first holds the network between steps."""
        return [torch.device("cuda", index) for index in range(self.devices)]

    def place(self, network: nn.Module, image_size: int) -> None:
        """Put the network on the first GPU; each step copies it to the others."""
        super().place(network, image_size)
        self._spread = nn.DataParallel(self.network, device_ids=self.gpus)

    def train_step(
        self, images: torch.Tensor, labels: torch.Tensor, step_images: int
    ) -> torch.Tensor:
        """As a single process, with forward and backward distributed over the GPUs."""
        return self._backward(self._spread(images), labels, 1.0 / step_images)
