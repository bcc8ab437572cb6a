"""The packed store: a folder of images as one array of bytes, checked and memory-mapped.

======================  =====================================================================
``header.json``         format and version, shape, classes, how it was made, all checksums
``images.npy``          uint8, (images, side, side, 3), RGB; ``numpy.load`` reads it as well
``items.csv``           row, path, class, split, sha256, duplicate_of, valid (0: row is black),
                        damage (of an image that was kept)
``quarantine.csv``      path, reason: what was left out or could not be decoded
======================  =====================================================================

A store appears under its name complete, by one rename; see :mod:`weather_hpc.dataset.partial`.
"""

import csv
import hashlib
import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, Field, ValidationError

from weather_hpc.dataset.catalogue import Catalogue, Split
from weather_hpc.dataset.image_file import original, printable
from weather_hpc.errors import UserError
from weather_hpc.reading import LARGEST_FILE, check_size, first_error, read_object

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

FORMAT, VERSION = "weather_hpc store", 1
SPLITS = tuple(Split)
CHUNK_ROWS = 32
"""Rows that are written, checked and repeated together."""

HEADER, IMAGES, ITEMS, QUARANTINE = "header.json", "images.npy", "items.csv", "quarantine.csv"

ITEM_COLUMNS = ["row", "path", "class", "split", "sha256", "duplicate_of", "valid", "damage"]
QUARANTINE_COLUMNS = ["path", "reason"]
VALID = ("0", "1")
LONGEST_LINE = 2**17
"""Characters of a line of either table; a path has at most 4096."""

TABLE_BYTES, ROW_BYTES = 2**26, 2**14
"""The most that a table has, and for each image."""

NAME_COLUMNS = ("path", "class", "duplicate_of")


def is_store(path: Path) -> bool:
    """Whether ``path`` is a folder with a store's header."""
    return (path / HEADER).is_file()


def overall_checksum(chunk_sha256: list[str]) -> str:
    """The checksum of all pixels: sha256 over the chunks' digests, in order."""
    return hashlib.sha256(b"".join(map(bytes.fromhex, chunk_sha256))).hexdigest()


class _Header(BaseModel):
    """The values of header.json that are used; it has more."""

    shape: list[Annotated[int, Field(ge=1)]] = Field(min_length=4, max_length=4)
    classes: list[str]
    resize: str
    chunk_rows: int = Field(ge=1)
    tables: dict[Literal["items.csv", "quarantine.csv"], str]
    checksum: str
    chunk_sha256: list[Annotated[str, Field(pattern="^[0-9a-f]{64}$")]]


