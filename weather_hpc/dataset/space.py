"""Whether data fits on the disk, checked before the work begins."""

import errno
import os
import shutil
from pathlib import Path

from weather_hpc.errors import UserError
from weather_hpc.files import named
from weather_hpc.text import storage


def check_space(folder: Path, needed: int, instead: str = "make room") -> None:
    """Raise UserError where less than ``needed`` bytes are free on the disk of ``folder``.

    Told before the work begins: a memory map on a full disk would end the process unexplained.
    ``instead``: what the user can do.
    """
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise UserError(
            f"{folder}: {os.strerror(errno.ENOSPC)}: needs {storage(needed)}, {storage(free)} are "
            f"free there; {instead}"
        )


def reserve(file: Path | int, name: Path) -> None:
    """Take the disk space of a file that has its size but was not written yet.

    Before it is written through a memory map: there, a full disk ends the process by SIGBUS.
    ``file``: its path or, open, its number. Raises OSError about ``name``.
    """
    with named(name):
        opened = os.dup(file) if isinstance(file, int) else os.open(file, os.O_RDWR)
        try:
            size = os.fstat(opened).st_size
            if size:
                os.posix_fallocate(opened, 0, size)
        finally:
            os.close(opened)
