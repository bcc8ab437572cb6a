"""ICC profiles: what an image's numbers mean, and their conversion to sRGB.

Networks take numbers, not colours: a file in Adobe RGB looks duller to them than the same
photograph in sRGB. Pixels are converted after the resize, where they are few.
"""

import io
import sys
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any

from weather_hpc.study.tasks import Color
from weather_hpc.text import clean

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from PIL import Image

    Pixels = npt.NDArray[np.uint8]

METHODS = {
    Color.MANAGED: "ICC profiles to sRGB after the resize, relative colorimetric",
    Color.IGNORE: "ICC profiles ignored",
}
"""How each choice changes pixels, for the store's header."""
MODES = {"GRAY": "L", "RGB": "RGB", "CMYK": "CMYK"}
"""Pillow's mode by the colour space of a profile, as its header names it."""
GREY_MODES = ("1", "L", "LA", "La", "I", "F")
"""Modes of grey images; those of 16 bits begin with ``I;``."""
KINDS = ("scnr", "mntr", "prtr", "spac")
"""Device classes of profiles that say what the numbers of an image mean (ICC.1, 7.2.5)."""
NEARLY = 2
"""Pixels whose conversion changes no sample by more than this are left as they are."""
WHITE = 200
"""White becomes no darker than this by any profile that is not damaged."""
LEAST_STEP = 20
"""The middle grey differs by more than this from black and from white, by a gamma of 0.5 to 7."""
GRID = 9
"""Samples of each channel that this is tried on: 729 colours."""
PROFILES = 32
"""Profiles that a process keeps."""
LONGEST = 80
"""Characters of a description that are shown."""
CONVERTED, IS_SRGB = "converted", "is sRGB"


@dataclass(frozen=True)
class Profile:
    """A profile as read, and what is done with pixels that have it."""

    description: str
    space: str
    """GRAY, RGB, CMYK or another name of ICC.1; empty where it cannot be read."""
    unusable: str | None = None
    """Why it is ignored."""
    transform: Any = None
    """Pillow's, to sRGB; None: the pixels are sRGB, or the profile is ignored."""

    @property
    def use(self) -> str:
        """What is done: :data:`CONVERTED`, :data:`IS_SRGB`, or ``ignored`` with the reason."""
        if self.unusable is not None:
            return f"ignored: {self.unusable}"
        return IS_SRGB if self.transform is None else CONVERTED

    def to_srgb(self, pixels: "Pixels") -> "Pixels":
        """``pixels`` converted, (height, width, 3): RGB, greys as equal RGB, or four inks."""
        import numpy as np
        from PIL import Image, ImageCms

        if self.space == "GRAY":
            pixels = pixels[..., 0]
        height, width = pixels.shape[:2]
        image = Image.frombytes(MODES[self.space], (width, height), pixels.tobytes())
        return np.asarray(ImageCms.applyTransform(image, self.transform))


def profile_of(image: "Image.Image") -> Profile | None:
    """The profile of an opened image; None where it has none."""
    if "icc_profile" not in image.info:
        return None
    return read_profile(image.info["icc_profile"] or b"", space_of(image.mode))


def space_of(mode: str) -> str:
    """The colour space whose profiles fit images of ``mode``."""
    if mode in GREY_MODES or mode.startswith("I;"):
        return "GRAY"
    return {"CMYK": "CMYK", "LAB": "Lab"}.get(mode, "RGB")


def read_profile(content: bytes, space: str) -> Profile:
    """The profile in ``content``, of an image whose colour ``space`` is GRAY, RGB, CMYK or another.

    A damaged profile, or one of another colour space than the image's, is unusable.
    """
    # without date and ID, in which otherwise equal profiles differ: some programs make a new one
    # for each file
    same = content[:24] + bytes(12) + content[36:84] + bytes(16) + content[100:]
    return _read(same if len(content) > 128 else content, space)


@lru_cache(PROFILES)
def _read(content: bytes, space: str) -> Profile:
    import numpy as np
    from PIL import ImageCms

    try:
        icc = ImageCms.ImageCmsProfile(io.BytesIO(content))
        core = icc.profile
        description = clean(core.profile_description or "")[:LONGEST]
        own = clean(core.xcolor_space)
    except (OSError, TypeError, ValueError, AttributeError):
        return Profile("", "", "damaged, or incomplete")
    if own != space:
        return Profile(description, own, f"it is for {own}, the image is {space}")
    if own not in MODES or core.device_class not in KINDS:
        return Profile(description, own, f"of class {core.device_class}, which is not for images")
    try:
        transform = ImageCms.buildTransform(
            icc, srgb(), MODES[own], "RGB", ImageCms.Intent.RELATIVE_COLORIMETRIC
        )
    except ImageCms.PyCMSError as error:
        return Profile(description, own, f"damaged: {error}")
    profile = Profile(description, own, transform=transform)
    colours = _samples(own)
    converted = profile.to_srgb(colours)
    if converted[-1, -1].min() < WHITE:
        return Profile(description, own, "damaged: white does not become white")
    if own == "CMYK":
        return profile
    flat = converted.reshape(-1, 3).mean(axis=1)  # black comes first, the middle grey half-way
    if not flat[0] + LEAST_STEP < flat[len(flat) // 2] < flat[-1] - LEAST_STEP:
        return Profile(description, own, "damaged: greys become black or white")
    if np.abs(converted.astype(int) - colours).max() <= NEARLY:
        return Profile(description, own)
    return profile


def _samples(space: str) -> "Pixels":
    """Colours to try a profile on, (rows, columns, channels); the last is white."""
    import numpy as np

    if space == "CMYK":
        return np.zeros((1, 1, 4), dtype=np.uint8)
    if space == "GRAY":
        return np.arange(256, dtype=np.uint8)[None, :, None].repeat(3, axis=2)
    levels = np.linspace(0, 255, GRID).round().astype(np.uint8)
    return np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(GRID, -1, 3)


@cache
def srgb() -> Any:
    """sRGB as a profile of Pillow's. Raises ImportError where Pillow has no littlecms."""
    from PIL import ImageCms

    return ImageCms.createProfile("sRGB")


def available_color(color: Color) -> Color:
    """``color``; to ignore profiles, with a notice, where Pillow cannot convert colours."""
    from PIL import features

    if color is Color.MANAGED and not features.check("littlecms2"):
        print("preprocess: Pillow without littlecms: ICC profiles are ignored", file=sys.stderr)
        return Color.IGNORE
    return color
