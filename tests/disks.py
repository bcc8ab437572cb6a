"""A small file system of its own, to be filled and made read-only."""

import gc
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

KIB = 1024
SIZE_MIB = 8


class Disk:
    """A file system in memory, mounted on ``root``."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._filler = root / "filler"

    def fill(self, room_kib: int = 0) -> None:
        """Leave ``room_kib`` KiB free."""
        status = os.statvfs(self.root)
        with self._filler.open("wb") as file:
            size = status.f_bavail * status.f_frsize - room_kib * KIB
            os.posix_fallocate(file.fileno(), 0, size)

    def make_room(self) -> None:
        """Undo :meth:`fill`."""
        self._filler.unlink()

    def make_read_only(self) -> None:
        """Let nothing be written any more."""
        subprocess.run(["mount", "-o", "remount,ro", self.root], check=True)

    def files(self) -> dict[str, bytes]:
        """The content of each file, by its path."""
        return {
            str(path.relative_to(self.root)): path.read_bytes()
            for path in self.root.rglob("*")
            if path.is_file() and path != self._filler
        }


@contextmanager
def mounted(root: Path) -> Iterator[Disk]:
    """A disk at ``root``, a new folder; the test is skipped where none can be mounted, in CI not.

    Mounting needs root.
    """
    root.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={SIZE_MIB}m", "tmpfs", str(root)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        reason = f"no file system can be mounted here: {done.stderr.strip()}"
        pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)
    try:
        yield Disk(root)
    finally:
        gc.collect()  # memory maps of tests keep their files open
        subprocess.run(["umount", "--lazy", root], check=True)
