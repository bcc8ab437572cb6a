"""Which rows each rank gets at each step, and how their images reach its device.

Every epoch covers every training image exactly once, whatever the world size: nothing is dropped
and nothing is padded. All ranks compute the same permutation from the seed and the epoch, cut it
into the same steps, and each takes its own slice of every step. So the images of a step depend
only on the seed and the global batch size, never on the strategy.

On a CPU images are read from the store's memory map: the page cache is the copy in memory. Training
images that fit into a GPU's memory are sent there once, before measured time, and batches selected
there. Both give the same bits.
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

from weather_hpc.dataset.catalogue import proportional
from weather_hpc.dataset.store import Store
from weather_hpc.errors import UserError
from weather_hpc.study.steps import held_apart_count, step_sizes, too_few
from weather_hpc.study.tasks import TrainTask

Rows = npt.NDArray[np.int64]

SUBSET, ORDER, DROPOUT = range(3)
"""Keys that separate the random streams of one seed; :data:`~.augmentation.AUGMENT` is 3."""

HELD_APART = 4
"""The key of the choice of images that are held apart."""


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


def training_rows(store: Store, images: int | None, seed: int) -> Rows:
    """The store's training rows, or ``images`` of them; a larger choice holds every smaller one.

    Raises UserError where there are none, or fewer than requested.
    """
    rows = store.rows("train")
    if not len(rows):
        raise UserError(f"{store.path}: has no training images")
    if images is None:
        return rows
    if images > len(rows):
        raise UserError(f"--images {images}: {store.path} has {len(rows)} training images")
    return np.random.default_rng([seed, SUBSET]).permutation(rows)[:images]


def split_training_rows(store: Store, task: TrainTask) -> tuple[Rows, Rows]:
    """The rows that ``task`` trains with, and those of the training split that it holds apart.

    Those are of all classes in proportion; images that are in the store twice train. Raises
    UserError as :func:`training_rows` does.
    """
    rows = training_rows(store, task.images, task.seed)
    count = held_apart_count(task.held_apart, len(rows))
    if not count:
        return rows, rows[:0]
    originals = {item["duplicate_of"] for item in store.items} - {""}
    single = [not item["duplicate_of"] and item["path"] not in originals for item in store.items]
    order = np.random.default_rng([task.seed, HELD_APART]).permutation(rows)
    order = order[np.array(single)[order]]
    by_class = [order[store.labels[order] == label] for label in range(len(store.classes))]
    counts = proportional(min(count, len(order)), list(map(len, by_class)))
    held = [of_class[:n] for of_class, n in zip(by_class, counts, strict=True)]
    apart = np.sort(np.concatenate(held))
    return rows[~np.isin(rows, apart)], apart


def stream_seed(seed: int, stream: int) -> int:
    """The seed of torch's generator for one of many streams, set once weights are initialised."""
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


def check_share(network: nn.Module, task: TrainTask, images: int) -> None:
    """Raise UserError where some step of an epoch of ``images`` gives a device too few of them."""
    normalises = any(isinstance(layer, _BatchNorm) for layer in network.modules())
    if reason := too_few(task, images, normalises):
        raise UserError(
            f"--batch-size {task.batch_size} ({task.batch_mode}) with --world-size "
            f"{task.world_size} {reason}"
        )


def pixels(store: Store, rows: Rows, *, pinned: bool = False) -> torch.Tensor:
    """The images of ``rows``, copied from the memory map: uint8 (rows, side, side, 3).

    ``pinned``: into page-locked memory, which a GPU copies without its host.
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
"""Share of a device's memory that stays free besides the images and what warm-up needed."""


ROWS_PER_COPY = 256
"""Images sent to the device at a time."""


class Source(StrEnum):
    """Where training images are read from. The values are those of the event ``input``."""

    MAP = "map"
    """The store's memory map."""
    DEVICE = "resident"


class ImageReader:
    """Reads the images of a store onto one device, where they may be cached."""

    def __init__(self, store: Store, device: torch.device) -> None:
        self.store = store
        self.device = device
        self._cached: torch.Tensor | None = None
        self._indices = np.full(len(store.labels), -1)

    @property
    def source(self) -> Source:
        """Where training images are read from."""
        return Source.MAP if self._cached is None else Source.DEVICE

    @property
    def cached_bytes(self) -> int:
        """Device memory that the cached images take."""
        return 0 if self._cached is None else self._cached.nbytes

    def read(self, rows: Rows) -> torch.Tensor:
        """The images of ``rows`` on the device: uint8 (rows, side, side, 3).

        The host does not wait for a GPU, which copies them before it uses them.
        """
        indices = self.indices(rows)
        if self._cached is not None and (indices >= 0).all():
            return self.select(to_device(indices, self.device))
        batch = pixels(self.store, rows, pinned=self.device.type == "cuda")
        return batch.to(self.device, non_blocking=True)

    def indices(self, rows: Rows) -> Rows:
        """The index of each of ``rows`` in the cache; -1: it is not cached."""
        return self._indices[rows]

    def select(self, indices: torch.Tensor) -> torch.Tensor:
        """The cached images of ``indices``, a tensor on the device. Raises ValueError."""
        if self._cached is None:
            raise ValueError("no images are cached on the device")
        return self._cached.index_select(0, indices)

    def fits(self, rows: Rows, needed: int = 0) -> bool:
        """Whether the device is a GPU with room for the images of ``rows``.

        To be called after warm-up, which takes the memory that the network needs. ``needed``: bytes
        that will be taken later.
        """
        if self.device.type != "cuda":
            return False
        free, total = torch.cuda.mem_get_info(self.device)
        return len(rows) * self._row_bytes <= free - needed - SPARE * total

    def cache(self, rows: Rows) -> None:
        """Copy the images of ``rows`` to the device, in the order in which they are stored."""
        rows = np.unique(rows)
        cached = torch.empty(
            (len(rows), *self.store.shape[1:]), dtype=torch.uint8, device=self.device
        )
        for first in range(0, len(rows), ROWS_PER_COPY):
            part = rows[first : first + ROWS_PER_COPY]
            cached[first : first + len(part)] = self.read(part)
        self._cached = cached
        self._indices[rows] = np.arange(len(rows))

    @property
    def _row_bytes(self) -> int:
        return int(np.prod(self.store.shape[1:]))


def to_device(values: npt.NDArray[Any], device: torch.device) -> torch.Tensor:
    """``values`` as a tensor on ``device``, without waiting for a GPU's earlier work."""
    tensor = torch.from_numpy(values)
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor


class DataWait:
    """Seconds that ``device`` was idle because a batch was not there yet.

    On a CPU that is the time of loading a batch. A GPU has work queued and waits only once that is
    done: its own clock measures from the end of one step's work to the arrival of the next batch.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._seconds = 0.0
        self._pending: list[tuple[torch.cuda.Event, torch.cuda.Event]] = []

    @contextmanager
    def batch(self) -> Iterator[None]:
        """The block loads a batch and sends it to the device."""
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
        """The block is host work during which the device is idle."""
        start = time.perf_counter()
        yield
        self._seconds += time.perf_counter() - start

    def seconds(self) -> float:
        """The sum so far. To be called when the device is synchronised."""
        for begin, end in self._pending:
            self._seconds += begin.elapsed_time(end) / 1000
        self._pending.clear()
        return self._seconds
