"""Compressed files by their content: read where Python can, else told how to unpack them."""

import bz2
import gzip
import importlib
import lzma
import re
import zipfile
import zlib
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, cast

SUFFIX = r"(?:\.(?:gz|xz|lzma|bz2|zst|lz4|zip|z))?"
"""A regular expression of what compressing adds to a name, or of nothing."""

_SUFFIX = re.compile(SUFFIX + r"\Z", re.IGNORECASE)

_MARKS = {
    b"\x1f\x8b": "gzip",
    b"\xfd7zXZ\x00": "xz",
    b"BZh": "bzip2",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"\x04\x22\x4d\x18": "lz4",
    b"PK\x03\x04": "zip",
    b"PK\x05\x06": "zip",
    b"\x1f\x9d": "compress",
    b"7z\xbc\xaf\x27\x1c": "7z",
    b"Rar!": "rar",
}
"""How files begin."""

_UNPACK = {"zstd": "zstd -d", "lz4": "lz4 -d", "compress": "gunzip", "7z": "7z x", "rar": "unrar x"}

_BY_NAME = {".gz": "gzip", ".xz": "xz", ".bz2": "bzip2", ".zst": "zstd", ".lz4": "lz4"}


def _imported(*names: str) -> Any:
    """The first module of ``names`` that is installed; None: none is."""
    for name in names:
        with suppress(ImportError):
            return importlib.import_module(name)
    return None


_ZSTD = _imported("compression.zstd", "backports.zstd")
"""Of Python 3.14 and later, or for earlier ones; None: zstd is not read."""

_TAR = slice(257, 262)

ERRORS: tuple[type[Exception], ...] = (
    EOFError, gzip.BadGzipFile, zlib.error, lzma.LZMAError, zipfile.BadZipFile,
    *([_ZSTD.ZstdError] if _ZSTD else []),
)  # fmt: skip
"""What reading a damaged file raises; bz2 and the operating system raise OSError."""


class PackedError(Exception):
    """The file is packed in a way that is not read; the message says how, and what to do."""


def without_suffix(name: str) -> str:
    """``name`` without what compressing added to it."""
    return _SUFFIX.sub("", name)


def packing(path: Path) -> str | None:
    """How ``path`` is compressed by its first bytes, or else by its name; None: it is not."""
    with path.open("rb") as file:
        head = file.read(8)
    found = next((name for mark, name in _MARKS.items() if head.startswith(mark)), None)
    return found or _BY_NAME.get(path.suffix.lower())


def open_unpacked(path: Path) -> BinaryIO:
    """``path`` to be read as what was compressed. Raises PackedError where it cannot be."""
    how = packing(path)
    if how == "gzip":
        return cast(BinaryIO, gzip.open(path, "rb"))
    if how == "xz":
        return cast(BinaryIO, lzma.open(path, "rb"))
    if how == "bzip2":
        return cast(BinaryIO, bz2.open(path, "rb"))
    if how == "zip":
        return _open_member(path)
    if how == "zstd" and _ZSTD:
        return cast(BinaryIO, _ZSTD.open(path, "rb"))
    if how is not None:
        raise PackedError(f"compressed with {how}: decompress it with `{_UNPACK[how]}`")
    return path.open("rb", buffering=0)


def _open_member(path: Path) -> BinaryIO:
    archive = zipfile.ZipFile(path)
    names = [each.filename for each in archive.infolist() if not each.is_dir()]
    if len(names) != 1:
        raise PackedError(f"a zip archive of {len(names)} files: unpack it with `unzip`")
    try:
        return cast(BinaryIO, archive.open(names[0]))
    except (RuntimeError, NotImplementedError) as error:  # a password, another method
        raise PackedError(f"a zip archive that cannot be unpacked: {error}") from None


def refuse_archive(head: bytes) -> None:
    """Raise PackedError if what begins with ``head`` is a tar archive of several files."""
    if head[_TAR] == b"ustar":
        raise PackedError("a tar archive: unpack it with `tar xf`")
