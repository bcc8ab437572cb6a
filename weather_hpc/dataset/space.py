"""Whether data fits on the disk, checked before the work begins."""

import shutil
from pathlib import Path

from weather_hpc.errors import UserError
from weather_hpc.text import storage


def check_space(folder: Path, needed: int, instead: str = "make room") -> None:
    """Raise UserError where less than ``needed`` bytes are free on the disk of ``folder``.

    Told before the work begins: a memory map on a full disk would end the process unexplained.
    ``instead``: what the user can do.
    """
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise UserError(
            f"{folder}: needs {storage(needed)}, {storage(free)} are free there; {instead}"
        )
