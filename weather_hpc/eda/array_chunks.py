"""Chunks of a store's images as array operations take them: where they are, and how they are read.

Chunks are read, not mapped: pages of a map stay in memory as long as the system likes, so that
neither memory nor the time of reading could be measured.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from weather_hpc.dataset.store import IMAGES, Store
from weather_hpc.eda.request import chosen_rows
from weather_hpc.errors import FailedError, UserError
from weather_hpc.runs.page_cache import cached_share
from weather_hpc.text import counted

Bytes = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class ImageChunk:
    """Some images of a store, those of one task."""

    index: int
    file: Path
    """With all pixels of the store, absolute."""
    offset: int
    """Bytes before the first row."""
    side: int
    """Height and width of an image, pixels."""
    spans: tuple[tuple[int, int], ...]
    """First row and number of rows that are adjacent in the file."""

    def __str__(self) -> str:
        return f"chunk {self.index} of {self.file}"

    @property
    def images(self) -> int:
        """How many images it has."""
        return sum(rows for _, rows in self.spans)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(images, side, side, 3)."""
        return self.images, self.side, self.side, 3

    def part(self, number: int) -> "ImageChunk":
        """One of its images, by number, as a chunk of its own."""
        rows = [first + row for first, rows in self.spans for row in range(rows)]
        return replace(self, spans=((rows[number], 1),))

    def read(self) -> Bytes:
        """Its pixels, uint8 of :attr:`shape`, read from the file.

        Raises FailedError where the file cannot be read or ends early.
        """
        pixels = np.empty(self.shape, dtype=np.uint8)
        row_bytes, done = self.side * self.side * 3, 0
        try:
            with self.file.open("rb", buffering=0) as file:
                for first, rows in self.spans:
                    file.seek(self.offset + first * row_bytes)
                    _fill(file.fileno(), pixels[done : done + rows].data.cast("B"))
                    done += rows
        except OSError as error:
            raise FailedError(f"{self.file}: cannot be read: {error.strerror or error}") from None
        return pixels


def _fill(descriptor: int, buffer: memoryview) -> None:
    filled = 0
    while filled < len(buffer):
        read = os.readv(descriptor, [buffer[filled:]])
        if not read:
            raise OSError("ends early; pack the images again")
        filled += read


def make_chunks(store: Store, images: int | None, chunk_images: int) -> list[ImageChunk]:
    """The images of ``store``, ``chunk_images`` at a time; see :func:`chosen_rows`."""
    rows = chosen_rows(store, images)
    file, offset = (store.path / IMAGES).absolute(), int(store.images.offset)
    return [
        ImageChunk(index, file, offset, store.size, tuple(_spans(rows[first:][:chunk_images])))
        for index, first in enumerate(range(0, len(rows), chunk_images))
    ]


def _spans(rows: npt.NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    for part in np.split(rows, np.flatnonzero(np.diff(rows) != 1) + 1):
        yield int(part[0]), len(part)


def check_workers(workers: int, chunks: Sequence[ImageChunk], chunk_images: int) -> None:
    """Raise UserError where some of the workers would have no chunk."""
    if workers > len(chunks):
        images = sum(chunk.images for chunk in chunks)
        raise UserError(
            f"--workers {workers}: {counted(images, 'image')} in chunks of {chunk_images} are "
            f"{counted(len(chunks), 'chunk')}, fewer than workers; use fewer workers or a smaller "
            "--chunk-images"
        )


def forget(chunks: Sequence[ImageChunk]) -> float | None:
    """Ask the system to drop the chunks' file from memory; the share that is still there, 0..1.

    1 on a file system in memory, such as tmpfs. None where the system does not tell.
    """
    file = chunks[0].file
    with file.open("rb") as opened:
        os.fsync(opened.fileno())  # pages that are not on disk yet would be kept
        os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    return cached_share(file)
