"""Dask as it is often written first: one task per image, pixels sent back to one process.

Kept to be measured. It is what makes Dask look slower than no parallelism at all; what the other
Dask backend does otherwise is told in docs/how-to/preprocessing.md.
"""

from collections.abc import Iterator, Sequence
from functools import cache
from itertools import islice
from types import MappingProxyType
from typing import TYPE_CHECKING

import dask
from distributed import KilledWorker

from weather_hpc.dataset.probe import ImageError
from weather_hpc.preprocess.backends.base import worker_lost
from weather_hpc.preprocess.backends.dask import ALIKE, DaskBackend
from weather_hpc.preprocess.chunk import Chunk, ChunkResult, Target, write_chunk
from weather_hpc.preprocess.decoders import make_decoder

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


class DaskNaiveBackend(DaskBackend):
    """As :class:`DaskBackend`, with Dask's own settings and images as tasks."""

    settings = MappingProxyType(ALIKE)

    def run(self, target: Target, chunks: Sequence[Chunk]) -> Iterator[ChunkResult]:
        """Have every image decoded by a task of its own; write the chunks here, in order."""
        one = dask.delayed(_decode, pure=False)
        futures = iter(
            self._client.compute([one(target, path) for chunk in chunks for path in chunk.paths])
        )
        for chunk in chunks:
            try:
                answers = self._client.gather(list(islice(futures, len(chunk.paths))))
            except KilledWorker:
                raise worker_lost("killed, or out of memory") from None
            yield _write(target, chunk, answers)


_decoder = cache(make_decoder)  # one for the worker's life, as any naive code has


def _decode(target: Target, path: str) -> "npt.NDArray[np.uint8] | str":
    """On a worker: the pixels of one image, or why there are none."""
    try:
        return _decoder(target.decoder)(target.root / path, target.size)
    except ImageError as error:
        return str(error)


def _write(
    target: Target, chunk: Chunk, answers: "Sequence[npt.NDArray[np.uint8] | str]"
) -> ChunkResult:
    import numpy as np

    rows = np.zeros((len(answers), target.size, target.size, 3), dtype=np.uint8)
    failed = {}
    for row, answer in enumerate(answers):
        if isinstance(answer, str):
            failed[chunk.first_row + row] = answer
        else:
            rows[row] = answer
    return write_chunk(target, chunk, rows, failed)
