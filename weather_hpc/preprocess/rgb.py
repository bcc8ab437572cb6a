"""Any mode of Pillow's -> 8 bits of RGB, over white where the image is transparent."""

from typing import IO, TYPE_CHECKING, Any

from weather_hpc.dataset.image_file import ImageError, open_image

if TYPE_CHECKING:
    import numpy.typing as npt
    from PIL import Image, ImageFile

DEEP_GREY_MODES = ("I;16", "I;16L", "I;16B", "I;16N", "I")
"""16-bit and 32-bit greys: Pillow's own conversion to RGB would clip them at 255."""
FEW_GREYS = {"L;2": 3, "L;4": 15}
"""The greatest sample of a PNG's greys of 2 and 4 bits, by Pillow's name of the layout."""
HIGH_BYTES, LOW_BYTES = "RGB;16B", "RGB;16L"
"""Layouts of which Pillow takes the high byte of each 16-bit sample. The second expects the bytes
in the other order, so it takes the low ones of a PNG."""
PHOTOMETRIC, WHITE_IS_ZERO = 262, 0
"""A tag of TIFF; Pillow inverts such greys itself, but not those of 16 bits."""
SAMPLE_FORMAT, SIGNED = 339, 2


def to_rgb(image: "ImageFile.ImageFile") -> "Image.Image":
    """An opened image -> RGB; decodes the pixels.

    In a PNG without an alpha channel one grey or colour may be transparent (tRNS). It is compared
    with the samples of the file, of which Pillow gives fewer bits, or more.
    """
    from PIL import Image

    layout, file = image.tile[0].args if image.tile else None, image.fp
    image.load()
    transparent, tags = image.info.get("transparency"), getattr(image, "tag_v2", {})
    if SIGNED in tags.get(SAMPLE_FORMAT, ()):
        raise ImageError("signed samples, whose black and white are not defined")
    if image.mode in DEEP_GREY_MODES:
        inverted = tags.get(PHOTOMETRIC) == WHITE_IS_ZERO
        return _deep_grey(image, transparent, inverted=inverted).convert("RGB")
    if image.mode == "F":
        raise ImageError("floating-point pixels, whose white is not defined")
    if layout == HIGH_BYTES and isinstance(transparent, tuple) and file is not None:
        return _deep_colours(image, transparent, file)
    if layout in FEW_GREYS and isinstance(transparent, int):
        most = FEW_GREYS[layout]
        image.info["transparency"] = (transparent & most) * (255 // most)
    if image.has_transparency_data:
        picture = image.convert("RGBA")
        if picture.getchannel("A").getextrema() == (255, 255):
            return picture.convert("RGB")  # opaque after all: white would not show
        white = Image.new("RGBA", picture.size, "white")
        return Image.alpha_composite(white, picture).convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")


def _deep_grey(image: "Image.Image", transparent: object, *, inverted: bool) -> "Image.Image":
    """A grey image of 16 bits as one of 8. ``inverted``: its zeros are white."""
    import numpy as np
    from PIL import Image

    values: npt.NDArray[Any] = np.asarray(image)
    if values.min() < 0 or values.max() > 0xFFFF:
        raise ImageError("grey values beyond 16 bits")
    greys = (values.astype(np.uint32) // 257).astype(np.uint8)
    if isinstance(transparent, int):
        greys[values == transparent] = 255
    return Image.fromarray(255 - greys if inverted else greys)


def _deep_colours(
    image: "Image.Image", transparent: tuple[int, ...], file: IO[bytes]
) -> "Image.Image":
    """A PNG of 16 bits per colour, decoded from ``file``, whose one ``transparent`` colour becomes
    white."""
    import numpy as np
    from PIL import Image

    file.seek(0)
    again = open_image(file)
    again.tile = [part._replace(args=LOW_BYTES) for part in again.tile]
    colour = np.array(transparent)
    high, low = np.array(image), np.asarray(again)
    high[(high == colour >> 8).all(axis=-1) & (low == colour & 0xFF).all(axis=-1)] = 255
    return Image.fromarray(high)
