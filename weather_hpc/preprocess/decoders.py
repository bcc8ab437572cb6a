"""One image file -> one square of RGB bytes: the exact decoder and the fast one.

Most of the time of a plain decoder is spent on pixels that the resize discards. The fast decoder
decodes a JPEG at a half, a quarter or an eighth of its sides, for a part of that work, and resizes
the result with the same antialiased bicubic filter, in SIMD. Every other file is decoded by Pillow
under the same rules.
"""

import contextlib
import importlib.util
import math
import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weather_hpc.dataset.image_file import PIXEL_LIMIT, open_image
from weather_hpc.dataset.jpeg_file import JPEG, frame_of, jpeg_kind, lost_block
from weather_hpc.dataset.sound_image import errors_named, read_content, sound_image
from weather_hpc.preprocess import profiles
from weather_hpc.preprocess.jpeg import has_metadata, icc_profile
from weather_hpc.preprocess.profiles import Profile, profile_of, read_profile
from weather_hpc.preprocess.rgb import to_rgb
from weather_hpc.study.tasks import Color, Decoder

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from PIL import Image, ImageFile

PILLOW_METHOD = (
    "pillow: first frame, transparency over white, bicubic antialiased stretch, turned upright"
)
"""How images become rows: change it when pixels would change."""

ORIENTATION_TAG = 0x0112

FAST_METHOD = (
    "fast: JPEG by libjpeg-turbo, reduced by a power of two to no less than 7/4 of the size (9/4 "
    "above 1/6 byte per pixel); first frame, transparency over white, bicubic antialiased stretch "
    "by torch from the true sides, turned upright"
)
"""As :data:`PILLOW_METHOD`, for the fast decoder."""
FAST_PACKAGES = ("simplejpeg", "torch")
"""The packages that the fast decoder needs."""
LEAST_SCALE = 7 / 4
"""Sides are not reduced below this multiple of the target size (docs/how-to/preprocessing.md)."""
BUSY_BYTES, BUSY_SCALE = 1 / 6, 9 / 4
"""As :data:`LEAST_SCALE`, of files with more bytes per pixel: fine texture and noise, of which the
reduction loses more. Without it a twentieth of the reduced photographs is below 47.9 dB
(docs/how-to/preprocessing.md)."""
SPACES = {1: "GRAY", 3: "RGB"}
"""The space of the profile that fits a JPEG, by its number of components; not of CMYK."""
SCRATCH_BYTES = 16 << 20
"""Images up to this size are decoded into one buffer; its pages stay mapped and cached."""
Decode = Callable[[Path, int], "npt.NDArray[np.uint8]"]
"""Path and size -> uint8 of shape (size, size, 3); raises ImageError."""
METHODS = {Decoder.FAST: FAST_METHOD, Decoder.EXACT: PILLOW_METHOD}
OVERHEAD_PIXELS = 150_000
"""The cost of opening, resizing, hashing and writing an image, in pixels' worth of time."""


def decode_exact(path: Path, size: int, color: Color = Color.MANAGED) -> "npt.NDArray[np.uint8]":
    """The image at ``path`` as uint8 of shape (size, size, 3), RGB.

    The whole picture (the first frame, where it is animated) is put over white where it is
    transparent, stretched to the square, converted to sRGB by its profile unless ``color`` ignores
    it, and turned upright. Raises :class:`ImageError` with the reason where the file cannot be
    decoded in full.
    """
    import numpy as np
    from PIL import Image

    with sound_image(path) as image:
        picture, profile, orientation = decoded(image, color)
        square = np.asarray(picture.resize((size, size), Image.Resampling.BICUBIC))
    # Converted and turned after the resize: there are far fewer pixels.
    return upright(square if profile is None else profile.to_srgb(square), orientation)


def decoded(
    image: "ImageFile.ImageFile", color: Color
) -> "tuple[Image.Image, Profile | None, int]":
    """An opened image's pixels, RGB, or CMYK where a profile converts inks; the profile that they
    are still to be converted by; and the orientation.
    """
    profile = converting(profile_of(image)) if color is Color.MANAGED else None
    if profile is not None and profile.space == "CMYK":
        image.load()
        picture: Image.Image = image
    else:
        picture = to_rgb(image)
    # Read after the pixels: Pillow turns a TIFF itself as it loads, and then removes the tag.
    return picture, profile, read_orientation(image)


def converting(profile: Profile | None) -> Profile | None:
    """``profile`` where it changes pixels."""
    return None if profile is None or profile.transform is None else profile


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


@dataclass(frozen=True)
class Picture:
    """Decoded pixels, perhaps reduced."""

    pixels: "npt.NDArray[np.uint8]"
    """(height, width, channels)."""
    sides: tuple[float, float]
    """Height and width of the image in these pixels. Where a side is no multiple of the reduction,
    the last pixel lies partly outside the image."""
    profile: Profile | None
    """What the pixels are still to be converted by."""


