"""Which files are classified, and the folder that may say what each of them shows."""

import os
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

from weather_hpc.errors import UserError


@dataclass(frozen=True)
class NewImage:
    """One file to classify."""

    path: Path
    folder: str | None
    """The class folder that it lies in, as the catalogue of training images has it: the first
    folder below the one that was given. None: it lies in none."""

    def true_class(self, known: Collection[str]) -> str | None:
        """The class of ``known`` that its folder is named like; None where it is named like none.

        Of a file that lies in no class folder, it is the folder that holds it.
        """
        name = self.folder if self.folder is not None else self.path.absolute().parent.name
        return name if name in known else None


def image_files(paths: Iterable[Path]) -> list[NewImage]:
    """The files in ``paths``, each once, in order; a folder stands for all files under it.

    Raises UserError for a folder that cannot be listed or holds no file. Files that do not exist or
    are not images are found when they are decoded.
    """
    files: dict[Path, NewImage] = {}
    for path in paths:
        if not path.is_dir():
            files.setdefault(path, NewImage(path, None))
            continue
        inside = list(_under(path))
        if not inside:
            raise UserError(f"{path}: holds no files")
        for file in inside:
            first, *rest = file.relative_to(path).parts
            files[file] = NewImage(file, first if rest else None)
    return list(files.values())


def _under(folder: Path) -> Iterable[Path]:
    def refuse(error: OSError) -> None:
        raise UserError(f"{error.filename}: {error.strerror}")

    for root, folders, names in os.walk(folder, onerror=refuse):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            if not name.startswith("."):
                yield Path(root, name)
