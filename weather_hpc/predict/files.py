"""Which files are meant by what was typed."""

import os
from collections.abc import Iterable
from pathlib import Path

from weather_hpc.errors import UserError


def image_files(paths: Iterable[Path]) -> list[Path]:
    """The files in ``paths``, each once, in order; a folder stands for all files under it.

    Whether a file is an image is told when it is decoded. Raises UserError for a folder that
    cannot be listed or holds no file; a file that is missing is not wrong yet.
    """
    files: dict[Path, None] = {}
    for path in paths:
        if not path.is_dir():
            files.setdefault(path)
            continue
        inside = list(_under(path))
        if not inside:
            raise UserError(f"{path}: holds no files")
        files |= dict.fromkeys(inside)
    return list(files)


def _under(folder: Path) -> Iterable[Path]:
    def refuse(error: OSError) -> None:
        raise UserError(f"{error.filename}: {error.strerror}")

    for root, folders, names in os.walk(folder, onerror=refuse):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            if not name.startswith("."):
                yield Path(root, name)
