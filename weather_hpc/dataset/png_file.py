"""The chunks of a PNG and their checksums (W3C, Portable Network Graphics, 5), and its rows."""

import re
import struct
import zlib
from collections.abc import Iterator

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_HEADER = struct.Struct(">IIBBBBB")
"""Width, height, bits of a sample, colour type, compression, filter, interlacing."""
_TYPE = re.compile(rb"[A-Za-z]{4}")
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
"""Samples of a pixel, by colour type."""
_DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
"""Bits of a sample that each colour type has."""
_PALETTE = 3
"""The colour type of pixels that are indices into a palette."""
_PASSES = ((0, 8, 0, 8), (4, 8, 0, 8), (0, 4, 4, 8), (2, 4, 0, 4), (0, 2, 2, 4), (1, 2, 0, 2),
           (0, 1, 1, 2))  # fmt: skip
"""Of an interlaced image: first column, step, first row, step."""
_PIECE = 1 << 20
"""Bytes of rows that are held at a time."""


def png_damage(content: bytes) -> str | None:
    """What is wrong with the chunks of a PNG file; None where nothing is.

    A file that ends within its chunks is not damaged by this: its decoder tells whether pixels
    are missing. What follows the last chunk is not looked at.
    """
    view = memoryview(content)
    at, first, indices = len(SIGNATURE), True, False
    while at + 12 <= len(content):
        length, name = int.from_bytes(view[at : at + 4]), bytes(view[at + 4 : at + 8])
        if not _TYPE.fullmatch(name):
            return f"no chunk begins at byte {at}, where one should"
        if first and name != b"IHDR":
            apple = ", as Apple's tools write PNGs for iPhones" if name == b"CgBI" else ""
            return f"its first chunk is {name.decode()}, not IHDR{apple}"
        end = at + 8 + length
        if end + 4 > len(content):
            return None
        if zlib.crc32(view[at + 4 : end]) != int.from_bytes(view[end : end + 4]):
            return f"chunk {name.decode()} at byte {at} has a wrong checksum (CRC)"
        if name == b"IEND":
            return None
        if first:
            if wrong := _header_damage(bytes(view[at + 8 : end])):
                return wrong
            indices = view[at + 17] == _PALETTE
        elif name == b"IDAT" and indices:
            return "no palette (chunk PLTE) comes before its pixels"
        elif name == b"PLTE":
            indices = False
        at, first = end + 4, False
    return None


def _header_damage(header: bytes) -> str | None:
    """What is wrong with the content of the first chunk."""
    if len(header) != _HEADER.size:
        return f"its header has {len(header)} bytes, not {_HEADER.size}"
    width, height, depth, colours, *_ = _HEADER.unpack(header)
    if not width or not height:
        return f"its header says {width} x {height} pixels"
    if depth not in _DEPTHS.get(colours, ()):
        return f"its header says colour type {colours} with {depth} bits, which do not exist"
    return None


def lacks_rows(content: bytes) -> bool:
    """Whether the pixels of a PNG with sound chunks end before its last row.

    Its decoder tells where the file ends early, but not where the compressed stream does.
    """
    header = next(_chunks(content, b"IHDR"))
    width, height, depth, colours, _, _, interlaced = _HEADER.unpack(header)
    bits = depth * _CHANNELS[colours]
    passes = _PASSES if interlaced else ((0, 1, 0, 1),)
    wanted = 0
    for column, columns, row, rows in passes:
        if width > column and height > row:
            pixels = -((column - width) // columns)
            wanted += -((row - height) // rows) * (1 + (pixels * bits + 7) // 8)
    stream = zlib.decompressobj()
    for data in _chunks(content, b"IDAT"):
        rest = bytes(data)
        while rest and not stream.eof:
            try:
                wanted -= len(stream.decompress(rest, _PIECE))
            except zlib.error:
                return False  # its decoder says what is wrong
            rest = stream.unconsumed_tail
    return stream.eof and wanted > 0


def _chunks(content: bytes, kind: bytes) -> Iterator[bytes]:
    """What the chunks of one kind hold, as far as it is there."""
    at = len(SIGNATURE)
    while at + 12 <= len(content):
        length, name = int.from_bytes(content[at : at + 4]), content[at + 4 : at + 8]
        if name == kind:
            yield content[at + 8 : at + 8 + length]
        at += 12 + length
