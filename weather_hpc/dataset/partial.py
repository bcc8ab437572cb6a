"""A store while it is written: ``<out>.partial``, which a killed run leaves and the next finishes.

Chunks arrive in any order. Each finished chunk is a line of ``progress.jsonl`` with its checksum;
on opening, a line counts only if the pixels still match it. Nothing is at ``<out>`` until the
store is complete.
"""

import hashlib
import json
import math
import os
import shutil
import socket
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from pydantic import TypeAdapter

from weather_hpc.dataset.catalogue import Catalogue, Split
from weather_hpc.dataset.space import check_space
from weather_hpc.dataset.store import (
    CHUNK_ROWS,
    FORMAT,
    HEADER,
    IMAGES,
    ITEMS,
    QUARANTINE,
    VERSION,
    Store,
    is_store,
    items_csv,
    overall_checksum,
    quarantine_csv,
)
from weather_hpc.errors import FailedError, UserError
from weather_hpc.files import take_lock, write_json, write_text
from weather_hpc.reading import read_bytes, read_object
from weather_hpc.text import clean

BLOCK = 512
"""Bytes of a block as the file system counts them (POSIX, st_blocks)."""

PLAN, PROGRESS, LOCK = "plan.json", "progress.jsonl", "lock"
KEPT = "finished chunks are kept: run the same command again to make only the missing ones"


@dataclass(frozen=True)
class Contents:
    """What a store will hold; ``split`` has one entry per item of the catalogue."""

    catalogue: Catalogue
    split: Sequence[Split]
    size: int
    resize: str

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(images, side, side, 3)."""
        return len(self.catalogue.items), self.size, self.size, 3

    def identity(self) -> dict[str, Any]:
        """What is equal in two stores of the same contents."""
        return {
            "format": FORMAT,
            "version": VERSION,
            "catalogue": self.catalogue.fingerprint,
            "split": hashlib.sha256(" ".join(self.split).encode()).hexdigest(),
            "shape": list(self.shape),
            "dtype": "uint8",
            "resize": self.resize,
            "chunk_rows": CHUNK_ROWS,
        }


@dataclass(frozen=True)
class FinishedChunk:
    """One finished chunk: its number, its pixels' sha256, and row -> reason of failed images."""

    index: int
    sha256: str
    failed: dict[int, str] = field(default_factory=dict)
    damaged: dict[int, str] = field(default_factory=dict)
    """Row -> damage of images that are in the store nevertheless."""
    gone: bool = False
    """Whether files could not be read at all: they may be back in the next run."""


_CHUNK = TypeAdapter(FinishedChunk)
"""Checks a line of progress.jsonl."""

LARGEST_PROGRESS = 2**27
"""Bytes. A line takes some hundred, and some more for each image that cannot be read."""


