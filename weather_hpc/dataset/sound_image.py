"""An image file whose pixels are all there: read, checked for damage and decoded by Pillow."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from weather_hpc.dataset.damage import DamagedError, sound
from weather_hpc.dataset.image_file import GoneError, ImageError, open_image, reason
from weather_hpc.dataset.libtiff import libtiff_errors
from weather_hpc.dataset.png_file import lacks_rows

if TYPE_CHECKING:
    from PIL import ImageFile

_TOLERANT = ContextVar("_TOLERANT", default=False)


@contextmanager
def tolerant() -> Iterator[None]:
    """Inside the block damaged images show what there is. In one thread of the process."""
    from PIL import ImageFile

    token, ImageFile.LOAD_TRUNCATED_IMAGES = _TOLERANT.set(True), True
    try:
        yield
    finally:
        _TOLERANT.reset(token)
        ImageFile.LOAD_TRUNCATED_IMAGES = False


def read_content(path: Path) -> bytes:
    """The bytes of the file. Raises :class:`GoneError` where it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise GoneError(f"cannot be read: {error.strerror or reason(error)}") from None


@contextmanager
def sound_image(path: Path, content: bytes | None = None) -> "Iterator[ImageFile.ImageFile]":
    """The image in a file, for decoding its pixels in the block.

    ``content``: that of the file, where it is read. Raises :class:`ImageError` where it is no
    image, :class:`DamagedError` where pixels are missing or wrong, unless :func:`tolerant`.
    """
    content = read_content(path) if content is None else content
    with errors_named(), warnings.catch_warnings():
        # Pillow warns about odd metadata in usable images; unusable images raise.
        warnings.simplefilter("ignore")
        image = open_image(BytesIO(content))
        if not _TOLERANT.get():
            whole = sound(content)
            image = image if whole is content else open_image(BytesIO(whole))
        # libjpeg cannot decode arithmetic coding in parts
        image.decodermaxblock = max(len(content) + 2, image.decodermaxblock)
        with _decoding():
            yield image
            if not _TOLERANT.get() and _black_below(image) and lacks_rows(content):
                raise DamagedError("damaged PNG: its pixels end before the last row")


def _black_below(image: "ImageFile.ImageFile") -> bool:
    """Whether one of the last two rows of a PNG is nothing but zeros, as where it is missing.

    Two, because the last row of an interlaced image need not be of the last pass. To count the
    rows takes half as long as decoding them, so that is not done for every PNG.
    """
    if image.format != "PNG":
        return False
    width, height = image.size
    rows = [(0, row, width, row + 1) for row in range(max(height - 2, 0), height)]
    return not all(image.crop(row).getbbox(alpha_only=False) for row in rows)


@contextmanager
def _decoding() -> Iterator[None]:
    """Turn what a decoder in the block raises into a :class:`DamagedError`."""
    with libtiff_errors() as reported:
        try:
            yield
        except (ImageError, MemoryError):
            raise
        except Exception as error:  # a damaged file can raise nearly anything
            # libtiff's last words; those before are of tags that it does not know
            words = f": {reported[-1]}" if reported else ""
            raise DamagedError(f"cannot be decoded: {reason(error)}{words}") from None


@contextmanager
def errors_named() -> Iterator[None]:
    """Turn every error in the block into an :class:`ImageError` with its reason."""
    try:
        yield
    except (ImageError, MemoryError):
        raise
    except OSError as error:
        raise ImageError(f"cannot be decoded: {error.strerror or reason(error)}") from None
    except Exception as error:  # a damaged file can raise nearly anything
        raise ImageError(f"cannot be decoded: {reason(error)}") from None
