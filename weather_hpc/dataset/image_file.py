"""One image file: its name as printable text, and its format and size by its header.

Names in real folders have line breaks and stray bytes, and suffixes of other formats.
"""

import contextlib
import importlib
import logging
import os
import re
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING

from weather_hpc.dataset.file_kind import FileKind, kind_of, raw_kind

if TYPE_CHECKING:
    from PIL import ImageFile

# Pillow logs some of what it then raises; without a handler that would go to the terminal.
logging.getLogger("PIL").addHandler(logging.NullHandler())

_UNPRINTABLE = re.compile(r"[\\\x00-\x1f\x7f\u0085\u2028\u2029\ud800-\udfff]")

_ESCAPED = re.compile(r"\\u([0-9a-f]{4})")

PIXEL_LIMIT = 89_478_485
"""Images that claim more pixels are refused: a quarter GiB of RGB, Pillow's own limit."""
TEXT_LIMIT = 1 << 24
"""Bytes of a text or colour profile in a PNG. Pillow refuses the image from 1 MiB on, which
programs write that keep an image's history in it."""
# Formats that Pillow decodes by itself. EPS starts another program, and decoders of rare formats
# have had the most security holes; photographs are in none of them.
FORMATS = ("AVIF", "BMP", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")
SUFFIXES = {
    "AVIF": {".avif"}, "BMP": {".bmp", ".dib"}, "GIF": {".gif"}, "PNG": {".png", ".apng"},
    "HEIF": {".heic", ".heif", ".hif"}, "JXL": {".jxl"},
    "JPEG": {".jpg", ".jpeg", ".jpe", ".jfif"}, "MPO": {".jpg", ".jpeg", ".mpo"},
    "JPEG2000": {".jp2", ".j2k", ".jpx", ".jpf"}, "PPM": {".ppm", ".pgm", ".pbm", ".pnm"},
    "TIFF": {".tif", ".tiff"}, "WEBP": {".webp"},
}  # fmt: skip
"""File name suffixes of each format."""
KIND_BYTES = 1 << 24
"""Bytes of a file in which the reason is looked for why it is no image."""


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


class NoImageError(ImageError):
    """This file is something else than an image."""


class GoneError(ImageError):
    """This file cannot be read at all: it was removed, or its file system has failed."""


@dataclass(frozen=True)
class ImageHeader:
    """What an image's header claims."""

    format: str
    width: int
    height: int


def open_image(file: IO[bytes]) -> "ImageFile.ImageFile":
    """The image in ``file``: its header is read, its pixels are not yet.

    HEIC, AVIF and JPEG XL are read where a plugin of Pillow for them is installed. Raises
    :class:`ImageError` where it is not an image or claims more than :data:`PIXEL_LIMIT` pixels.
    """
    from PIL import Image, PngImagePlugin, UnidentifiedImageError

    PngImagePlugin.MAX_TEXT_CHUNK = TEXT_LIMIT
    try:
        image = Image.open(file, formats=FORMATS)
    except UnidentifiedImageError:
        image = _open_unidentified(file)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise ImageError(f"claims more than {PIXEL_LIMIT} pixels") from None
    except MemoryError:
        raise
    except ImageError:
        raise
    except Exception as error:  # a damaged header can raise nearly anything
        raise _refused(_kind(file), reason(error)) from None
    if image.width * image.height > PIXEL_LIMIT:
        claim = f"{image.width} x {image.height}"
        raise ImageError(f"claims {claim} pixels, more than {PIXEL_LIMIT}")
    if raw := raw_kind(getattr(image, "tag_v2", {})):
        raise _refused(raw)
    return image


def _open_unidentified(file: IO[bytes]) -> "ImageFile.ImageFile":
    """The image in ``file``, of a format that a plugin reads. Raises ImageError where it is not."""
    from PIL import Image

    kind = _kind(file)
    if kind.plugin is not None and kind.format not in Image.OPEN:
        _register(kind.plugin.module)
    if kind.damage or kind.format not in Image.OPEN:
        raise _refused(kind)
    file.seek(0)
    try:
        return Image.OPEN[kind.format][0](file, "")
    except Exception as error:  # what Image.open does not tell
        words = reason(error).partition(". ")[0]  # advice to programmers comes after it
        words = words.replace("not identified by this driver", "its decoder does not take it")
        raise _refused(kind, "" if "not installed" in words else words) from None


def _refused(kind: FileKind, words: str = "") -> ImageError:
    """The error for a file of ``kind``. ``words``: what its decoder says."""
    return (ImageError if kind.image else NoImageError)(kind.refusal(words))


def _register(module: str) -> None:
    """Let Pillow know the formats of a plugin, if that is installed."""
    with contextlib.suppress(ImportError):
        plugin = importlib.import_module(module)
        if hasattr(plugin, "register_heif_opener"):
            plugin.register_heif_opener()  # the others do so when they are imported


def _kind(file: IO[bytes]) -> FileKind:
    file.seek(0)
    return kind_of(file.read(KIND_BYTES), file.seek(0, os.SEEK_END))


def read_header(file: IO[bytes]) -> ImageHeader:
    """What the header of ``file`` claims. Raises :class:`ImageError` as :func:`open_image` does."""
    image = open_image(file)
    return ImageHeader(image.format or "unknown", image.width, image.height)


def has_image_name(path: str) -> bool:
    """Whether a file's name has the suffix of an image."""
    suffix = os.path.splitext(path)[1].lower()  # noqa: PTH122 - of every file in a folder
    return any(suffix in known for known in SUFFIXES.values())


def reason(error: BaseException) -> str:
    """The error's message on one line, or its type where it has none."""
    words = " ".join(str(error).split()) or type(error).__name__
    unknown = isinstance(error, KeyError) or isinstance(next(iter(error.args), None), KeyError)
    return printable(f"unknown value {words}" if unknown else words)
