"""Whether what is to be written fits on the disk, told before the work begins."""

import shutil
from pathlib import Path

from weather_hpc.errors import UserError

BLOCK = 512
"""Bytes of a block as the file system counts them (POSIX, st_blocks)."""


def check_space(path: Path, size: int, *, replaced: bool) -> None:
    """Raise UserError where a sparse file of ``size`` bytes at ``path`` cannot be filled.

    Of a file that is there, only what has been written takes space; it is either gone on with
    or ``replaced``, in which case it gives its space back first.
    """
    needed, free = size, shutil.disk_usage(path.parent).free
    written = path.stat().st_blocks * BLOCK if path.exists() else 0
    if replaced:
        free += written
    else:
        needed -= written
    if needed > free:
        raise UserError(
            f"{path.parent}: needs {_gigabytes(needed)}, {_gigabytes(free)} are free there; "
            "make room, or choose another --out, a smaller --size or fewer --images"
        )


def _gigabytes(size: int) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e8 else f"{size / 1e6:.2f} MB"
