"""Strategies of several processes: their process group, and shared memory of one host's ranks."""

import io
import math
import os
import socket
import time
from contextlib import ExitStack, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from weather_hpc.files import temporary_folder
from weather_hpc.train.exchange import group_timeout_s
from weather_hpc.train.ranks import SHARED_MEMORY, TorchrunEnv
from weather_hpc.train.rendezvous import MEMORY, select_interface
from weather_hpc.train.strategies.base import TrainingStrategy

GLOO_RELEASE_S = 0.05
_LEFT: list[object] = []
"""Groups that were left, with the strategies that use them; see ``tear_down``."""


class Distributed(TrainingStrategy):
    """One process per device, met through torchrun: gloo on CPUs, NCCL on GPUs."""

    def set_up(self, store: dist.Store | None = None) -> None:  # type: ignore[name-defined]
        """Join the process group; alone, without a store, make one of this process."""
        if self.env.local_world_size == self.env.world_size:
            select_interface(LOCALHOST)
        backend = "cpu:gloo,cuda:nccl" if self.device.type == "cuda" else "gloo"
        if self.device.type == "cuda":
            torch.cuda.set_device(self.device)
        where = dist.HashStore() if store is None else store  # type: ignore[attr-defined]
        dist.init_process_group(
            backend, store=where, rank=self.env.rank, world_size=self.env.world_size,
            timeout=timedelta(seconds=group_timeout_s()),
        )  # fmt: skip

    def sum(self, values: torch.Tensor) -> torch.Tensor:
        """An all-reduce: every rank gets the sum."""
        total = values.clone()
        dist.all_reduce(total)
        return total

    def concatenate(self, values: torch.Tensor) -> torch.Tensor:
        """An all-gather, padded to the longest rank's length; the padding is removed."""
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
        """Rank 0 gets every rank's ``value``. What arrives is not trusted: no code is read."""
        file = io.BytesIO()
        torch.save(value, file)
        own = torch.frombuffer(file.getbuffer(), dtype=torch.uint8)
        lengths = [torch.empty(1, dtype=torch.int64) for _ in range(self.env.world_size)]
        dist.all_gather(lengths, torch.tensor([len(own)]))
        padded = torch.zeros(max(map(int, lengths)), dtype=torch.uint8)
        padded[: len(own)] = own
        parts = [torch.empty_like(padded) for _ in lengths] if self.env.rank == 0 else None
        dist.gather(padded, parts)
        return [
            torch.load(io.BytesIO(bytes(part[:length].numpy())), weights_only=True)
            for part, length in zip(parts or [], lengths, strict=False)
        ]

    def barrier(self) -> None:
        """A tiny all-reduce on the device: it ends once every rank has reached it."""
        self.sum(torch.zeros(1, device=self.device))
        self.synchronise()

    def tear_down(self) -> None:
        """Leave the process group.

        Freeing a gloo group joins its thread while holding the interpreter lock, which the thread
        may still need to release its last tensors: a deadlock. So the thread gets the lock first,
        and the group exists until the process ends.
        """
        if dist.is_initialized():
            _LEFT.append((dist.group.WORLD, self))
            time.sleep(GLOO_RELEASE_S)
            dist.destroy_process_group()


LOCALHOST = "127.0.0.1"

SLOTS = "slots"
"""Name of the file with the slots."""

_NAME_MAX = 255
"""Bytes of a file's name."""


SLOT = 1 << 20
"""Bytes; larger tensors are exchanged in parts of this size, which fit a cache."""


