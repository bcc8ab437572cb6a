"""The headers of the files, before any is decoded: format, mode, size, orientation, frames.

Workers read the files in batches; counts are kept, headers are written to ``census.csv``.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from weather_hpc import cli
from weather_hpc.dataset.image_file import SUFFIXES, ImageError, printable, reason
from weather_hpc.dataset.store import Store
from weather_hpc.files import write_csv
from weather_hpc.preprocess.backends.workers import OrderedMap
from weather_hpc.preprocess.decoders import opened_image, read_orientation
from weather_hpc.preprocess.profiles import CONVERTED, profile_of

if TYPE_CHECKING:
    from PIL import ImageFile

TURNED = 5
"""EXIF orientations from here on exchange width and height."""

FILES_PER_BATCH = 128
"""Files that a worker reads before it returns their headers."""

COLUMNS = [
    "path", "class", "format", "mode", "width_px", "height_px", "bytes", "orientation", "frames",
    "name_fits", "color_profile", "color_space", "profile_use", "note",
]  # fmt: skip


@dataclass(frozen=True)
class FileBatch:
    """Some files: paths under ``root``, and the label of each."""

    root: Path
    paths: Sequence[str]
    labels: Sequence[int]

    def __str__(self) -> str:
        return f"{self.paths[0]} to {self.paths[-1]}"


@dataclass(frozen=True)
class FileHeader:
    """The header of one file."""

    path: str
    label: int
    format: str
    mode: str
    width_px: int
    height_px: int
    bytes: int
    orientation: int
    """EXIF orientation, 1 (upright) to 8."""
    frames: int | None
    """None: they could not be counted."""
    name_fits: bool
    """Whether its name has a suffix of its format."""
    color_profile: str = ""
    """Description of its ICC profile; empty where it has none."""
    color_space: str = ""
    """The profile's: GRAY, RGB, CMYK or another."""
    profile_use: str = ""
    """What managed colour does with it: ``converted``, ``is sRGB`` or ``ignored`` with the
    reason."""
    note: str = ""
    """Why something about it is not known."""

    def row(self, classes: Sequence[str]) -> dict[str, Any]:
        """The columns of ``census.csv``."""
        return vars(self) | {
            "path": printable(self.path),
            "class": printable(classes[self.label]),
            "name_fits": int(self.name_fits),
        }


@dataclass
class HeaderCounts:
    """Counts over all files, and their sizes."""

    formats: Counter[str] = field(default_factory=Counter)
    modes: Counter[str] = field(default_factory=Counter)
    rotated: int = 0
    """By their EXIF orientation."""
    animated: int = 0
    misnamed: int = 0
    sizes: list[tuple[int, int, int]] = field(default_factory=list)
    """(width, height, bytes) of each file."""
    seen: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Path -> width and height as a viewer shows the file, turned by its EXIF data."""
    profiles: Counter[tuple[str, str, str, int]] = field(default_factory=Counter)
    """Files by the profile's description, colour space and use, and by label."""
    plain_inks: int = 0
    """CMYK files without a profile that converts them."""

    def add(self, header: FileHeader) -> None:
        """Count one file."""
        self.formats[header.format] += 1
        self.modes[header.mode] += 1
        self.rotated += header.orientation != 1
        self.animated += (header.frames or 1) > 1
        self.misnamed += not header.name_fits
        self.sizes.append((header.width_px, header.height_px, header.bytes))
        size = header.width_px, header.height_px
        self.seen[header.path] = size[::-1] if header.orientation >= TURNED else size
        if header.profile_use:
            profile = (header.color_profile, header.color_space, header.profile_use)
            self.profiles[*profile, header.label] += 1
        self.plain_inks += header.mode == "CMYK" and header.profile_use != CONVERTED

    def size_array(self) -> npt.NDArray[np.int64]:
        """Width, height (pixels) and bytes, int64 (files, 3)."""
        return np.array(self.sizes, dtype=np.int64).reshape(-1, 3)


def write_headers(path: Path, store: Store, data: Path, workers: OrderedMap) -> HeaderCounts:
    """Write the headers of the files under ``data`` that ``store`` was made from; their counts."""
    paths, labels = [item["path"] for item in store.items], store.labels.tolist()
    classes, counts = store.classes, HeaderCounts()

    def rows() -> Iterator[dict[str, Any]]:
        with cli.progress("reading headers", total=len(paths)) as advance:
            for headers in workers(read_headers, file_batches(data, paths, labels)):
                for header in headers:
                    counts.add(header)
                    yield header.row(classes)
                advance(len(headers))

    write_csv(path, COLUMNS, rows())
    return counts


def file_batches(root: Path, paths: Sequence[str], labels: Sequence[int]) -> Iterator[FileBatch]:
    """The files, :data:`FILES_PER_BATCH` at a time."""
    root = root.resolve()
    for first in range(0, len(paths), FILES_PER_BATCH):
        part = slice(first, first + FILES_PER_BATCH)
        yield FileBatch(root, paths[part], labels[part])


def read_headers(files: FileBatch) -> list[FileHeader]:
    """On a worker: the headers of ``files``, without files removed or damaged since the scan."""
    headers = []
    for path, label in zip(files.paths, files.labels, strict=True):
        try:
            headers.append(_read_header(files.root / path, path, label))
        except ImageError:
            continue
    return headers


def _read_header(file: Path, path: str, label: int) -> FileHeader:
    with opened_image(file) as image:
        name, profile = image.format or "unknown", profile_of(image)
        frames, note = _frames(image)
        return FileHeader(
            path=path,
            label=label,
            format=name,
            mode=image.mode,
            width_px=image.width,
            height_px=image.height,
            bytes=file.stat().st_size,
            orientation=read_orientation(image),
            frames=frames,
            name_fits=file.suffix.lower() in SUFFIXES.get(name, set()),
            color_profile=profile.description if profile else "",
            color_space=profile.space if profile else "",
            profile_use=profile.use if profile else "",
            note=note,
        )


def _frames(image: "ImageFile.ImageFile") -> tuple[int | None, str]:
    """The number of frames or pages, or None and why they cannot be counted.

    Only the first is used, so that damage in later ones does not matter.
    """
    try:
        return getattr(image, "n_frames", 1), ""
    except MemoryError:
        raise
    except Exception as error:  # damage in a later page can raise nearly anything
        return None, f"frames cannot be counted: {reason(error)}"
