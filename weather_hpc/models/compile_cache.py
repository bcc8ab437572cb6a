"""The folder in which torch.compile keeps what it has compiled, and from which it runs it."""

import os
import tempfile
from pathlib import Path

from weather_hpc.files import own_folder

VARIABLE = "TORCHINDUCTOR_CACHE_DIR"


def own_compile_cache() -> None:
    """Give torch.compile a folder that nobody else can write, unless the user has named one.

    torch's own, below the folder of temporary files, has a name that can be guessed, and is used
    whoever has made it. Where another user has taken our name, this process gets a new one.
    """
    if VARIABLE in os.environ:
        return
    folder = Path(tempfile.gettempdir(), f"torchinductor_{os.geteuid()}")
    try:
        own_folder(folder)
    except OSError:
        folder = Path(tempfile.mkdtemp(prefix=f"{folder.name}_"))
    os.environ[VARIABLE] = str(folder)
