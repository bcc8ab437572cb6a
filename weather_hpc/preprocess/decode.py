"""One image file -> one square of RGB bytes. All that a faster decoder would replace is here."""

import warnings
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

    try:
        with path.open("rb") as file, warnings.catch_warnings():
            # Pillow warns about odd metadata in usable images; what is not usable raises.
            warnings.simplefilter("ignore")
            image = open_image(file)
            orientation = _orientation(image)
            image = _to_rgb(image).resize((size, size), Image.Resampling.BICUBIC)
    except OSError as error:
        raise ImageError(f"cannot be decoded: {error.strerror or reason(error)}") from None
    except (ImageError, MemoryError):
        raise
    except Exception as error:  # a damaged file can raise nearly anything
        raise ImageError(f"cannot be decoded: {reason(error)}") from None
    # Turned after the stretch to a square, where there are far fewer pixels to move.
    return np.asarray(_turn(image, orientation))


def _orientation(image: "Image.Image") -> int:
    """The EXIF orientation, 1 to 8; 1 where there is none that can be read."""
    try:
        value = image.getexif().get(ORIENTATION_TAG, 1)
    except Exception:  # damaged metadata must not cost a good image
        return 1
    return value if isinstance(value, int) else 1


def _turn(image: "Image.Image", orientation: int) -> "Image.Image":
    from PIL.Image import Transpose

    how = {
        2: Transpose.FLIP_LEFT_RIGHT,
        3: Transpose.ROTATE_180,
        4: Transpose.FLIP_TOP_BOTTOM,
        5: Transpose.TRANSPOSE,
        6: Transpose.ROTATE_270,
        7: Transpose.TRANSVERSE,
        8: Transpose.ROTATE_90,
    }.get(orientation)
    return image if how is None else image.transpose(how)


def _to_rgb(image: "Image.Image") -> "Image.Image":
    """Any mode -> RGB; decodes the pixels."""
    from PIL import Image

    if image.mode in DEEP_GREY_MODES:
        image = _shallow_grey(image)
    elif image.mode == "F":
        raise ImageError("floating-point pixels, whose white is not defined")
    if image.has_transparency_data:
        picture = image.convert("RGBA")
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
