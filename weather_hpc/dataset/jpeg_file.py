"""The markers of a JPEG (ITU-T T.81, B): which kind it is, and whether all scans are there."""

import re
import struct
from collections.abc import Iterator
from typing import NamedTuple

JPEG = b"\xff\xd8\xff"
"""The first bytes of every JPEG."""
MARK = 0xFF
DHT, SOI, EOI, SOS = 0xC4, 0xD8, 0xD9, 0xDA
APP, COM = range(0xE0, 0xF0), 0xFE
APP1, APP2 = APP[1:3]
SOF = (*range(0xC0, 0xC4), *range(0xC5, 0xC8), *range(0xC9, 0xCC), *range(0xCD, 0xD0))
"""Frame headers: one for each coding process."""
BASELINE = (0xC0, 0xC1)
PROGRESSIVE = (0xC2, 0xCA)
LOSSLESS = (0xC3, 0xC7, 0xCB, 0xCF)
ARITHMETIC = SOF[SOF.index(0xC9) :]
JPEG_LS = 0xF7
"""Its frame header (ITU-T T.87)."""
_ALONE = (0x00, 0x01, *range(0xD0, 0xD8), MARK)
"""Second bytes after which no segment begins: data, restart markers, fill bytes."""
COEFFICIENTS = 64
"""Of a block of 8 x 8 pixels."""
END_OF_BLOCK = 0
"""The symbol after which all coefficients of a block are zero."""
_LOST, _LOST_BITS = 64, 256
"""The fewest zero bytes that are told to be a lost block; more in a scan of further bits of known
coefficients, of which up to 1000 stand together."""
_MARKER = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")
"""Any but restart markers, which are inside a scan."""


class Segment(NamedTuple):
    """A marker's code, where it begins, and the content of its segment."""

    code: int
    at: int
    data: bytes


def segments(content: bytes) -> Iterator[Segment]:
    """The segments of a JPEG, up to the end of the image or of what is there."""
    at = 2
    while (at := content.find(b"\xff", at)) >= 0 and at + 1 < len(content):
        code = content[at + 1]
        if code in _ALONE:
            at += 1 if code == MARK else 2
            continue
        length = int.from_bytes(content[at + 2 : at + 4]) if code not in (SOI, EOI) else 0
        yield Segment(code, at, content[at + 4 : at + 2 + length])
        if code == EOI:
            return
        at += 2 + length


class Frame(NamedTuple):
    """What a frame header says; lengths in pixels, 0 where the header does not say it."""

    code: int
    bits: int
    height: int
    width: int
    components: int


def frame_of(content: bytes) -> Frame | None:
    """The first frame of a JPEG; None where it has none."""
    for code, _, data in segments(content):
        if (code in SOF or code == JPEG_LS) and len(data) >= 6:
            return Frame(code, *struct.unpack_from(">BHHB", data))
    return None


def jpeg_kind(content: bytes) -> str | None:
    """The kind of a JPEG that decoders do not read; None for all others."""
    frame = frame_of(content)
    if frame is None:
        return None
    if frame.code == JPEG_LS:
        return "a JPEG-LS image"
    if frame.code in LOSSLESS:
        return "a lossless JPEG"
    if frame.bits != 8:
        return f"a JPEG of {frame.bits} bits per sample"
    if frame.height == 0:
        return "a JPEG of height 0 (to be told by a later marker, DNL)"
    return None


def has_all_scans(content: bytes) -> bool:
    """Whether the scans of a JPEG hold every bit of every coefficient of every component.

    A file that ends between two scans is else not told from a whole one. Of arithmetic coding
    nobody can tell: zero bits that it lacks at the end are none that it needs.
    """
    progressive, wanted = False, 0
    exact: set[tuple[int, int]] = set()
    for code, _, data in segments(content):
        if code in SOF and len(data) >= 6:
            if code in ARITHMETIC:
                return False
            progressive, wanted = code in PROGRESSIVE, data[5]
        if code == SOS and data and len(data) >= 4 + 2 * data[0]:
            first, last, low = data[1 + 2 * data[0] :][:3]
            band = range(first, last + 1) if progressive else range(COEFFICIENTS)
            if not progressive or not low & 0x0F:
                components = data[1 : 1 + 2 * data[0] : 2]
                exact |= {(component, k) for component in components for k in band}
    return 0 < wanted * COEFFICIENTS <= len(exact)


def lost_block(content: bytes) -> tuple[int, int] | None:
    """Where a scan has zero bytes that no encoder writes, as of a block lost by a disk.

    In a baseline JPEG, unless a string of zero bits is the code for the end of a block, it is a
    fine texture that no picture has. In a progressive one encoders unite ends of blocks to runs.
    libjpeg does not notice it where the bits after it happen to fit.
    """
    if bytes(_LOST) not in content:
        return None
    process = 0
    codes: dict[int, int] = {}
    for code, at, data in segments(content):
        if code == DHT:
            codes |= _zero_codes(data)
        elif code in SOF:
            process = code
        elif code == SOS and data:
            start, parameters = at + 4 + len(data), data[1 + 2 * data[0] :]
            if process in BASELINE:
                tables = [selectors & 0x0F for selectors in data[2 : 2 + 2 * data[0] : 2]]
                textured = any(codes.get(table, END_OF_BLOCK) != END_OF_BLOCK for table in tables)
                return _zeros(content, start, _LOST) if textured else None
            if process != PROGRESSIVE[0] or len(parameters) < 3:
                return None
            lowest, _, bits = parameters[:3]
            # the mean colours of a plain picture are zero bits
            if lowest and (found := _zeros(content, start, _LOST_BITS if bits >> 4 else _LOST)):
                return found
    return None


def _zeros(content: bytes, start: int, fewest: int) -> tuple[int, int] | None:
    """The first ``fewest`` zero bytes or more in the scan that begins at ``start``."""
    found = content.find(bytes(fewest), start)
    if found < 0 or _MARKER.search(content, start, found + 1):
        return None
    return found, len(content) - len(content[found:].lstrip(b"\0"))


def ends_scan(content: bytes, at: int) -> bool:
    """Whether no byte of a scan is at this place: a marker, or the end of the file."""
    return at == len(content) or _MARKER.match(content, at) is not None


def _zero_codes(tables: bytes) -> dict[int, int]:
    """Of Huffman tables for coefficients (number -> symbol): what zero bits alone stand for."""
    codes: dict[int, int] = {}
    at = 0
    while at + 17 < len(tables):
        kind, number = tables[at] >> 4, tables[at] & 0x0F
        if kind == 1:
            codes[number] = tables[at + 17]
        at += 17 + sum(tables[at + 1 : at + 17])
    return codes
