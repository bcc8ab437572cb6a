"""The files in a folder of class folders, each under the class that it really lies in.

Symbolic links are followed. A folder is read once, so links can neither loop nor multiply the
images, and its own path comes before all links to it: an image of class ``rain`` does not become
``fog`` because ``fog`` has a link to ``rain``. A folder outside that links of two classes lead to
has no class that could be told.
"""

import heapq
import stat
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from weather_hpc.dataset.image_file import has_image_name, printable

SEVERAL_CLASSES = "folder that links of several classes lead to"
"""Why a folder is left out with all its images."""


@dataclass(frozen=True, slots=True)
class Quarantined:
    """One file or folder that is left out; ``path`` is relative to the root."""

    path: str
    reason: str
    images: int | None = field(default=0, compare=False)
    """Number of image files that are lost by this; None: of a folder, so not known."""


def walk(root: Path) -> tuple[list[str], list[Quarantined]]:
    """Paths of the regular files in class folders, relative to ``root`` and sorted, and all other
    entries; hidden ones are skipped."""
    walker = _Walker(root)
    walker.enter_all([""])
    while walker.links:
        walker.enter_all([heapq.heappop(walker.links)], linked=True)
    return walker.result()


def class_of(path: str) -> str:
    """The class folder that a file lies in."""
    return path.partition("/")[0]


class _Walker:
    """The folders read so far."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.links: list[str] = []
        """Links to folders that are still to be followed, a heap: they are, in path order."""
        self._left_out: list[Quarantined] = []
        self._own: dict[tuple[int, int], str] = {}
        """Folders that are reached without links, by device and number."""
        self._linked: dict[tuple[int, int], dict[str, str]] = defaultdict(dict)
        """Folders that are reached by links alone: class -> path."""
        self._files: dict[str, list[str]] = {}
        """Folder -> its files."""

    def enter_all(self, folders: list[str], *, linked: bool = False) -> None:
        """Read ``folders`` and those inside; links inside are left for later."""
        waiting = folders
        while waiting:
            folder = waiting.pop()
            try:
                status = (self.root / folder).stat()
                names = sorted(entry.name for entry in (self.root / folder).iterdir())
            except OSError as error:
                self._leave_out(folder, f"folder cannot be read: {error.strerror}", None)
                continue
            before = self._enter(folder, (status.st_dev, status.st_ino), linked=linked)
            if before is not None:
                where = printable(before) or "the root"
                self._leave_out(folder, f"link to a folder already read: {where}")
                continue
            names = [name for name in names if not name.startswith(".")]
            inside = list(self._read(folder, names))
            waiting += reversed(inside)
            if folder and "/" not in folder and not names:
                self._leave_out(folder, "class folder is empty")

    def _enter(self, folder: str, number: tuple[int, int], *, linked: bool) -> str | None:
        """Where the folder of this number has been read; None where it is to be read now."""
        places = self._linked[number] if linked else {}
        before = self._own.get(number, places.get(class_of(folder)))
        if before is None:
            places[class_of(folder)] = folder
            if not linked:
                self._own[number] = folder
        return before

    def _read(self, folder: str, names: list[str]) -> Iterator[str]:
        """Sort the entries of a folder; those that are to be entered now."""
        files = self._files[folder] = []
        for name in names:
            path = f"{folder}/{name}" if folder else name
            try:
                mode = (self.root / path).stat().st_mode
            except OSError as error:
                self._leave_out(path, f"cannot be read: {error.strerror}", _images(path))
                continue
            if stat.S_ISDIR(mode):
                if (self.root / path).is_symlink():
                    heapq.heappush(self.links, path)
                else:
                    yield path
            elif not folder:
                self._leave_out(path, "lies outside the class folders")
            elif stat.S_ISREG(mode):
                files.append(path)
            else:
                self._leave_out(path, "is no regular file")

    def _leave_out(self, path: str, reason: str, images: int | None = 0) -> None:
        self._left_out.append(Quarantined(path, reason, images))

    def result(self) -> tuple[list[str], list[Quarantined]]:
        """As :func:`walk`."""
        for places in self._linked.values():
            if len(places) > 1:
                classes = " and ".join(map(printable, sorted(places)))
                reason = f"{SEVERAL_CLASSES}: {classes}"
                for folder in places.values():
                    del self._files[folder]
                    self._leave_out(folder, reason)
        return sorted(file for files in self._files.values() for file in files), self._left_out


def _images(path: str) -> int | None:
    """How many image files an entry is that is known by its name alone, as of a dangling link."""
    if has_image_name(path):
        return 1
    return 0 if PurePosixPath(path).suffix else None
