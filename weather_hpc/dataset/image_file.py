"""One image file: its name as printable text, and its format and size by its header.

Names in real folders have line breaks and stray bytes, and suffixes of other formats.
"""

import re
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from PIL import ImageFile


_UNPRINTABLE = re.compile(r"[\\\x00-\x1f\x7f\u0085\u2028\u2029\ud800-\udfff]")

_ESCAPED = re.compile(r"\\u([0-9a-f]{4})")

PIXEL_LIMIT = 89_478_485
"""Images that claim more pixels are refused: a quarter GiB of RGB, Pillow's own limit."""
# Formats that Pillow decodes by itself. EPS starts another program, and decoders of rare formats
# have had the most security holes; photographs are in none of them.
FORMATS = ("AVIF", "BMP", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")


def printable(name: str) -> str:
    r"""``name`` on one line of valid UTF-8; other characters become ``\uXXXX``.

    Python represents the bytes of a name that is not UTF-8 by lone surrogates, which neither text
    files nor terminals take. :func:`original` is the inverse.
    """
    return _UNPRINTABLE.sub(lambda match: f"\\u{ord(match[0]):04x}", name)


def original(text: str) -> str:
    """The name of which :func:`printable` gives ``text``."""
    return _ESCAPED.sub(lambda match: chr(int(match[1], 16)), text)


class ImageError(Exception):
    """This file cannot be used as an image; the message says why, on one line."""


@dataclass(frozen=True)
class ImageHeader:
    """What an image's header claims."""

    format: str
    width: int
    height: int


def open_image(file: IO[bytes]) -> "ImageFile.ImageFile":
    """The image in ``file``: its header is read, its pixels are not yet.

    Raises :class:`ImageError` where it is not an image or claims more than :data:`PIXEL_LIMIT`
    pixels.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        image = Image.open(file, formats=FORMATS)
    except UnidentifiedImageError:
        raise ImageError("not an image in any known format") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise ImageError(f"claims more than {PIXEL_LIMIT} pixels") from None
    except MemoryError:
        raise
    except Exception as error:  # a damaged header can raise nearly anything
        raise ImageError(f"damaged header: {reason(error)}") from None
    if image.width * image.height > PIXEL_LIMIT:
        claim = f"{image.width} x {image.height}"
        raise ImageError(f"claims {claim} pixels, more than {PIXEL_LIMIT}")
    return image


def read_header(file: BinaryIO) -> ImageHeader:
    """What the header of ``file`` claims. Raises :class:`ImageError` as :func:`open_image` does."""
    image = open_image(file)
    return ImageHeader(image.format or "unknown", image.width, image.height)


def reason(error: BaseException) -> str:
    """The error's message on one line, or its type where it has none."""
    return printable(" ".join(str(error).split()) or type(error).__name__)
