"""``ddp``: torch's DistributedDataParallel, one process per device, gradients averaged.

The same seed and global batch give the loss curve of a single process, within float tolerance,
for networks that treat images one by one. Batch norm does not: it takes its statistics from one
rank's images (running statistics are rank 0's) unless it is synchronised, so such networks train as
well along another curve. Dropout drops the same values as one process, except on GPUs, whose
kernels number their random values differently.

CPUs of one host exchange gradients through shared memory
(:mod:`weather_hpc.train.strategies.distributed`). gloo and NCCL exchange them while the backward
pass still computes, so that time cannot be measured separately; records leave it null.
"""

import inspect
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import nn

from weather_hpc.train.layers import SharedDropout, StepShare, SyncBatchNorm2d, replace_layers
from weather_hpc.train.loader import Shard
from weather_hpc.train.strategies.distributed import Distributed, SharedMemory, open_shared_memory

_WRAPPER = nn.parallel.DistributedDataParallel
_RENAMED = "forward_sync_buffers" in inspect.signature(_WRAPPER).parameters
_SYNC_BUFFERS: dict[str, Any] = {"forward_sync_buffers" if _RENAMED else "broadcast_buffers": False}
"""Else rank 0's running statistics are copied at every step; only evaluation reads them."""


class DistributedDataParallel(Distributed):
    """A replica per rank; each step's images are divided evenly."""

    memory: SharedMemory | None = None
    """Used instead of gloo where all ranks share memory."""

    @property
    def shard(self) -> Shard:
        """One share per rank."""
        return Shard(self.env.rank, self.env.world_size)

    @property
    def owns_weights(self) -> bool:  # type: ignore[override]
        """Replicas are equal: rank 0's are saved."""
        return self.env.rank == 0

    @property
    def exchange(self) -> str:  # type: ignore[override]
        """``shared memory``, ``gloo`` or ``nccl``."""
        if self.memory is not None:
            return "shared memory"
        return "nccl" if self.device.type == "cuda" else "gloo"

    @property
    def communication_s(self) -> float | None:  # type: ignore[override]
        """Measured where memory is shared."""
        return None if self.memory is None else self.memory.spent_s

    def set_up(self, store: dist.Store | None = None) -> None:  # type: ignore[name-defined]
        """Join the process group, and share memory where the ranks can."""
        super().set_up(store)
        if self.device.type == "cpu":
            self.memory = open_shared_memory(self.env)

    def place(self, network: nn.Module, image_size: int) -> None:
        """Wrap the network so that its backward pass averages gradients over the ranks."""
        several = self.env.world_size > 1
        self._share = StepShare()
        if several:
            network = replace_layers(network, nn.Dropout, partial(SharedDropout, share=self._share))
        if several and self.options.sync_batch_norm:
            sync = partial(SyncBatchNorm2d, sum_over_ranks=self.sum)
            network = replace_layers(network, nn.BatchNorm2d, sync)
        super().place(network, image_size)
        # compiled inside: around the wrapper torch.compile would silently do nothing
        self._replica = _WRAPPER(
            self.trained,
            device_ids=[self.device] if self.device.type == "cuda" else None,
            gradient_as_bucket_view=True,
            **_SYNC_BUFFERS,
        )
        if self.memory is not None:
            self._replica.register_comm_hook(self.memory, _average)

    def train_step(
        self, images: torch.Tensor, labels: torch.Tensor, step_images: int
    ) -> torch.Tensor:
        """Scaled so that the average over ranks is exact; their shares may differ by one image."""
        self._share.begin_step(int(self.shard.of(np.arange(step_images))[0]), step_images)
        logits = self._logits(self._replica, images)
        return self._backward(logits, labels, self.env.world_size / step_images)

    @property
    def random_stream(self) -> int:
        """One for all ranks: dropout uses this rank's part of the masks of all images."""
        return 0

    def sum(self, values: torch.Tensor) -> torch.Tensor:
        """Every rank gets the sum."""
        return (
            super().sum(values) if self.memory is None else self.memory.all_reduce(values.clone())
        )

    def concatenate(self, values: torch.Tensor) -> torch.Tensor:
        """Every rank gets all of them."""
        memory = self.memory
        return super().concatenate(values) if memory is None else memory.concatenate(values)

    def before_evaluation(self) -> None:
        """Give every rank the running statistics of rank 0."""
        for buffer in self.network.buffers():
            dist.broadcast(buffer, src=0)

    def tear_down(self) -> None:
        """Leave the other ranks."""
        if self.memory is not None:
            self.memory.close()
        super().tear_down()


def _average(
    memory: SharedMemory,
    bucket: dist.GradBucket,  # type: ignore[name-defined]
) -> torch.futures.Future[torch.Tensor]:
    """The mean of all ranks' gradients, as DistributedDataParallel asks its hook for it."""
    mean: torch.futures.Future[torch.Tensor] = torch.futures.Future()
    mean.set_result(memory.all_reduce(bucket.buffer()).div_(memory.env.world_size))
    return mean
