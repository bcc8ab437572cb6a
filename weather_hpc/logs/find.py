"""Finding text logs under the paths that a user names."""

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from weather_hpc.errors import UserError
from weather_hpc.logs.pattern import Pattern
from weather_hpc.runs.paths import RunPaths, StudyPaths

_LOG = re.compile(r"\.(log|out|err|txt|[oe]\d+)(\.\d+)?(\.gz)?\Z", re.IGNORECASE)


def find_logs(paths: Iterable[Path], pattern: Pattern | None = None) -> list[Path]:
    """Every text log under ``paths``, each once, in the order of names.

    A path that is a file is a log. In a folder logs are the files named .log, .out, .err, .txt or
    as batch systems name them (.o123), also with .gz, and those that ``pattern`` matches; folders
    of our own runs and studies are left to ``find_runs``. Raises UserError for a path that does
    not exist.
    """
    found: dict[Path, Path] = {}
    for path in paths:
        if path.is_file():
            found.setdefault(path.resolve(), path)
            continue
        if not path.is_dir():
            raise UserError(f"{path}: no such file or folder of logs")
        for file in _walk(path):
            if _LOG.search(file.name) or (pattern is not None and pattern.regex.search(str(file))):
                found.setdefault(file.resolve(), file)
    return list(found.values())


def _walk(root: Path) -> Iterator[Path]:
    for name, folders, files in os.walk(root):
        folder, run = Path(name), RunPaths(Path(name))
        if any(map(os.path.lexists, (run.spec, run.record, StudyPaths(folder).plan))):
            folders.clear()
            continue
        folders[:] = sorted(each for each in folders if not each.startswith("."))
        for each in sorted(files):
            if not each.startswith(".") and (folder / each).is_file():
                yield folder / each
