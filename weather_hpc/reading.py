"""Reading files that may be damaged, far too large, or no files at all.

A file is opened only where it is a regular one: a pipe would be waited for, a device never ends.
"""

import json
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weather_hpc.errors import UserError
from weather_hpc.text import clean, one_line

if TYPE_CHECKING:
    from pydantic import ValidationError

LARGEST_FILE = 64 * 2**20
"""Bytes. A larger table, plan or store's header is not one of ours and is not loaded."""

LARGEST_JSON = 16 * 2**20
"""Bytes of a record, spec or the like. As values they take up to 30 times as much memory."""


def is_file(path: Path) -> bool:
    """Whether ``path`` is a regular file; no file has a name that is too long."""
    try:
        return path.is_file()
    except OSError:
        return False


def check_size(path: Path, largest: int | None = LARGEST_FILE) -> None:
    """Raise UserError where ``path`` is not a regular file, or is too large (None: never)."""
    try:
        found = path.stat()
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from None
    if not stat.S_ISREG(found.st_mode):
        raise UserError(f"{path}: is not a file")
    if largest is not None and found.st_size > largest:
        raise UserError(f"{path}: {found.st_size} bytes, expected at most {largest}")


def read_bytes(path: Path, largest: int = LARGEST_FILE) -> bytes:
    """The content of ``path``. Raises UserError where :func:`check_size` does, or on an error."""
    check_size(path, largest)
    try:
        with path.open("rb") as file:
            return file.read(largest)
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from None


def read_text(path: Path, largest: int = LARGEST_FILE) -> str:
    """The text in ``path``, which is UTF-8, with or without a byte order mark. Raises UserError."""
    try:
        return read_bytes(path, largest).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 text: byte {error.start}") from None


def read_json(path: Path, largest: int = LARGEST_JSON) -> Any:
    """The JSON in ``path``. Raises UserError where it cannot be read."""
    try:
        return json.loads(read_bytes(path, largest))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: not JSON: {clean(one_line(error))}") from None


def read_object(path: Path, largest: int = LARGEST_JSON) -> dict[str, Any]:
    """The JSON object in ``path``. Raises UserError where it cannot be read, or is no object."""
    value = read_json(path, largest)
    if not isinstance(value, dict):
        raise UserError(f"{path}: is not a JSON object")
    return value


def first_error(error: "ValidationError") -> str:
    """``field: what is wrong with it``, of the first field that is wrong."""
    first = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(map(str, first["loc"]))
    return f"{where}: {first['msg']}" if where else str(first["msg"])
