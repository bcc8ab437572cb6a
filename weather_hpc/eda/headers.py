"""What the files are, before any is decoded: format, mode, size, orientation, frames.

Files go to the workers in batches and come back as one :class:`FileHeader` each; the counts are
kept, the headers are written to ``census.csv`` as they come.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from weather_hpc.dataset.image_file import ImageError, open_image

FILES_PER_BATCH = 128
"""Files a worker looks at before it reports."""


SUFFIXES = {
    "AVIF": {".avif"}, "BMP": {".bmp", ".dib"}, "GIF": {".gif"}, "PNG": {".png", ".apng"},
    "JPEG": {".jpg", ".jpeg", ".jpe", ".jfif"}, "MPO": {".jpg", ".jpeg", ".mpo"},
    "JPEG2000": {".jp2", ".j2k", ".jpx", ".jpf"}, "PPM": {".ppm", ".pgm", ".pbm", ".pnm"},
    "TIFF": {".tif", ".tiff"}, "WEBP": {".webp"},
}  # fmt: skip


ORIENTATION_TAG = 0x0112


COLUMNS = [
    "path", "class", "format", "mode", "width_px", "height_px", "bytes", "orientation", "frames",
    "name_fits",
]  # fmt: skip


@dataclass(frozen=True)
class FileBatch:
    """Some files: paths under ``root``, with the label of each."""

    root: Path
    paths: Sequence[str]
    labels: Sequence[int]


@dataclass(frozen=True)
class FileHeader:
    """What one file's header says."""

    path: str
    label: int
    format: str
    mode: str
    width: int
    height: int
    bytes: int
    orientation: int
    """EXIF orientation, 1 (upright) to 8."""
    frames: int
    name_fits: bool
    """Whether its name ends as its format's names do."""


@dataclass
class HeaderCounts:
    """Counts over all files, and their sizes."""

    formats: Counter[tuple[int, str]] = field(default_factory=Counter)
    modes: Counter[str] = field(default_factory=Counter)
    turned: int = 0
    animated: int = 0
    misnamed: int = 0
    sizes: list[tuple[int, int, int]] = field(default_factory=list)
    """(width, height, bytes) of each file."""

    def add(self, facts: FileHeader) -> None:
        """Count one file."""
        self.formats[facts.label, facts.format] += 1
        self.modes[facts.mode] += 1
        self.turned += facts.orientation != 1
        self.animated += facts.frames > 1
        self.misnamed += not facts.name_fits
        self.sizes.append((facts.width, facts.height, facts.bytes))

    def size_array(self) -> npt.NDArray[np.int64]:
        """Width, height (pixels) and bytes, int64 (files, 3)."""
        return np.array(self.sizes, dtype=np.int64).reshape(-1, 3)


def file_batches(root: Path, paths: Sequence[str], labels: Sequence[int]) -> Iterator[FileBatch]:
    """The files, :data:`FILES_PER_BATCH` at a time."""
    root = root.resolve()
    for first in range(0, len(paths), FILES_PER_BATCH):
        part = slice(first, first + FILES_PER_BATCH)
        yield FileBatch(root, paths[part], labels[part])


def read_headers(files: FileBatch) -> list[FileHeader]:
    """What the headers say; runs in a worker. A file that has gone or changed since is left out."""
    found = []
    for path, label in zip(files.paths, files.labels, strict=True):
        try:
            found.append(_facts(files.root / path, path, label))
        except (OSError, ImageError):
            continue
    return found


def _facts(file: Path, path: str, label: int) -> FileHeader:
    import warnings

    with file.open("rb") as stream, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # odd metadata in usable images
        image = open_image(stream)
        name = image.format or "unknown"
        return FileHeader(
            path,
            label,
            name,
            image.mode,
            image.width,
            image.height,
            file.stat().st_size,
            _orientation(image),
            getattr(image, "n_frames", 1),
            file.suffix.lower() in SUFFIXES.get(name, set()),
        )


def _orientation(image: object) -> int:
    try:
        value = image.getexif().get(ORIENTATION_TAG, 1)  # type: ignore[attr-defined]
    except Exception:  # damaged metadata must not cost a good image
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1
