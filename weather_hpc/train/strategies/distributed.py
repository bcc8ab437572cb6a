"""What strategies of several processes share: meeting, adding up, gathering, parting."""

import math
import os
import socket
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
import torch.distributed as dist
from torch.distributed.constants import default_pg_timeout

from weather_hpc.train.ranks import SHARED_MEMORY, TorchrunEnv
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
            backend, store=where, rank=self.env.rank, world_size=self.env.world_size
        )

    def sum(self, values: torch.Tensor) -> torch.Tensor:
        """An all-reduce: every rank gets the sum."""
        total = values.clone()
        dist.all_reduce(total)
        return total

    def concatenate(self, values: torch.Tensor) -> torch.Tensor:
        """An all-gather of equally many, the longest rank's; the padding is cut off again."""
        own = torch.tensor([len(values)], device=self.device)
        counts = [torch.empty_like(own) for _ in range(self.env.world_size)]
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
        values: list[Any] | None = [None] * self.env.world_size if self.env.rank == 0 else None
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


FOLDER = Path("/dev/shm")  # noqa: S108 - of it we use a folder that nobody else may enter
"""Where files are memory."""


SLOTS = "slots"
"""Name of the file that holds them."""


SLOT = 1 << 20
"""Bytes; what is larger goes in pieces, which caches hold."""


class SharedMemory:
    """One rank's access to it. All ranks call the same methods in the same order."""

    def __init__(self, env: TorchrunEnv, slots: torch.Tensor, peers: list[socket.socket]) -> None:
        self.env = env
        self._slots = slots
        self._peers = peers
        self._turn = 0
        self.spent_s = 0.0
        """Seconds spent here, most of them waiting for slower ranks."""

    @torch.compiler.disable  # type: ignore[untyped-decorator]  # called in compiled layers, too
    def add_up(self, values: torch.Tensor) -> torch.Tensor:
        """Make ``values``, contiguous, the sum of all ranks', to the same bits on each."""
        for piece in torch.split(values.view(-1), SLOT // values.element_size()):
            torch.sum(self._swap(piece, len(piece)), 0, out=piece)
        return values

    def concatenate(self, values: torch.Tensor) -> torch.Tensor:
        """All ranks' ``values``, by rank, along the first dimension, in which they may differ."""
        counts = self._swap(torch.tensor([len(values)]), 1)[:, 0].tolist()
        together = values.new_empty(sum(counts), *values.shape[1:])
        parts = [part.view(-1) for part in torch.split(together, counts)]
        own, length = values.reshape(-1), SLOT // values.element_size()
        for first in range(0, max(map(len, parts)), length):
            slots = self._swap(own[first : first + length], length)
            for slot, part in zip(slots, parts, strict=True):
                piece = part[first : first + length]
                piece.copy_(slot[: len(piece)])
        return together

    def close(self) -> None:
        """Let go of it; a rank that still waits for this one fails."""
        for peer in self._peers:
            peer.close()

    def _swap(self, own: torch.Tensor, length: int) -> torch.Tensor:
        """Every rank's ``own``, (ranks, ``length``); shorter ones leave their slot's rest as it is.

        To be read before the next call but one. Raises RuntimeError where a rank has gone.
        """
        start = time.perf_counter()
        side = self._slots[self._turn % 2, :, : length * own.element_size()].view(own.dtype)
        self._turn += 1
        side[self.env.rank, : len(own)] = own
        try:
            for peer in self._peers:
                peer.sendall(b".")
            for peer in self._peers:
                if not peer.recv(1):
                    raise ConnectionError("it has ended")
        except OSError as error:
            raise RuntimeError(f"rank {self.env.rank} has lost another: {error}") from None
        self.spent_s += time.perf_counter() - start
        return side


def share_memory(env: TorchrunEnv) -> SharedMemory | None:
    """What the ranks of ``world`` share; None where there are several hosts, no room, or no wish.

    Collective, over the process group.
    """
    if env.world_size == 1 or env.local_world_size < env.world_size:
        return None
    with ExitStack() as stack:
        folder = _common_folder(env, stack)
        if folder is None:
            return None
        listener = stack.enter_context(socket.socket(socket.AF_UNIX))
        slots = None
        with suppress(OSError, RuntimeError):
            listener.bind(str(folder / str(env.rank)))
            listener.listen(env.world_size)
            shape = (2, env.world_size, SLOT)
            path = str(folder / SLOTS)
            slots = torch.from_file(path, True, math.prod(shape), dtype=torch.uint8).view(shape)
        if not _everywhere(slots is not None) or slots is None:
            return None
        lower = [_connected(folder / str(rank)) for rank in range(env.rank)]
        higher = [listener.accept()[0] for _ in range(env.rank + 1, env.world_size)]
        dist.barrier()  # only then is the folder removed
    for peer in (peers := lower + higher):
        peer.settimeout(default_pg_timeout.total_seconds())
    return SharedMemory(env, slots, peers)


def _common_folder(env: TorchrunEnv, stack: ExitStack) -> Path | None:
    """A folder with room for all slots, made by rank 0 for as long as its ``stack`` stands."""
    name = None
    if env.rank == 0 and os.environ.get(SHARED_MEMORY) != "off":
        with suppress(OSError):
            made = stack.enter_context(TemporaryDirectory(prefix="weather-hpc-", dir=FOLDER))
            with Path(made, SLOTS).open("wb") as file:
                os.posix_fallocate(file.fileno(), 0, 2 * env.world_size * SLOT)
            name = made
    names = [name]
    dist.broadcast_object_list(names)
    return None if names[0] is None else Path(names[0])


def _everywhere(here: bool) -> bool:
    """Whether all ranks say yes."""
    votes = torch.tensor([int(here)])
    dist.all_reduce(votes, dist.ReduceOp.MIN)
    return bool(votes.item())


def _connected(path: Path) -> socket.socket:
    peer = socket.socket(socket.AF_UNIX)
    peer.connect(str(path))
    return peer