class SharedMemory:
    """Exchanges tensors between the ranks of one host. All ranks call the same methods in order.

    gloo sends them through sockets, from threads of its own, which takes time from ranks that
    compute on all cores. Here each rank writes to its slot, sends every other rank one byte, and
    reads all slots once it has a byte from each. There are two sets of slots, used in turn: a byte
    also says that its sender has read the previous set, which may then be overwritten.
    """

    def __init__(self, env: TorchrunEnv, slots: torch.Tensor, peers: list[socket.socket]) -> None:
        self.env = env
        self._slots = slots
        self._peers = peers
        self._turn = 0
        self.spent_s = 0.0
        """Seconds spent here, most of them waiting for slower ranks."""

    @torch.compiler.disable  # type: ignore[untyped-decorator]  # called in compiled layers, too
    def all_reduce(self, values: torch.Tensor) -> torch.Tensor:
        """Sum the contiguous ``values`` over the ranks, in place, to the same bits on each."""
        for piece in torch.split(values.view(-1), SLOT // values.element_size()):
            torch.sum(self._exchange(piece, len(piece)), 0, out=piece)
        return values

    def concatenate(self, values: torch.Tensor) -> torch.Tensor:
        """All ranks' ``values``, by rank, along the first dimension, in which they may differ."""
        counts = self._exchange(torch.tensor([len(values)]), 1)[:, 0].tolist()
        together = values.new_empty(sum(counts), *values.shape[1:])
        parts = [part.view(-1) for part in torch.split(together, counts)]
        own, length = values.reshape(-1), SLOT // values.element_size()
        for first in range(0, max(map(len, parts)), length):
            slots = self._exchange(own[first : first + length], length)
            for slot, part in zip(slots, parts, strict=True):
                piece = part[first : first + length]
                piece.copy_(slot[: len(piece)])
        return together

    def close(self) -> None:
        """Close the connections; a rank that still waits for this one fails."""
        for peer in self._peers:
            peer.close()

    def _exchange(self, own: torch.Tensor, length: int) -> torch.Tensor:
        """Every rank's ``own``, (ranks, ``length``); the rest of a shorter one's slot is undefined.

        Valid until the next call but one. Raises RuntimeError where a rank has exited.
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
                    raise ConnectionError("it has exited")
        except OSError as error:
            raise RuntimeError(
                f"rank {self.env.rank} has lost the connection to another rank: {error}"
            ) from None
        self.spent_s += time.perf_counter() - start
        return side


def open_shared_memory(env: TorchrunEnv) -> SharedMemory | None:
    """Memory of all ranks; None on several hosts, without room, or where it is switched off.

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
        if not _on_all_ranks(slots is not None) or slots is None:
            return None
        listener.settimeout(group_timeout_s())
        lower = [_connected(folder / str(rank)) for rank in range(env.rank)]
        higher = [listener.accept()[0] for _ in range(env.rank + 1, env.world_size)]
        dist.barrier()  # only then is the folder removed
    for peer in (peers := lower + higher):
        peer.settimeout(group_timeout_s())
    return SharedMemory(env, slots, peers)


def _common_folder(env: TorchrunEnv, stack: ExitStack) -> Path | None:
    """A folder with room for all slots, which rank 0 creates and its ``stack`` removes."""
    name = ""
    if env.rank == 0 and os.environ.get(SHARED_MEMORY) != "off":
        with suppress(OSError):
            made = stack.enter_context(temporary_folder("ranks", MEMORY))
            with (made / SLOTS).open("wb") as file:
                os.posix_fallocate(file.fileno(), 0, 2 * env.world_size * SLOT)
            name = made.name
    text = torch.zeros(_NAME_MAX, dtype=torch.uint8)
    if name:
        text[: len(name)] = torch.tensor(list(name.encode()), dtype=torch.uint8)
    dist.broadcast(text, 0)
    name = bytes(text.tolist()).rstrip(b"\0").decode()
    return MEMORY / Path(name).name if name else None


def _on_all_ranks(here: bool) -> bool:
    """Whether ``here`` is true on all ranks."""
    votes = torch.tensor([int(here)])
    dist.all_reduce(votes, dist.ReduceOp.MIN)
    return bool(votes.item())


def _connected(path: Path) -> socket.socket:
    peer = socket.socket(socket.AF_UNIX)
    peer.connect(str(path))
    return peer
