"""The chunks of a PNG and their checksums (W3C, Portable Network Graphics, 5)."""

import re
import zlib

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_TYPE = re.compile(rb"[A-Za-z]{4}")


def png_damage(content: bytes) -> str | None:
    """What is wrong with the chunks of a PNG file; None where nothing is.

    A file that ends within its chunks is not damaged by this: its decoder tells whether pixels
    are missing. What follows the last chunk is not looked at.
    """
    view = memoryview(content)
    at, first = len(SIGNATURE), True
    while at + 12 <= len(content):
        length, name = int.from_bytes(view[at : at + 4]), bytes(view[at + 4 : at + 8])
        if not _TYPE.fullmatch(name):
            return f"no chunk begins at byte {at}, where one should"
        if first and name != b"IHDR":
            return f"its first chunk is {name.decode()}, not IHDR"
        end = at + 8 + length
        if end + 4 > len(content):
            return None
        if zlib.crc32(view[at + 4 : end]) != int.from_bytes(view[end : end + 4]):
            return f"chunk {name.decode()} at byte {at} has a wrong checksum (CRC)"
        if name == b"IEND":
            return None
        at, first = end + 4, False
    return None
