"""A log as lines: any size, any content, in flat memory."""

import codecs
import gzip
import re
import zlib
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import BinaryIO, cast

BLOCK = 2**20
"""Bytes that are read at once."""

LONGEST_LINE = 4096
"""Bytes of a line that are looked at; no line of figures is longer."""

_GZIP = b"\x1f\x8b"
_COLOUR = re.compile(rb"\x1b\[[0-9;?]*[A-Za-z]")
_CONTROL = re.compile(rb"[\x00-\x06\x0e-\x1a]")


class UnreadableError(Exception):
    """The file cannot be read to its end, in words."""


def blocks(path: Path) -> Iterator[tuple[bytes, bool]]:
    """The lines of ``path`` block by block, and whether the last of them has its line end.

    Lines of a block are separated by newlines, with none at its end. A carriage return ends a
    line too, since progress bars rewrite theirs so. Terminal colours are dropped, NUL bytes end a
    line, UTF-16 is known by its byte order mark or its zeros, what gzip wrote is decompressed. A
    line that is longer than a block loses what is beyond LONGEST_LINE. Raises UnreadableError,
    after the lines that could be read.
    """
    rest = b""
    try:
        with closing(_open(path)) as file:
            for block in _decoded(file):
                if b"\r" in block:
                    block = block.replace(b"\r", b"\n")
                if b"\0" in block:
                    block = block.replace(b"\0", b"\n")
                lines, end, last = block.rpartition(b"\n")
                if end:
                    yield _plain(rest + lines), True
                    rest = b""
                rest = (rest + last)[:LONGEST_LINE]
    except EOFError:
        raise UnreadableError("the compressed file is cut off") from None
    except (gzip.BadGzipFile, zlib.error) as error:
        raise UnreadableError(f"not sound gzip data: {error}") from None
    except OSError as error:
        raise UnreadableError(error.strerror or str(error)) from None
    if rest:
        yield _plain(rest), False


def _open(path: Path) -> BinaryIO:
    file = path.open("rb", buffering=0)
    if path.suffix != ".gz" and file.read(len(_GZIP)) != _GZIP:
        file.seek(0)
        return file
    file.close()
    return cast(BinaryIO, gzip.open(path, "rb"))


def _decoded(file: BinaryIO) -> Iterator[bytes]:
    """The file's bytes as UTF-8, without a byte order mark."""
    block = file.read(BLOCK)
    if wide := _utf_16(block[:200]):
        decoder = codecs.getincrementaldecoder(wide)(errors="replace")
        while block:
            yield decoder.decode(block).encode("utf-8", "replace")
            block = file.read(BLOCK)
        return
    block = block.removeprefix(codecs.BOM_UTF8)
    while block:
        yield block
        block = file.read(BLOCK)


def _utf_16(head: bytes) -> str | None:
    """The UTF-16 that ``head`` is written in, if it is: a text's every second byte is 0."""
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    for name, zeros, others in (("utf-16-le", 1, 0), ("utf-16-be", 0, 1)):
        if head[zeros::2].count(0) * 2 > len(head) - 1 > 4 and 0 not in head[others::2]:
            return name
    return None


def _plain(lines: bytes) -> bytes:
    return _COLOUR.sub(b"", lines) if b"\x1b" in lines else lines


def is_binary(lines: bytes) -> bool:
    """Whether ``lines`` hold what no text does: control characters other than white space."""
    return _CONTROL.search(lines) is not None