class FastDecoder:
    """Decodes one image after the other, all into one buffer: not thread-safe."""

    def __init__(self, color: Color = Color.MANAGED) -> None:
        """Raises ImportError where one of :data:`FAST_PACKAGES` is missing."""
        import numpy as np
        import simplejpeg
        import torch

        self._simplejpeg: Any = simplejpeg
        self._torch = torch
        self._color = color
        self._scratch = np.empty(SCRATCH_BYTES, dtype=np.uint8)
        # the first resize initializes torch, which takes as long as forty images
        self._resized(Picture(np.zeros((2, 2, 3), dtype=np.uint8), (2, 2), None), 1)

    def __call__(self, path: Path, size: int) -> "npt.NDArray[np.uint8]":
        """As :func:`decode_exact`, except for rounding and the reduced decoding."""
        import numpy as np

        content = read_content(path)
        orientation = 1
        picture = self._reduced(content, size)
        if picture is None:
            with sound_image(path, content) as image:
                whole, profile, orientation = decoded(image, self._color)
                pixels = np.array(whole)
            picture = Picture(pixels, pixels.shape[:2], profile)
        elif has_metadata(content):
            with opened_image(path) as image:
                orientation = read_orientation(image)
        square = self._resized(picture, size)
        if picture.profile is not None:
            square = picture.profile.to_srgb(square)
        return upright(square, orientation)

    def _reduced(self, content: bytes, size: int) -> Picture | None:
        """A JPEG's pixels, reduced; None where Pillow must decode the file."""
        if not content.startswith(JPEG) or jpeg_kind(content) or lost_block(content):
            return None
        frame = frame_of(content)
        if frame is None or frame.components not in SPACES:
            return None
        height, width = frame.height, frame.width
        if not 0 < height * width <= PIXEL_LIMIT:
            return None
        try:
            # In pixels, not as a factor: given a factor, the library also reduces by other eighths
            # than powers of two, which is slower and loses 20 dB.
            factor = reduction(width, height, size, len(content))
            least_height, least_width = -(-height // factor), -(-width // factor)
            fits = least_height * least_width * 3 <= SCRATCH_BYTES
            pixels: npt.NDArray[np.uint8] = self._simplejpeg.decode_jpeg(
                content,
                min_height=least_height,
                min_width=least_width,
                buffer=self._scratch if fits else None,
                strict=True,
            )
        except ValueError:  # damaged: Pillow decides whether it is still an image
            return None
        found = icc_profile(content) if self._color is Color.MANAGED else None
        profile = (
            None if found is None else converting(read_profile(found, SPACES[frame.components]))
        )
        return Picture(pixels, (height / factor, width / factor), profile)

    def _resized(self, picture: Picture, size: int) -> "npt.NDArray[np.uint8]":
        """Resized to (size, size, channels), by a kernel for bytes with interleaved channels."""
        with self._torch.inference_mode():
            # In this order: the other way round torch does not recognise interleaved channels,
            # takes more than twice as long and returns planes.
            batch = self._torch.from_numpy(picture.pixels).unsqueeze(0).permute(0, 3, 1, 2)
            # Scales, not a size, so that a pixel that lies partly outside counts as a part. They
            # are rounded up because torch rounds the size down.
            scales = tuple(math.nextafter(size / side, math.inf) for side in picture.sides)
            out = self._torch.nn.functional.interpolate(
                batch, scale_factor=scales, mode="bicubic", antialias=True
            )
            square: npt.NDArray[np.uint8] = out[0].permute(1, 2, 0).numpy()
        return square


def reduction(width: int, height: int, size: int, size_bytes: int = 0) -> int:
    """The largest factor of 8, 4, 2, 1 that leaves both sides at least ``size`` times
    :data:`LEAST_SCALE`, or :data:`BUSY_SCALE` if the file has many bytes; 1 where none does."""
    busy = size_bytes > BUSY_BYTES * width * height
    least = size * (BUSY_SCALE if busy else LEAST_SCALE)
    factor = 8
    while factor > 1 and min(width, height) < least * factor:
        factor //= 2
    return factor


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


def make_decoder(name: Decoder, color: Color = Color.MANAGED) -> Decode:
    """The decoder ``name``, for one thread. Raises ImportError where it lacks a package."""
    if color is Color.MANAGED:
        profiles.srgb()
    if name is Decoder.FAST:
        return FastDecoder(color)
    return decode_exact if color is Color.MANAGED else partial(decode_exact, color=color)


def method(decoder: Decoder, color: Color) -> str:
    """How images become rows, for the store's header. Stores of different methods are never
    mixed."""
    return f"{METHODS[decoder]}; {profiles.METHODS[color]}"


def cost(name: Decoder, width: int, height: int, size_bytes: int, size: int) -> int:
    """How long ``name`` takes for an image of ``width`` by ``height`` and ``size_bytes``.

    In pixels' worth of time, within about 20 % for single images. A byte of a compressed file
    takes as long as one pixel of the exact decoder, or three of the fast one.
    """
    if name is Decoder.FAST:
        reduced = width * height // reduction(width, height, size, size_bytes) ** 2
        return OVERHEAD_PIXELS + reduced + 3 * size_bytes
    return OVERHEAD_PIXELS + width * height + size_bytes