class PartialStore:
    """The one writer of ``<out>.partial``. Use as a context manager: it holds a lock."""

    def __init__(self, out: Path, contents: Contents, *, fresh: bool = False) -> None:
        """Continue what an earlier run left of the same ``contents``, or start over.

        ``fresh`` always starts over. Raises UserError where ``out`` exists, another process packs
        it, the file system is too full, or the partial folder is another program's; FailedError
        where it cannot be written.
        """
        if out.exists():
            raise UserError(f"{out}: already exists; choose another --out")
        self.out = out
        self.contents = contents
        self.folder = out.with_name(out.name + ".partial")
        self._lock = self._take_lock()
        try:
            with self._writing():
                fresh = fresh or not self._is_same()
                self._check_space()
                if fresh:
                    self._begin()
            self.finished = {chunk.index: chunk for chunk in self._read_progress()}
        except BaseException:
            if not (self.folder / PLAN).exists():  # nothing that another run could finish
                shutil.rmtree(self.folder, ignore_errors=True)
            self._lock.close()
            raise

    def __enter__(self) -> "PartialStore":
        return self

    def __exit__(self, *_: object) -> None:
        self._lock.close()

    @property
    def images(self) -> Path:
        """The file of pixels, for workers to write into."""
        return self.folder / IMAGES

    @property
    def data_offset(self) -> int:
        """Where the pixels begin in that file, bytes."""
        return self.images.stat().st_size - _bytes(self.contents.shape)

    def paths_of(self, failed: dict[int, str]) -> dict[str, str]:
        """Path -> reason, of a chunk's failed images."""
        return {self.contents.catalogue.items[row].path: why for row, why in failed.items()}

    def missing(self) -> list[int]:
        """The chunks that are still to be made."""
        return [index for index in range(self._chunks) if index not in self.finished]

    def finish(self, chunk: FinishedChunk) -> None:
        """Record a chunk whose pixels are written. One with files that are ``gone`` is made again
        by the next run.

        Raises FailedError where images failed because their whole folder is gone, for example
        unmounted.
        """
        root = self.contents.catalogue.root
        if chunk.failed and not root.is_dir():
            raise FailedError(f"{root}: the folder of images is gone; {KEPT}")
        if not chunk.gone:
            with self._writing(), (self.folder / PROGRESS).open("a", encoding="utf-8") as file:
                # the line break comes first: the line before may be incomplete
                file.write("\n" + json.dumps(asdict(chunk)))
        self.finished[chunk.index] = chunk

    def commit(self) -> Store:
        """Write the tables and the header, flush everything to disk, and rename to ``out``.

        Raises FailedError where the disk cannot be written.
        """
        if missing := self.missing():
            raise ValueError(f"{self.folder}: {len(missing)} chunks are still missing")
        chunks = [self.finished[index] for index in range(self._chunks)]
        failed = {row: why for chunk in chunks for row, why in chunk.failed.items()}
        damaged = {row: why for chunk in chunks for row, why in chunk.damaged.items()}
        tables = {
            ITEMS: items_csv(self.contents.catalogue, self.contents.split, failed, damaged),
            QUARANTINE: quarantine_csv(self.contents.catalogue, failed),
        }
        with self._writing():
            self._write_parts(tables, [chunk.sha256 for chunk in chunks])
            self.folder.rename(self.out)
            for name in (PLAN, PROGRESS, LOCK):
                (self.out / name).unlink(missing_ok=True)
        return Store.open(self.out)

    def _write_parts(self, tables: dict[str, str], digests: list[str]) -> None:
        for name, text in tables.items():
            write_text(self.folder / name, text)
        write_json(
            self.folder / HEADER,
            {
                **self.contents.identity(),
                "classes": self.contents.catalogue.classes,
                "tables": {
                    name: hashlib.sha256(t.encode()).hexdigest() for name, t in tables.items()
                },
                "checksum": overall_checksum(digests),
                "chunk_sha256": digests,
            },
        )
        with self.images.open("rb") as file:
            os.fsync(file.fileno())

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Turn an OSError in the block into a FailedError."""
        try:
            yield
        except OSError as error:
            what = f"cannot be written: {error.strerror or error}"
            raise FailedError(f"{self.folder}: {what}; {KEPT}") from None

    @property
    def _chunks(self) -> int:
        return -(-self.contents.shape[0] // CHUNK_ROWS)

    def _take_lock(self) -> BinaryIO:
        if (
            self.folder.exists()
            and not (self.folder / LOCK).exists()
            and any(self.folder.iterdir())
        ):
            raise UserError(f"{self.folder}: was not made by this program; choose another --out")
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            if os.path.lexists(self.folder / LOCK) and not _is_own(self.folder / LOCK):
                raise UserError(f"{self.folder / LOCK}: is not a file; choose another --out")
            lock = (self.folder / LOCK).open("a+b", buffering=0)
        except OSError as error:
            raise UserError(f"{self.folder}: cannot be written: {error.strerror}") from None
        # without locks, as on some network file systems, users must not start two runs
        if take_lock(lock) is False:
            lock.seek(0)
            holder = lock.read(100).decode(errors="replace")
            lock.close()
            raise UserError(
                f"{self.out}: another process is packing this store now"
                + (f" ({clean(holder)})" if holder else "")
            )
        with suppress(OSError):  # a full disk: the lock holds without the name of its holder
            lock.truncate(0)
            lock.write(f"pid {os.getpid()} on {socket.gethostname()}".encode())
        return lock

    def _check_space(self) -> None:
        """Raise UserError where the pixels do not fit on the disk.

        The file is sparse: what is already written is reused, or freed first.
        """
        written = self.images.stat().st_blocks * BLOCK if self.images.exists() else 0
        check_space(
            self.folder,
            _bytes(self.contents.shape) - written,
            "make room, or choose another --out, a smaller --size or fewer --images",
        )

    def _is_same(self) -> bool:
        try:
            plan = read_object(self.folder / PLAN)
            if plan != self.contents.identity():
                return False
            # nothing is written into a pipe, or into what a link leads to
            progress = self.folder / PROGRESS
            if os.path.lexists(progress) and not _is_own(progress):
                return False
            return _is_own(self.images) and self._is_mapped()
        except UserError:
            return False

    def _is_mapped(self) -> bool:
        """Whether the file of pixels is an array of this store's shape."""
        import numpy as np

        try:
            images = np.load(self.images, mmap_mode="r")
        except Exception:  # numpy raises nearly anything for a damaged file
            return False
        return bool((images.shape, images.dtype) == (self.contents.shape, np.dtype(np.uint8)))

    def _begin(self) -> None:
        import numpy as np

        for path in self.folder.iterdir():
            if path.name != LOCK:
                path.unlink()
        array = np.lib.format.open_memmap(
            self.images, mode="w+", dtype=np.uint8, shape=self.contents.shape
        )
        del array
        write_json(self.folder / PLAN, self.contents.identity())

    def _read_progress(self) -> Iterable[FinishedChunk]:
        """The chunks that an earlier run finished and whose pixels still match their checksums."""
        import numpy as np

        path = self.folder / PROGRESS
        if not path.exists():
            return
        images = np.load(self.images, mmap_mode="r")
        try:
            lines = read_bytes(path, LARGEST_PROGRESS).splitlines()
        except UserError:
            return  # all are made again
        for line in lines:
            try:
                chunk = _CHUNK.validate_json(line)
            except ValueError:
                continue  # empty, or the line that was being written when the run was killed
            first = chunk.index * CHUNK_ROWS
            rows = images[first : first + CHUNK_ROWS]
            if 0 <= chunk.index < self._chunks and hashlib.sha256(rows).hexdigest() == chunk.sha256:
                yield chunk


def reusable(out: Path, contents: Contents) -> Store | None:
    """The complete store at ``out`` if it holds ``contents``; None where ``out`` does not exist.

    Raises UserError where ``out`` is anything else.
    """
    if not out.exists():
        return None
    if not is_store(out):
        raise UserError(f"{out}: exists and is not a store; choose another --out")
    store = Store.open(out)
    for key, value in contents.identity().items():
        if store.header.get(key) != value:
            raise UserError(f"{out}: holds another store ({key} differs); choose another --out")
    return store


def _is_own(path: Path) -> bool:
    """Whether ``path`` is a regular file and no link."""
    return path.is_file() and not path.is_symlink()


def _bytes(shape: tuple[int, ...]) -> int:
    return math.prod(shape)
