"""One image file -> one square of RGB bytes: the exact decoder and the fast one.

Most of the time of a plain decoder is spent on pixels that the resize discards. The fast decoder
decodes a JPEG at a half, a quarter or an eighth of its sides, for a part of that work, and resizes
the result with the same antialiased bicubic filter, in SIMD. Every other file is decoded by Pillow
under the same rules.
"""

import contextlib
import importlib.util
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weather_hpc.dataset.image_file import PIXEL_LIMIT, ImageError, open_image
from weather_hpc.dataset.jpeg_file import lost_block
from weather_hpc.dataset.sound_image import errors_named, read_content, sound_image
from weather_hpc.study.tasks import Decoder

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from PIL import Image, ImageFile

PILLOW_METHOD = (
    "pillow: first frame, alpha over white, bicubic antialiased stretch, EXIF orientation"
)
"""How images become rows, for the store's header: change it when pixels would change. Stores of
different methods are never mixed."""

ORIENTATION_TAG = 0x0112

# 16-bit and 32-bit greys: Pillow's own conversion to RGB would clip them at 255.
DEEP_GREY_MODES = ("I;16", "I;16L", "I;16B", "I;16N", "I")

FAST_METHOD = (
    "fast: JPEG by libjpeg-turbo, reduced by a power of two to no less than 7/4 of the size; "
    "first frame, alpha over white, bicubic antialiased stretch by torch, EXIF orientation"
)
"""As :data:`PILLOW_METHOD`, for the fast decoder."""
FAST_PACKAGES = ("simplejpeg", "torch")
"""The packages that the fast decoder needs."""
LEAST_SCALE = 7 / 4
"""Sides are not reduced below this multiple of the target size. 2 gives no better quality
(docs/how-to/preprocessing.md); with 3/2 a twentieth of the images falls below 43 dB."""
JPEG = b"\xff\xd8\xff"
COLOURS = ("Gray", "RGB", "YCbCr")
"""Colour spaces of a JPEG other than CMYK."""
MARK, APP1, START_OF_SCAN = 0xFF, 0xE1, 0xDA
"""The first byte of every marker between a JPEG's segments, and the second of two markers (ITU-T
T.81)."""
SCRATCH_BYTES = 16 << 20
"""Images up to this size are decoded into one buffer; its pages stay mapped and cached."""
Decode = Callable[[Path, int], "npt.NDArray[np.uint8]"]
"""Path and size -> uint8 of shape (size, size, 3); raises ImageError."""
METHODS = {Decoder.FAST: FAST_METHOD, Decoder.EXACT: PILLOW_METHOD}
OVERHEAD_PIXELS = 150_000
"""The cost of opening, resizing, hashing and writing an image, in pixels' worth of time."""


def decode_exact(path: Path, size: int) -> "npt.NDArray[np.uint8]":
    """The image at ``path`` as uint8 of shape (size, size, 3), RGB.

    The whole picture (the first frame, where it is animated) is put over white where it is
    transparent, stretched to the square, and rotated upright by its EXIF orientation. Raises
    :class:`ImageError` with the reason where the file cannot be decoded in full.
    """
    import numpy as np
    from PIL import Image

    with sound_image(path) as image:
        orientation = read_orientation(image)
        square = np.asarray(to_rgb(image).resize((size, size), Image.Resampling.BICUBIC))
    # Rotated after the resize: there are far fewer pixels to move.
    return upright(square, orientation)


@contextlib.contextmanager
def opened_image(path: Path) -> "Iterator[ImageFile.ImageFile]":
    """The image in a file; its pixels are not read yet.

    Errors in the block are the file's fault and raised as :class:`ImageError`.
    """
    with errors_named(), path.open("rb") as file, warnings.catch_warnings():
        # Pillow warns about odd metadata in usable images; unusable images raise.
        warnings.simplefilter("ignore")
        yield open_image(file)


