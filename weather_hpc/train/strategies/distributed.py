"""What strategies of several processes share: meeting, adding up, gathering, parting."""

import time
from typing import Any

import torch
import torch.distributed as dist

from weather_hpc.train.strategies.base import Strategy

GLOO_LETS_GO_S = 0.05
_LEFT: list[object] = []
"""Groups that were left, with the strategies that hold them; see ``tear_down``."""


class Distributed(Strategy):
    """One process per device, met through torchrun: gloo on CPUs, NCCL on GPUs."""

    def set_up(self, store: dist.Store | None = None) -> None:  # type: ignore[name-defined]
        """Join the process group; alone, without a store, make one of this process."""
        backend = "cpu:gloo,cuda:nccl" if self.device.type == "cuda" else "gloo"
        if self.device.type == "cuda":
            torch.cuda.set_device(self.device)
        where = dist.HashStore() if store is None else store  # type: ignore[attr-defined]
        dist.init_process_group(
            backend, store=where, rank=self.world.rank, world_size=self.world.size
        )

    def sum(self, values: torch.Tensor) -> torch.Tensor:
        """An all-reduce: every rank gets the sum."""
        total = values.clone()
        dist.all_reduce(total)
        return total

    def concatenate(self, values: torch.Tensor) -> torch.Tensor:
        """An all-gather of equally many, the longest rank's; the padding is cut off again."""
        own = torch.tensor([len(values)], device=self.device)
        counts = [torch.empty_like(own) for _ in range(self.world.size)]
        dist.all_gather(counts, own)
        longest = max(int(count) for count in counts)
        padded = values.new_zeros(longest, *values.shape[1:])
        padded[: len(values)] = values
        parts = [torch.empty_like(padded) for _ in counts]
        if longest:
            dist.all_gather(parts, padded)
        return torch.cat([part[:count] for part, count in zip(parts, counts, strict=True)])

    def gather(self, value: Any) -> list[Any]:
        """Rank 0 gets every rank's ``value``."""
        values: list[Any] | None = [None] * self.world.size if self.world.rank == 0 else None
        dist.gather_object(value, values)
        return values or []

    def barrier(self) -> None:
        """A tiny all-reduce on the device: it ends once every rank has come to it."""
        self.sum(torch.zeros(1, device=self.device))
        self.synchronise()

    def tear_down(self) -> None:
        """Leave the process group.

        Freeing a gloo group joins its thread under the interpreter lock, which that thread may
        still want in order to let go of its last tensors: both would then wait for ever. So the
        thread gets the lock first, and the group lives on until the process ends.
        """
        if dist.is_initialized():
            _LEFT.append((dist.group.WORLD, self))
            time.sleep(GLOO_LETS_GO_S)
            dist.destroy_process_group()
