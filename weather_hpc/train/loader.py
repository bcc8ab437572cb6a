"""Which rows each rank sees at each step, and how they come from the store.

Every epoch covers every training image exactly once, whatever the world size: nothing is dropped
and nothing is padded. All ranks compute the same permutation from the seed and the epoch, cut it
into the same steps, and each takes its own slice of every step. So the images of a step depend
on the seed and the global batch size alone, never on the strategy.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from weather_hpc.dataset.store import Store
from weather_hpc.errors import UserError
from weather_hpc.study.spec import TrainTask

Rows = npt.NDArray[np.int64]

SUBSET, ORDER, DROPOUT = range(3)
"""Keys that keep the random streams of one seed apart."""


@dataclass(frozen=True)
class Shard:
    """The ``index``-th of ``count`` equal shares of every step's images."""

    index: int = 0
    count: int = 1

    def of(self, rows: Rows) -> Rows:
        """This share of ``rows``; shares differ by at most one row."""
        return np.array_split(rows, self.count)[self.index]


@dataclass(frozen=True)
class Step:
    """One optimizer step: this rank's rows, and how many images all ranks have together."""

    rows: Rows
    images: int


def step_sizes(images: int, batch_size: int) -> list[int]:
    """Images of each step of an epoch: full batches, and the last two share what is left.

    An even share, because a last batch of a single image could not be normalised.
    """
    full, rest = divmod(images, batch_size)
    if not rest:
        return [batch_size] * full
    if not full:
        return [rest]
    shared = batch_size + rest
    return [batch_size] * (full - 1) + [shared - shared // 2, shared // 2]


def training_rows(store: Store, images: int | None, seed: int) -> Rows:
    """The store's training rows, or ``images`` of them; a larger choice holds every smaller one.

    Raises UserError where there are none, or fewer than asked for.
    """
    rows = store.rows("train")
    if not len(rows):
        raise UserError(f"{store.path}: has no training images")
    if images is None:
        return rows
    if images > len(rows):
        raise UserError(f"--images {images}: {store.path} has {len(rows)} training images")
    return np.random.default_rng([seed, SUBSET]).permutation(rows)[:images]


def stream_seed(seed: int, stream: int) -> int:
    """The seed of torch's generator once the weights are drawn, for one of many streams."""
    return int(np.random.SeedSequence([seed, DROPOUT, stream]).generate_state(1)[0])


class EpochSampler:
    """Cuts every epoch's permutation of ``rows`` into steps and keeps one shard of each."""

    def __init__(self, rows: Rows, batch_size: int, seed: int, shard: Shard) -> None:
        self.rows = rows
        self.seed = seed
        self.shard = shard
        self.sizes = step_sizes(len(rows), batch_size)

    def epoch(self, epoch: int) -> list[Step]:
        """The steps of ``epoch``, in order."""
        order = np.random.default_rng([self.seed, ORDER, epoch]).permutation(self.rows)
        steps = np.split(order, np.cumsum(self.sizes)[:-1])
        return [Step(self.shard.of(rows), len(rows)) for rows in steps]

    @property
    def images(self) -> int:
        """Images of one epoch that fall to this shard."""
        return sum(len(self.shard.of(np.arange(size))) for size in self.sizes)


def check_share(network: nn.Module, smallest: int, task: TrainTask) -> None:
    """Raise UserError where a rank's share of some step, ``smallest`` images, is too small."""
    normalises = any(isinstance(layer, _BatchNorm) for layer in network.modules())
    needed = 2 if normalises else 1
    if smallest < needed:
        what = "batch norm works on no fewer than 2" if normalises else "every rank needs one"
        raise UserError(
            f"--batch-size {task.batch_size} ({task.batch_mode}) with --world-size "
            f"{task.world_size} leaves {smallest} images for a device in some step; {what}: "
            "use a larger batch, more images or fewer devices"
        )


def pixels(store: Store, rows: Rows, *, pinned: bool = False) -> torch.Tensor:
    """The images of ``rows``, copied from the map: uint8 (rows, side, side, 3).

    ``pinned``: into memory that a GPU copies from by itself.
    """
    if not pinned:
        return torch.from_numpy(np.asarray(store.images[rows]))
    batch = torch.empty((len(rows), *store.shape[1:]), dtype=torch.uint8, pin_memory=True)
    # clip, because NumPy would check the rows in a second copy of the batch; they are in range
    np.take(store.images, rows, axis=0, out=batch.numpy(), mode="clip")
    return batch


def network_input(
    images: torch.Tensor, memory_format: torch.memory_format = torch.contiguous_format
) -> torch.Tensor:
    """uint8 (images, side, side, 3) -> float32 (images, 3, side, side) in -1..1, on its device."""
    # reordered as bytes: in one step with the conversion it takes more than twice as long on a CPU
    planes = images.permute(0, 3, 1, 2).contiguous(memory_format=memory_format)
    return planes.float().div_(127.5).sub_(1.0)


SPARE = 0.1
"""Share of a device's memory that stays free beside the images and all that warm-up needed."""


ROWS_AT_ONCE = 256
"""Images on their way to the device together."""


class Source(StrEnum):
    """Where training images are read from."""

    MAP = "map"
    RESIDENT = "resident"


class Images:
    """The pixels of a store, for one device."""

    def __init__(self, store: Store, device: torch.device) -> None:
        self.store = store
        self.device = device
        self._kept: torch.Tensor | None = None
        self._places = np.full(len(store.labels), -1)

    @property
    def source(self) -> Source:
        """Where the images are read from that were asked to be kept."""
        return Source.MAP if self._kept is None else Source.RESIDENT

    @property
    def kept_bytes(self) -> int:
        """Device memory that the kept images take."""
        return 0 if self._kept is None else self._kept.nbytes

    def of(self, rows: Rows) -> torch.Tensor:
        """The images of ``rows`` on the device: uint8 (rows, side, side, 3).

        Nothing waits for a GPU: what is done with them there comes after their copy.
        """
        places = self.places(rows)
        if self._kept is not None and (places >= 0).all():
            return self.at(moved(places, self.device))
        batch = pixels(self.store, rows, pinned=self.device.type == "cuda")
        return batch.to(self.device, non_blocking=True)

    def places(self, rows: Rows) -> Rows:
        """Of each of ``rows``, its index among the images kept; -1: it is not."""
        return self._places[rows]

    def at(self, places: torch.Tensor) -> torch.Tensor:
        """The kept images of these indices, a tensor on the device. Raises ValueError."""
        if self._kept is None:
            raise ValueError("no images are kept on the device")
        return self._kept.index_select(0, places)

    def fit(self, rows: Rows, needed: int = 0) -> bool:
        """Whether the images of ``rows`` are better kept on the device, and there is room.

        Ask it after warm-up: what the network takes is then no longer free. ``needed``: bytes that
        will be taken later.
        """
        if self.device.type != "cuda":
            return False
        free, total = torch.cuda.mem_get_info(self.device)
        return len(rows) * self._row_bytes <= free - needed - SPARE * total

    def keep(self, rows: Rows) -> None:
        """Copy the images of ``rows`` to the device, in the order in which they are stored."""
        rows = np.unique(rows)
        kept = torch.empty(
            (len(rows), *self.store.shape[1:]), dtype=torch.uint8, device=self.device
        )
        for first in range(0, len(rows), ROWS_AT_ONCE):
            part = rows[first : first + ROWS_AT_ONCE]
            kept[first : first + len(part)] = self.of(part)
        self._kept = kept
        self._places[rows] = np.arange(len(rows))

    @property
    def _row_bytes(self) -> int:
        return int(np.prod(self.store.shape[1:]))


def moved(values: npt.NDArray[Any], device: torch.device) -> torch.Tensor:
    """``values`` as a tensor on ``device``, without waiting for what a GPU has still to do."""
    tensor = torch.from_numpy(values)
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor


class DataWait:
    """Seconds that ``device`` has had nothing to compute on because a batch was not there yet.

    On a CPU the loading of a batch and the waiting for it are one. A GPU is given work ahead: it
    waits only once it has done all of that, so the seconds between the end of one step's work and
    the arrival of the next batch are taken by its own clock.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._seconds = 0.0
        self._pending: list[tuple[torch.cuda.Event, torch.cuda.Event]] = []

    @contextmanager
    def batch(self) -> Iterator[None]:
        """Within the block a batch is loaded and sent to the device."""
        if self.device.type != "cuda":
            with self.idle():
                yield
            return
        stream = torch.cuda.current_stream(self.device)
        begin, end = (
            torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
            for _ in range(2)
        )
        begin.record(stream)
        yield
        end.record(stream)
        self._pending.append((begin, end))

    @contextmanager
    def idle(self) -> Iterator[None]:
        """Within the block the host works while the device has nothing to do."""
        start = time.perf_counter()
        yield
        self._seconds += time.perf_counter() - start

    def seconds(self) -> float:
        """In all so far. Call it where the device has finished what it was given."""
        for begin, end in self._pending:
            self._seconds += begin.elapsed_time(end) / 1000
        self._pending.clear()
        return self._seconds