def read_orientation(image: "Image.Image") -> int:
    """The EXIF orientation, 1 (upright) to 8; 1 where there is none or it is damaged."""
    try:
        value = image.getexif().get(ORIENTATION_TAG, 1)
    except Exception:  # damaged metadata must not cost a good image
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def upright(pixels: "npt.NDArray[np.uint8]", orientation: int) -> "npt.NDArray[np.uint8]":
    """A view of ``pixels``, shape (side, side, 3), upright by their EXIF ``orientation``."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.transpose(1, 0, 2)
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return pixels


def to_rgb(image: "Image.Image") -> "Image.Image":
    """Any mode -> RGB; decodes the pixels."""
    from PIL import Image

    if image.mode in DEEP_GREY_MODES:
        image = _shallow_grey(image)
    elif image.mode == "F":
        raise ImageError("floating-point pixels, whose white is not defined")
    if image.has_transparency_data:
        picture = image.convert("RGBA")
        if picture.getchannel("A").getextrema() == (255, 255):
            return picture.convert("RGB")  # opaque after all: white would not show
        white = Image.new("RGBA", picture.size, "white")
        return Image.alpha_composite(white, picture).convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")


def _shallow_grey(image: "Image.Image") -> "Image.Image":
    """A grey image of 16 bits as one of 8."""
    import numpy as np
    from PIL import Image

    values: npt.NDArray[Any] = np.asarray(image)
    if values.min() < 0 or values.max() > 0xFFFF:
        raise ImageError("grey values beyond 16 bits")
    return Image.fromarray((values.astype(np.uint32) // 257).astype(np.uint8))


class FastDecoder:
    """Decodes one image after the other, all into one buffer: not thread-safe."""

    def __init__(self) -> None:
        """Raises ImportError where one of :data:`FAST_PACKAGES` is missing."""
        import numpy as np
        import simplejpeg
        import torch

        self._simplejpeg: Any = simplejpeg
        self._torch = torch
        self._scratch = np.empty(SCRATCH_BYTES, dtype=np.uint8)
        # the first resize initializes torch, which takes as long as forty images
        self._resized(np.zeros((2, 2, 3), dtype=np.uint8), 1)

    def __call__(self, path: Path, size: int) -> "npt.NDArray[np.uint8]":
        """As :func:`decode_exact`, except for rounding and the reduced decoding."""
        import numpy as np

        content = read_content(path)
        orientation = 1
        pixels = self._reduced(content, size)
        if pixels is None:
            with sound_image(path, content) as image:
                orientation = read_orientation(image)
                pixels = np.array(to_rgb(image))
        elif has_metadata(content):
            with opened_image(path) as image:
                orientation = read_orientation(image)
        return upright(self._resized(pixels, size), orientation)

    def _reduced(self, content: bytes, size: int) -> "npt.NDArray[np.uint8] | None":
        """A JPEG's pixels, (height, width, 3), reduced; None where Pillow must decode the file."""
        if not content.startswith(JPEG) or lost_block(content):
            return None
        try:
            height, width, colours, _ = self._simplejpeg.decode_jpeg_header(content)
            if colours not in COLOURS or height * width > PIXEL_LIMIT:
                return None
            # In pixels, not as a factor: given a factor, the library also reduces by other eighths
            # than powers of two, which is slower and loses 20 dB.
            factor = reduction(width, height, size)
            height, width = -(-height // factor), -(-width // factor)
            buffer = self._scratch if height * width * 3 <= SCRATCH_BYTES else None
            pixels: npt.NDArray[np.uint8] = self._simplejpeg.decode_jpeg(
                content, min_height=height, min_width=width, buffer=buffer, strict=True
            )
        except ValueError:  # damaged: Pillow decides whether it is still an image
            return None
        return pixels

    def _resized(self, pixels: "npt.NDArray[np.uint8]", size: int) -> "npt.NDArray[np.uint8]":
        """Resized to (size, size, 3), by a kernel for bytes with interleaved channels."""
        with self._torch.inference_mode():
            # In this order: the other way round torch does not recognise interleaved channels,
            # takes more than twice as long and returns planes.
            batch = self._torch.from_numpy(pixels).unsqueeze(0).permute(0, 3, 1, 2)
            out = self._torch.nn.functional.interpolate(
                batch, (size, size), mode="bicubic", antialias=True
            )
            square: npt.NDArray[np.uint8] = out[0].permute(1, 2, 0).numpy()
        return square


def reduction(width: int, height: int, size: int) -> int:
    """The largest factor of 8, 4, 2, 1 that leaves both sides at least ``size`` times
    :data:`LEAST_SCALE`; 1 where none does."""
    factor = 8
    while factor > 1 and min(width, height) < LEAST_SCALE * size * factor:
        factor //= 2
    return factor


def has_metadata(jpeg: bytes) -> bool:
    """Whether there may be EXIF or XMP data before the pixels, in an APP1 segment. Only those files
    are opened by Pillow as well, which takes as long as decoding a small image."""
    at = 2
    while at + 4 <= len(jpeg) and jpeg[at] == MARK and jpeg[at + 1] not in (APP1, START_OF_SCAN):
        filler = jpeg[at + 1] == MARK
        at += 1 if filler else 2 + int.from_bytes(jpeg[at + 2 : at + 4])
    return jpeg[at : at + 2] != bytes((MARK, START_OF_SCAN))


def available(decoder: Decoder) -> Decoder:
    """``decoder``; the exact one, with a notice, where the fast one lacks a package."""
    if decoder is Decoder.FAST:
        missing = [name for name in FAST_PACKAGES if importlib.util.find_spec(name) is None]
        if missing:
            print(
                f"preprocess: {' and '.join(missing)} not installed: images are decoded by Pillow "
                "alone, which takes several times as long",
                file=sys.stderr,
            )
            return Decoder.EXACT
    return decoder


def make_decoder(name: Decoder) -> Decode:
    """The decoder ``name``, for one thread. Raises ImportError where it lacks a package."""
    return FastDecoder() if name is Decoder.FAST else decode_exact


def cost(name: Decoder, width: int, height: int, size_bytes: int, size: int) -> int:
    """How long ``name`` takes for an image of ``width`` by ``height`` and ``size_bytes``.

    In pixels' worth of time, within about 20 % for single images. A byte of a compressed file
    takes as long as one pixel of the exact decoder, or three of the fast one.
    """
    if name is Decoder.FAST:
        reduced = width * height // reduction(width, height, size) ** 2
        return OVERHEAD_PIXELS + reduced + 3 * size_bytes
    return OVERHEAD_PIXELS + width * height + size_bytes
