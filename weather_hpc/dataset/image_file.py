"""One image file: its name as printable text, and what its first bytes say it is.

Real folders hold names with line breaks and stray bytes, and files whose name does not fit.
"""

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from PIL import Image


_UNPRINTABLE = re.compile(r"[\\\x00-\x1f\x7f\u0085\u2028\u2029\ud800-\udfff]")


_ESCAPED = re.compile(r"\\u([0-9a-f]{4})")


def printable(name: str) -> str:
    r"""``name`` on one line of valid UTF-8; what cannot stand there becomes ``\uXXXX``.

    Python holds the bytes of a name that is not UTF-8 as lone surrogates, which no text file
    and no terminal takes. :func:`original` is the way back.
    """
    return _UNPRINTABLE.sub(lambda found: f"\\u{ord(found[0]):04x}", name)


def original(text: str) -> str:
    """The name that :func:`printable` made ``text`` from."""
    return _ESCAPED.sub(lambda found: chr(int(found[1], 16)), text)


PIXEL_LIMIT = 89_478_485
"""Images that claim more pixels are refused: a quarter GiB of RGB, where Pillow warns too."""


# Formats that Pillow decodes by itself. EPS and the like start other programs, and rare ones
# have had the most holes; a photograph is in none of them.
FORMATS = ("AVIF", "BMP", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")


class ImageError(Exception):
    """This file cannot be used as an image; the text says why, on one line."""


@dataclass(frozen=True)
class Probe:
    """What an image's header claims."""

    format: str
    width: int
    height: int


def open_image(file: BinaryIO) -> "Image.Image":
    """The image in ``file``, its header read and its pixels not yet.

    Raises :class:`ImageError` where it is none, or claims more than :data:`PIXEL_LIMIT` pixels.
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


def probe(file: BinaryIO) -> Probe:
    """What the image in ``file`` claims to be. Raises :class:`ImageError` as open_image does."""
    image = open_image(file)
    return Probe(image.format or "unknown", image.width, image.height)


def reason(error: BaseException) -> str:
    """The error's text on one line, or its kind where it has none."""
    return printable(" ".join(str(error).split()) or type(error).__name__)
