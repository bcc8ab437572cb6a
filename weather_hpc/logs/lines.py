"""A log as lines, of any size and content, in constant memory."""

import codecs
import re
import signal
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from copy import copy
from pathlib import Path
from types import FrameType
from typing import BinaryIO

from weather_hpc.errors import UserError
from weather_hpc.logs.compression import ERRORS, PackedError, open_unpacked, refuse_archive

BLOCK = 2**20
"""Bytes per read."""

LONGEST_LINE = 4096
"""Bytes of a line that are examined; no line with values is longer."""

LONGEST_SHAPE = 300
"""Bytes of a line whose shape is kept."""

MOST_SHAPES = 20_000
"""Shapes that are kept at a time."""

_COLOUR = re.compile(rb"\x1b\[[0-9;?]*[A-Za-z]")
_RETURNED = re.compile(
    rb"(?m)^(\d{1,6}: |\[\d+,(?:mpirank:)?\d+(?:,[\w.:-]+)?\]<std(?:out|err)>:)([^\n]*\r[^\n]*)"
)
"""A line that a launcher labelled at its start alone, and that was rewritten."""

_BACKSPACES = re.compile(rb"\x08+\r?")

_CONTROL = re.compile(rb"[\x00-\x06\x0e-\x1a]")


class UnreadableError(Exception):
    """The file cannot be read to its end; the message says why."""


def blocks(path: Path) -> Iterator[tuple[bytes, bool]]:
    """The lines of ``path`` block by block, and whether the last of them has its line end.

    Lines of a block are separated by newlines, with none at its end. A carriage return ends a
    line too, and so do backspaces, since progress bars rewrite theirs so; all of them get a
    launcher's label. Terminal colours are dropped, NUL bytes end a line, UTF-16 is known by its
    byte order mark or its zeros, compressed files are decompressed. A line that is longer than a
    block loses what is beyond LONGEST_LINE. Raises UnreadableError, after the lines that could be
    read.
    """
    rest = b""
    try:
        with closing(open_unpacked(path)) as file:
            for block in _decoded(file):
                if b"\b" in block:
                    block = _BACKSPACES.sub(b"\r", block)
                if b"\r" in block:
                    block = _RETURNED.sub(_labelled, block.replace(b"\r\n", b"\n"))
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
    except PackedError as error:
        raise UnreadableError(str(error)) from None
    except ERRORS as error:
        raise UnreadableError(f"its compressed data are damaged: {error}") from None
    except OSError as error:
        raise UnreadableError(error.strerror or str(error)) from None
    if rest:
        yield _plain(rest), False


def _labelled(line: re.Match[bytes]) -> bytes:
    return line[1] + line[2].replace(b"\r", b"\n" + line[1])


def _decoded(file: BinaryIO) -> Iterator[bytes]:
    """The file's bytes as UTF-8, without a byte order mark."""
    block = file.read(BLOCK)
    refuse_archive(block)
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


@contextmanager
def time_limit(seconds: float, message: str) -> Iterator[None]:
    """Raise UserError with ``message`` where the block takes longer than ``seconds``.

    By SIGALRM, which interrupts a regular expression too; without effect outside the main thread.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(_number: int, _frame: FrameType | None) -> None:
        raise UserError(message)

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


# Digits in these stand for no digit of a line; a comment's stand for nothing at all.
_SILENT = re.compile(
    rb"\{\d*,?\d*\}|\(\?P<\w+>|\(\?\(\w+\)|(?<=\n)[ ]*\# [^\n]*"
    rb"|\\x(?!3)[0-9a-fA-F]{2}|0-9"
)

# Whether two digits are equal, or how one is spelled, is not examined.
_UNCLEAR = re.compile(rb"\(\?P=|\\[0-9xuUN]")

_RANGE = re.compile(rb"(?=(?:([0-9])|.)-(?:([0-9])|[^\]]))", re.DOTALL)
"""What may be a range of characters: one from or to a character that is no digit counts as one
from 0 or to 9."""


def _told_apart(source: bytes) -> set[int]:
    """The digits that an expression may distinguish from others."""
    digits = b"0123456789"
    if _UNCLEAR.search(source):
        return set(digits)
    apart = set(digits) & set(source)
    for low, high in _RANGE.findall(source):
        if low or high:
            inside = set(range((low or b"0")[0], (high or b"9")[0] + 1))
            outside = set(digits) - inside
            apart |= min(inside, outside, key=len)
    return apart


def _alike(apart: set[int]) -> bytes:
    """A table that makes all digits one of them, but those in ``apart``."""
    alike = bytes(set(b"0123456789") - apart)
    return bytes.maketrans(alike, alike[:1] * len(alike))


def different_lines(block: bytes, *expressions: bytes) -> bytes:
    """The lines of ``block``, of those that ``expressions`` cannot tell apart the first alone."""
    table = _alike(_told_apart(_SILENT.sub(b"", b" ".join(expressions))))
    return b"\n".join(dict.fromkeys(block.translate(table).split(b"\n"))) + b"\n"


class UnmatchedShapes:
    """The shapes of lines that some expressions do not match; to most, all digits are alike.

    A line's shape is the line with every digit that they do not distinguish replaced by one
    of them; ``table`` does that. So lines of one shape are matched all or not at all, and one that
    differs in numbers from a line that was tried before need not be tried.
    """

    def __init__(self, *expressions: bytes) -> None:
        source = _SILENT.sub(b"", b" ".join(expressions))
        self.table = _alike(_told_apart(source))
        self.shapes: set[bytes] = set()

    def without_shapes(self) -> "UnmatchedShapes":
        """Another one for the same expressions, with no shapes yet."""
        other = copy(self)
        other.shapes = set()
        return other

    def add(self, line: bytes) -> None:
        """``line`` is matched by none of the expressions."""
        if len(line) <= LONGEST_SHAPE:
            if len(self.shapes) >= MOST_SHAPES:
                self.shapes.clear()
            self.shapes.add(line.translate(self.table))
