"""What stands before the pixels of a JPEG, read without a decoder (ITU-T T.81, annex B).

Only files that may have an orientation are opened by Pillow as well, which takes as long as
decoding a small image.
"""

from collections.abc import Iterator

JPEG = b"\xff\xd8\xff"
"""The first bytes of every JPEG."""
MARK, APP1, APP2, START_OF_SCAN = 0xFF, 0xE1, 0xE2, 0xDA
"""The first byte of every marker between a JPEG's segments, and the second of three markers."""
FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
"""The second byte of the markers at which a frame starts."""
PROFILE = b"ICC_PROFILE\0"
"""The start of a segment with a part of an ICC profile (ICC.1, annex B)."""
PART = len(PROFILE) + 2
"""Where the part begins, after its number and the number of parts."""


def segments(jpeg: bytes) -> Iterator[tuple[int, int]]:
    """Marker and position of each segment before the pixels, the start of the scan last.

    Ends early where a byte is not the one that should be there.
    """
    at = 2
    while at + 4 <= len(jpeg) and jpeg[at] == MARK:
        marker = jpeg[at + 1]
        if marker == MARK:  # a filler
            at += 1
            continue
        yield marker, at
        if marker == START_OF_SCAN:
            return
        at += 2 + int.from_bytes(jpeg[at + 2 : at + 4])


def has_metadata(jpeg: bytes) -> bool:
    """Whether there may be EXIF or XMP data, which have the orientation, in an APP1 segment."""
    marker = 0
    for marker, _ in segments(jpeg):
        if marker == APP1:
            return True
    return marker != START_OF_SCAN


def icc_profile(jpeg: bytes) -> bytes | None:
    """The ICC profile before the frame (ICC.1, annex B); None where there is none, or not all."""
    parts = {}
    counts = set()
    for marker, at in segments(jpeg):
        if marker in FRAMES:
            break
        end = at + 2 + int.from_bytes(jpeg[at + 2 : at + 4])
        content = jpeg[at + 4 : end]
        if marker == APP2 and content.startswith(PROFILE) and len(content) >= PART:
            number, count = content[len(PROFILE) : PART]
            parts[number] = content[PART:]
            counts.add(count)
    if not parts or counts != {len(parts)}:
        return None
    return b"".join(parts[number] for number in sorted(parts))
