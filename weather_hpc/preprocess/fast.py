"""The fast decoder: libjpeg-turbo, reduced while it decodes, then a resize by SIMD.

Most of the time of a plain decoder goes into pixels that the resize throws away. A JPEG can be
decoded at a half, a quarter or an eighth of its sides for a part of that work; what is left to
shrink is then shrunk with the same antialiased bicubic filter as in :mod:`decode`, in vectors.
Whatever this does not apply to is decoded by Pillow, under the same rules.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from weather_hpc.dataset.probe import PIXEL_LIMIT, ImageError
from weather_hpc.preprocess.decode import opened, read_orientation, to_rgb, turned

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

METHOD = (
    "fast: JPEG by libjpeg-turbo, reduced by a power of two to no less than 7/4 of the size; "
    "first frame, alpha over white, bicubic antialiased stretch by torch, EXIF orientation"
)
"""As :data:`weather_hpc.preprocess.decode.METHOD`."""

NEEDS = ("simplejpeg", "torch")
"""The packages without which this cannot be had."""

LEAST_SCALE = 7 / 4
"""Sides are not reduced below so many times the size wanted. At 2 nothing is gained in quality
(docs/how-to/preprocessing.md), at 3/2 a twentieth of them falls below 43 dB."""

JPEG = b"\xff\xd8\xff"
COLOURS = ("Gray", "RGB", "YCbCr")
"""Those of a JPEG that need no inks."""

MARK, APP1, START_OF_SCAN = 0xFF, 0xE1, 0xDA
"""The first byte of every marker between a JPEG's segments, and the second of two (ITU-T T.81)."""

SCRATCH_BYTES = 16 << 20
"""Images up to this size are decoded into one buffer, whose pages stay mapped and cached."""


class FastDecoder:
    """Decodes one image after the other, each into the buffer of the last: not for threads."""

    def __init__(self) -> None:
        """Raises ImportError where one of :data:`NEEDS` is missing."""
        import numpy as np
        import simplejpeg
        import torch

        self._simplejpeg: Any = simplejpeg
        self._torch = torch
        self._scratch = np.empty(SCRATCH_BYTES, dtype=np.uint8)
        # torch sets itself up in its first resize, which takes as long as forty images
        self._resized(np.zeros((2, 2, 3), dtype=np.uint8), 1)

    def __call__(self, path: Path, size: int) -> "npt.NDArray[np.uint8]":
        """As :func:`weather_hpc.preprocess.decode.decode`, but for the last bits."""
        import numpy as np

        try:
            content = path.read_bytes()
        except OSError as error:
            raise ImageError(f"cannot be decoded: {error.strerror}") from None
        orientation = 1
        pixels = self._reduced(content, size)
        if pixels is None or has_metadata(content):
            with opened(path) as image:
                orientation = read_orientation(image)
                if pixels is None:
                    pixels = np.array(to_rgb(image))
        return turned(self._resized(pixels, size), orientation)

    def _reduced(self, content: bytes, size: int) -> "npt.NDArray[np.uint8] | None":
        """A JPEG's pixels of shape (height, width, 3), reduced; None where Pillow must decide."""
        if not content.startswith(JPEG):
            return None
        try:
            height, width, colours, _ = self._simplejpeg.decode_jpeg_header(content)
            if colours not in COLOURS or height * width > PIXEL_LIMIT:
                return None
            # In pixels, not as a factor: by a factor the library would take eighths that are no
            # powers of two, which are slower and lose twenty decibels.
            factor = reduction(width, height, size)
            height, width = -(-height // factor), -(-width // factor)
            buffer = self._scratch if height * width * 3 <= SCRATCH_BYTES else None
            pixels: npt.NDArray[np.uint8] = self._simplejpeg.decode_jpeg(
                content, min_height=height, min_width=width, buffer=buffer, strict=True
            )
        except ValueError:  # damaged, more or less: Pillow says whether it is still an image
            return None
        return pixels

    def _resized(self, pixels: "npt.NDArray[np.uint8]", size: int) -> "npt.NDArray[np.uint8]":
        """Stretched to (size, size, 3), by a kernel made for bytes with interleaved channels."""
        with self._torch.inference_mode():
            # In this order: the other way round torch does not see that channels are interleaved,
            # takes more than twice as long and returns planes.
            batch = self._torch.from_numpy(pixels).unsqueeze(0).permute(0, 3, 1, 2)
            out = self._torch.nn.functional.interpolate(
                batch, (size, size), mode="bicubic", antialias=True
            )
            square: npt.NDArray[np.uint8] = out[0].permute(1, 2, 0).numpy()
        return square


def reduction(width: int, height: int, size: int) -> int:
    """By what libjpeg is to reduce: the largest of 8, 4, 2, 1 that leaves both sides enough."""
    factor = 8
    while factor > 1 and min(width, height) < LEAST_SCALE * size * factor:
        factor //= 2
    return factor


def has_metadata(jpeg: bytes) -> bool:
    """Whether there may be EXIF or XMP data before the pixels, in an APP1 segment: those alone
    are worth Pillow's look, which takes as long as decoding a small image."""
    at = 2
    while at + 4 <= len(jpeg) and jpeg[at] == MARK and jpeg[at + 1] not in (APP1, START_OF_SCAN):
        filler = jpeg[at + 1] == MARK
        at += 1 if filler else 2 + int.from_bytes(jpeg[at + 2 : at + 4])
    return jpeg[at : at + 2] != bytes((MARK, START_OF_SCAN))
