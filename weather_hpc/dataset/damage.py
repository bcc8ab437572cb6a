"""Damage inside an image file: what a strict decoder warns of where a tolerant one shows a picture.

What comes after the last pixel is harmless: a missing end mark, padding, an appended thumbnail.
"""

import re

from weather_hpc.dataset.image_file import ImageError
from weather_hpc.dataset.jpeg_file import (
    APP,
    COM,
    EOI,
    JPEG,
    MARK,
    PROGRESSIVE,
    SOF,
    SOS,
    ends_scan,
    has_all_scans,
    jpeg_kind,
    lost_block,
    segments,
)
from weather_hpc.dataset.png_file import SIGNATURE, png_damage

_END = bytes((MARK, EOI))
_UNCOUNTED = 4
"""Zero bytes behind the pixels that libjpeg has read ahead and does not warn of."""
_ZEROS = "zero bytes in place of pixels"
_PREMATURE = "Premature end of JPEG"
_EXTRANEOUS = re.compile(r"(\d+) extraneous bytes before marker 0x([0-9a-f]{2})")
_SEQUENTIAL = bytes((0, 63, 0))
"""First and last coefficient and precision in the scan headers of all but progressive JPEGs."""
_MOST_MENDS = 6


class DamagedError(ImageError):
    """Some pixels of this file are wrong or missing; a tolerant decoder shows the others."""


def sound(content: bytes) -> bytes:
    """``content`` of an image file, with its end mark where only that is missing.

    Raises :class:`DamagedError`. A JPEG is decoded by libjpeg at an eighth of its sides, of a PNG
    the checksums are compared; decoders of other formats report what they can themselves.
    """
    if content.startswith(JPEG):
        return _sound_jpeg(content)
    if content.startswith(SIGNATURE) and (found := png_damage(content)):
        raise DamagedError(f"damaged PNG: {found}")
    return content


def _sound_jpeg(content: bytes) -> bytes:
    """libjpeg tells its first warning only: what is harmless is mended and the rest tried again.

    It is not given kinds that are not read: of some it writes more pixels than fit.
    """
    if unread := jpeg_kind(content):
        raise ImageError(f"is {unread}, which is not read")
    mended, end = content, b""
    if lost := lost_block(content):
        if not ends_scan(content, lost[1]):
            raise DamagedError(f"damaged JPEG: {_ZEROS}")
        mended = _without(content, [_padding(*lost)])
    first = warning = _warning(mended)
    for _ in range(_MOST_MENDS):
        if warning is None:
            return content + end
        if _PREMATURE in warning and not end and has_all_scans(content):
            end = _END
            changed = mended + end
        else:
            changed = _mended(mended, warning)
        if changed == mended:
            break
        mended, warning = changed, _warning(changed)
    truncated = "truncated: " if _PREMATURE in str(first) else ""
    raise DamagedError(f"damaged JPEG: {_ZEROS if lost else truncated + str(first)}")


def _warning(jpeg: bytes) -> str | None:
    """What libjpeg warns of where it decodes ``jpeg``, or why it cannot.

    None where it finds nothing, or where its interface does not take this kind of JPEG.
    """
    import simplejpeg

    try:
        simplejpeg.decode_jpeg(jpeg, min_height=1, min_width=1, strict=True)
    except ValueError as error:
        text = " ".join(str(error).split())
        return None if text.startswith("tj") else text
    return None


def _mended(jpeg: bytes, warning: str) -> bytes:
    """``jpeg`` without what libjpeg warns of, where that does not concern pixels; else as it is."""
    if found := _EXTRANEOUS.search(warning):
        return _without_padding(jpeg, int(found[1]), int(found[2], 16))
    if "Invalid SOS parameters" in warning:
        return _with_scan_parameters(jpeg)
    if any(name in warning for name in ("JFIF revision", "Adobe color transform", "ICC")):
        kept = [s for s in segments(jpeg) if s.code in APP or s.code == COM]
        return _without(jpeg, [(s.at, s.at + 4 + len(s.data)) for s in kept])
    return jpeg


def _without_padding(jpeg: bytes, length: int, code: int) -> bytes:
    """Without padding of ``length`` zero bytes or more before a marker.

    All of it: if it does not lie behind the pixels but in their place, some are then missing.
    """
    for segment in segments(jpeg):
        if segment.code == code:
            start = len(jpeg[: segment.at].rstrip(b"\0"))
            if segment.at - start >= length:
                return _without(jpeg, [_padding(start, segment.at)])
    return jpeg


def _padding(start: int, end: int) -> tuple[int, int]:
    """The part of these zero bytes that is no pixel's: the first may be one's, and libjpeg does not
    count a few."""
    kept = next((length for length in (_UNCOUNTED, 1) if end - start > length), 0)
    return start + kept, end


def _with_scan_parameters(jpeg: bytes) -> bytes:
    """With the scan parameters that the standard demands; some cameras write zeros."""
    headers = list(segments(jpeg))
    if any(s.code in PROGRESSIVE for s in headers if s.code in SOF):
        return jpeg
    content = bytearray(jpeg)
    for header in headers:
        if header.code == SOS:
            end = header.at + 4 + len(header.data)
            content[end - len(_SEQUENTIAL) : end] = _SEQUENTIAL
    return bytes(content)


def _without(content: bytes, parts: list[tuple[int, int]]) -> bytes:
    kept, at = b"", 0
    for start, end in parts:
        kept, at = kept + content[at:start], end
    return kept + content[at:]
