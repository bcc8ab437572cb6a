"""Pattern: what a log's path says about its run, such as ``ddp_{gpus}gpu_bs{batch_size}.log``."""

import os
import re
import string
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from weather_hpc.errors import UserError, nearest
from weather_hpc.logs.compression import SUFFIX
from weather_hpc.runs.paths import RunPaths, StudyPaths
from weather_hpc.study.tasks import Strategy

COLUMNS = {
    "gpus": "workers",
    "world_size": "workers",
    "ranks": "workers",
    "workers": "workers",
    "nodes": "nodes",
    "batch_size": "batch_size_per_device",
    "batch_size_global": "batch_size_global",
    "epochs": "epochs",
    "repeat": "repeat",
    "strategy": "strategy",
    "device": "device",
    "backend": "backend",
    "model": "model",
    "job_id": "slurm_job_id",
}
"""The fields that a pattern may name, and the column of rows.csv that each is kept in."""

_TEXTS = {"strategy", "device", "backend", "model", "job_id"}
_FROM_ZERO = {"repeat"}
_ALIASES = {
    "dataparallel": "dp",
    "distributeddataparallel": "ddp",
    "gpu": "cuda",
}
_TOKEN = re.compile(r"[A-Za-z]+")


@dataclass(frozen=True)
class Pattern:
    """A path's tail with ``{field}`` where it varies; ``*`` is any text within one name."""

    text: str
    regex: re.Pattern[str]
    constants: dict[str, str]
    """What the literal text says: a strategy's name, where ``{strategy}`` is missing."""

    @property
    def depth(self) -> int:
        """How many folders the pattern itself names."""
        return self.text.count("/")

    def read(self, path: Path) -> dict[str, Any] | None:
        """The columns read from ``path``; None where the pattern does not match it.

        Raises ValueError, with a message, for a number that no run can have.
        """
        match = self.regex.search(path.as_posix())
        if match is None:
            return None
        columns: dict[str, Any] = dict(self.constants)
        for field, value in match.groupdict().items():
            if field in _TEXTS:
                word = value if field in ("model", "job_id") else value.lower()
                columns[COLUMNS[field]] = _ALIASES.get(word, word)
            elif int(value) == 0 and field not in _FROM_ZERO:
                raise ValueError(f"{{{field}}} is 0 in its name")
            else:
                columns[COLUMNS[field]] = int(value)
        if "gpus" in match.groupdict():
            columns.setdefault("device", "cuda")
        return columns


def parse(text: str) -> Pattern:
    """``text`` as a Pattern. Raises UserError for a field that is kept in no column."""
    try:
        parts = list(string.Formatter().parse(text))
    except ValueError as error:
        raise UserError(f"--pattern {text!r}: {error}; a brace itself is written twice") from None
    regex = ""
    used: dict[str, str] = {}
    words: list[str] = []
    for literal, field, spec, conversion in parts:
        regex += "[^/]*".join(map(re.escape, literal.split("*")))
        words += _TOKEN.findall(literal)
        if field is None:
            continue
        if spec or conversion:
            raise UserError(f"--pattern {text!r}: only a name goes between the braces")
        if field not in COLUMNS:
            hint = nearest(field, list(COLUMNS))
            raise UserError(
                f"--pattern {text!r}: {{{field}}} is kept in no column{hint}; "
                "* matches any other text"
            )
        column = COLUMNS[field]
        if column in used:
            raise UserError(
                f"--pattern {text!r}: {{{used[column]}}} and {{{field}}} say the same twice"
            )
        used[column] = field
        regex += f"(?P<{field}>[^/]+?)" if field in _TEXTS else rf"(?P<{field}>\d{{1,9}})"
    if not used:
        raise UserError(f"--pattern {text!r}: has no {{field}}; known: {', '.join(COLUMNS)}")
    named = {word.lower() for word in words} & set(map(str, Strategy))
    if "model" in used:
        named.discard("model")
    constants = {"strategy": named.pop()} if len(named) == 1 and "strategy" not in used else {}
    return Pattern(text, re.compile(rf"(?:^|/){regex}(?i:{SUFFIX})\Z"), constants)


_LOG = re.compile(
    rf"(?:\.(?:log|out|err|txt|ou|er|[oe]\d+)(?:\.\d+)?|(?:^|[._-])std(?:out|err)){SUFFIX}\Z",
    re.IGNORECASE,
)


def find_logs(paths: Iterable[Path], pattern: Pattern | None = None) -> list[Path]:
    """Every text log under ``paths``, each once, in the order of names.

    A path that is a file is a log. In a folder logs are the files named .log, .out, .err, .txt or
    as batch systems name them (.o123), also compressed, and those that ``pattern`` matches; folders
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
