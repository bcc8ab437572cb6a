"""How much of a file is in the system's page cache."""

import ctypes
import mmap
import os
from pathlib import Path


def cached_share(path: Path) -> float | None:
    """The share of a file that is in memory, 0..1; None where the system does not tell.

    Linux reports it (``mincore``) only to those who own the file or may write to it, and says of
    other files that they are in memory entirely.
    """
    status = path.stat()
    if not status.st_size or not (status.st_uid == os.getuid() or os.access(path, os.W_OK)):
        return None
    try:
        mincore = ctypes.CDLL(None, use_errno=True).mincore
    except (AttributeError, OSError):
        return None
    with (
        path.open("rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY) as mapped,
    ):
        pages = -(-status.st_size // mmap.PAGESIZE)
        resident = (ctypes.c_ubyte * pages)()
        view = ctypes.c_char.from_buffer(mapped)
        try:
            found = mincore(
                ctypes.c_void_p(ctypes.addressof(view)), ctypes.c_size_t(status.st_size), resident
            )
        finally:
            del view  # or the map could not be closed
    return sum(page & 1 for page in bytes(resident)) / pages if found == 0 else None
