"""One image file -> one square of RGB bytes, by Pillow alone: the exact decoder."""

import contextlib
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weather_hpc.dataset.probe import ImageError, open_image, reason

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from PIL import Image

METHOD = "pillow: first frame, alpha over white, bicubic antialiased stretch, EXIF orientation"
"""How images become rows, as the store's header says it: change it when pixels would change."""

ORIENTATION_TAG = 0x0112
# 16-bit and 32-bit greys: Pillow's own conversion to RGB would cut them off at 255.
DEEP_GREY_MODES = ("I;16", "I;16L", "I;16B", "I;16N", "I")


def decode(path: Path, size: int) -> "npt.NDArray[np.uint8]":
    """The image at ``path`` as uint8 of shape (size, size, 3), RGB.

    The whole picture is stretched to the square, turned upright as its EXIF data says; its first
    frame, if it is animated; over white, where it is transparent. Raises :class:`ImageError`
    with the reason where the file cannot be decoded in full.
    """
    import numpy as np
    from PIL import Image

    with opened(path) as image:
        orientation = read_orientation(image)
        image = to_rgb(image).resize((size, size), Image.Resampling.BICUBIC)
    # Turned after the stretch to a square, where there are far fewer pixels to move.
    return turned(np.asarray(image), orientation)


@contextlib.contextmanager
def opened(path: Path) -> "Iterator[Image.Image]":
    """The image in a file, its pixels not read yet.

    What goes wrong in the block is the file's fault and raised as :class:`ImageError`.
    """
    try:
        with path.open("rb") as file, warnings.catch_warnings():
            # Pillow warns about odd metadata in usable images; what is not usable raises.
            warnings.simplefilter("ignore")
            yield open_image(file)
    except OSError as error:
        raise ImageError(f"cannot be decoded: {error.strerror or reason(error)}") from None
    except (ImageError, MemoryError):
        raise
    except Exception as error:  # a damaged file can raise nearly anything
        raise ImageError(f"cannot be decoded: {reason(error)}") from None


def read_orientation(image: "Image.Image") -> int:
    """The EXIF orientation, 1 to 8; 1 where there is none that can be read."""
    try:
        value = image.getexif().get(ORIENTATION_TAG, 1)
    except Exception:  # damaged metadata must not cost a good image
        return 1
    return value if isinstance(value, int) else 1


def turned(pixels: "npt.NDArray[np.uint8]", orientation: int) -> "npt.NDArray[np.uint8]":
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
