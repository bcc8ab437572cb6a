"""What a bench makes beforehand and keeps: made once, and never half."""

import shutil
from collections.abc import Callable
from pathlib import Path


def once(folder: Path, make: Callable[[Path], object]) -> None:
    """Have ``make`` fill ``folder``, unless it is there already.

    It is made under another name beside, which an interruption leaves and the next call clears.
    """
    if folder.exists():
        return
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    make(partial)
    partial.rename(folder)