@dataclass(frozen=True)
class Store:
    """A committed store. Open it with :meth:`open`."""

    path: Path
    header: dict[str, Any]

    @classmethod
    def open(cls, path: Path) -> "Store":
        """The store at ``path``; its pixels are mapped, not read.

        Raises UserError where there is no store, where it has another version, or where a part is
        missing or has the wrong size. Only :meth:`verify` compares pixels with their checksums.
        """
        if not is_store(path):
            what = "no such store" if not path.exists() else f"is not a store: it has no {HEADER}"
            raise UserError(f"{path}: {what}; python -m weather_hpc.preprocess makes one")
        header = read_object(path / HEADER, LARGEST_FILE)
        version = (header.get("format"), header.get("version"))
        if version != (FORMAT, VERSION):
            found = f"{version}"[:80]
            raise UserError(
                f"{path / HEADER}: {found}, expected {(FORMAT, VERSION)}; pack the images again"
            )
        try:
            _Header.model_validate(header, strict=True)
        except ValidationError as error:
            raise UserError(
                f"{path / HEADER}: {first_error(error)}; pack the images again"
            ) from None
        store = cls(path, header)
        store._check_parts()
        return store

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(images, side, side, 3)."""
        images, height, width, channels = self.header["shape"]
        return images, height, width, channels

    @property
    def size(self) -> int:
        """Height and width of every image, pixels."""
        return self.shape[1]

    @property
    def classes(self) -> list[str]:
        """The classes' names; a label is an index into them."""
        return list(self.header["classes"])

    @property
    def checksum(self) -> str:
        """sha256 over the digests of all chunks of pixels, from the header."""
        return str(self.header["checksum"])

    @cached_property
    def images(self) -> "np.memmap[Any, np.dtype[np.uint8]]":
        """All pixels, uint8 of shape (images, side, side, 3), mapped read-only."""
        import numpy as np

        return np.lib.format.open_memmap(self.path / IMAGES, mode="r")

    @cached_property
    def items(self) -> list[dict[str, str]]:
        """The rows of items.csv, with names as in the file system."""
        return list(read_table(self.path / ITEMS))

    @property
    def labels(self) -> "npt.NDArray[np.int64]":
        """The label of every row, int64 of shape (images,), invalid rows included."""
        return self._columns[0]

    def rows(self, split: str | None = None) -> "npt.NDArray[np.int64]":
        """Indices of the valid rows of a split (``train`` or ``test``) or of all."""
        import numpy as np

        _, splits, valid = self._columns
        chosen = valid if split is None else valid & (splits == SPLITS.index(split))
        return np.flatnonzero(chosen)

    def invalid(self) -> dict[str, str]:
        """The images that could not be decoded: path -> reason."""
        rows = read_table(self.path / ITEMS)
        paths = {row["path"] for row in rows if row["valid"] == "0"}
        return {e["path"]: e["reason"] for e in self.quarantine() if e["path"] in paths}

    def damaged(self) -> dict[str, str]:
        """The damaged images that were kept: path -> reason. A store of an earlier version does
        not tell any."""
        rows = read_table(self.path / ITEMS)
        return {row["path"]: row["damage"] for row in rows if row.get("damage")}

    def quarantine(self) -> list[dict[str, str]]:
        """What was left out: ``path`` (as in the file system) and ``reason``."""
        return list(read_table(self.path / QUARANTINE))

    @cached_property
    def _columns(self) -> "tuple[npt.NDArray[np.int64], ...]":
        """Label, index of the split and validity (0 or 1) of every row, each of shape (images,).

        All that training needs from items.csv, in bytes instead of kilobytes per image.
        """
        import numpy as np

        label = {name: index for index, name in enumerate(self.classes)}
        rows = islice(read_table(self.path / ITEMS), self.shape[0] + 1)
        table = np.fromiter(
            (
                (label[row["class"]], SPLITS.index(row["split"]), VALID.index(row["valid"]))
                for row in rows
            ),
            dtype=np.dtype((np.int64, 3)),
        )
        return tuple(table.T.copy())

    def verify(self) -> list[str]:
        """Read everything and compare it with its checksums; one line for each damaged part."""
        damaged = []
        for name, expected in self.header["tables"].items():
            with (self.path / name).open("rb") as file:
                if hashlib.file_digest(file, "sha256").hexdigest() != expected:
                    damaged.append(f"{name}: content differs from its checksum")
        chunk_rows = int(self.header["chunk_rows"])
        digests = []
        for index, expected in enumerate(self.header["chunk_sha256"]):
            first = index * chunk_rows
            rows = self.images[first : first + chunk_rows]
            digests.append(hashlib.sha256(rows.data).hexdigest())
            if digests[-1] != expected:
                last = first + len(rows) - 1
                damaged.append(f"{IMAGES}: chunk {index} (rows {first} to {last}) is damaged")
        if not damaged and overall_checksum(digests) != self.checksum:
            damaged.append(f"{HEADER}: its overall checksum does not match its chunks' checksums")
        return damaged

    def _check_parts(self) -> None:
        import numpy as np

        for name in (IMAGES, ITEMS, QUARANTINE):
            if not (self.path / name).is_file():
                raise UserError(f"{self.path}: {name} is missing; pack the images again")
        for name in (ITEMS, QUARANTINE):
            check_size(self.path / name, TABLE_BYTES + ROW_BYTES * self.shape[0])
        try:
            array = self.images.shape, self.images.dtype
        except Exception as error:  # numpy raises nearly anything for a damaged file
            raise UserError(f"{self.path / IMAGES}: cannot be mapped: {error}") from None
        if array != (self.shape, np.dtype(np.uint8)):
            raise UserError(
                f"{self.path / IMAGES}: shape {array[0]} of {array[1]}, "
                f"expected {self.shape} of uint8"
            )
        try:
            rows = len(self.labels)
        except (KeyError, ValueError) as error:
            raise UserError(
                f"{self.path / ITEMS}: damaged ({error}); pack the images again"
            ) from None
        if rows != self.shape[0]:
            found = f"{rows} rows" if rows < self.shape[0] else "more rows"
            raise UserError(f"{self.path / ITEMS}: {found}, expected {self.shape[0]}")


def items_csv(
    catalogue: Catalogue, split: Sequence[str], failed: dict[int, str], damaged: dict[int, str]
) -> str:
    """The text of items.csv; rows in ``failed`` are not valid, those in ``damaged`` are."""
    rows = [
        [
            row,
            printable(item.path),
            printable(catalogue.classes[item.label]),
            split[row],
            item.sha256,
            printable(item.duplicate_of or ""),
            int(row not in failed),
            damaged.get(row, ""),
        ]
        for row, item in enumerate(catalogue.items)
    ]
    return _text(ITEM_COLUMNS, rows)


def quarantine_csv(catalogue: Catalogue, failed: dict[int, str]) -> str:
    """The text of quarantine.csv: what the catalogue left out and what could not be decoded."""
    left_out = [(entry.path, entry.reason) for entry in catalogue.quarantine]
    left_out += [(catalogue.items[row].path, why) for row, why in failed.items()]
    return _text(QUARANTINE_COLUMNS, [[printable(path), why] for path, why in sorted(left_out)])


def read_table(path: Path) -> Iterator[dict[str, str]]:
    """The rows of either table one by one, with names as in the file system.

    Raises UserError where a row is damaged.
    """
    needed = QUARANTINE_COLUMNS if path.name == QUARANTINE else ITEM_COLUMNS[:-1]
    try:
        with path.open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(_short_lines(file)):
                if None in row or None in row.values() or not row.keys() >= set(needed):
                    raise ValueError(f"a row has not the columns {', '.join(needed)}")
                yield {key: original(row[key]) if key in NAME_COLUMNS else row[key] for key in row}
    except (OSError, ValueError, csv.Error) as error:
        raise UserError(f"{path}: damaged ({error}); pack the images again") from None


def _short_lines(file: IO[str]) -> Iterator[str]:
    """The lines of ``file``. Raises ValueError for one that would take much memory."""
    while line := file.readline(LONGEST_LINE):
        if len(line) == LONGEST_LINE:
            raise ValueError(f"a line of {LONGEST_LINE} characters or more")
        yield line


def _text(columns: list[str], rows: Iterable[Sequence[object]]) -> str:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return text.getvalue()
