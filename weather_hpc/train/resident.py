"""Where a rank's images come from: the store's map, or a copy of them on its device.

On a CPU the map is all that is needed: the page cache is the copy in memory. A GPU would be sent
every image anew in each epoch; where the training images fit into its memory they are sent once,
before measured time, and a batch is then picked out on the device. Both give the same bits.
"""

from enum import StrEnum
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from weather_hpc.dataset.store import Store
from weather_hpc.train.loader import Rows, pixels

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
