"""What stands before the pixels of a JPEG, read without a decoder (ITU-T T.81, annex B).

Only files that may have an orientation are opened by Pillow as well, which takes as long as
decoding a small image.
"""

from weather_hpc.dataset.jpeg_file import APP1, APP2, SOF, SOS, segments

PROFILE = b"ICC_PROFILE\0"
"""The start of a segment with a part of an ICC profile (ICC.1, annex B)."""
PART = len(PROFILE) + 2
"""Where the part begins, after its number and the number of parts."""


def has_metadata(jpeg: bytes) -> bool:
    """Whether there may be EXIF or XMP data, which have the orientation, in an APP1 segment."""
    for segment in segments(jpeg):
        if segment.code in (APP1, SOS):
            return segment.code == APP1
    return True


def icc_profile(jpeg: bytes) -> bytes | None:
    """The ICC profile before the frame (ICC.1, annex B); None where there is none, or not all."""
    parts = {}
    counts = set()
    for code, _, content in segments(jpeg):
        if code in SOF:
            break
        if code == APP2 and content.startswith(PROFILE) and len(content) >= PART:
            number, count = content[len(PROFILE) : PART]
            parts[number] = content[PART:]
            counts.add(count)
    if not parts or counts != {len(parts)}:
        return None
    return b"".join(parts[number] for number in sorted(parts))
