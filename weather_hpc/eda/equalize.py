"""Histogram equalization of the lightness alone: of the whole image, and tile by tile (CLAHE).

Colours stay: in CIELAB only L is changed.
"""

from weather_hpc.eda import opencv
from weather_hpc.eda.kernels import Bytes

CLIP_LIMIT = 2.0
"""How many times the mean a bin of a tile's histogram may hold; what is above is shared out."""
TILES = 8
"""Tiles along each side."""


def lightness(image: Bytes) -> Bytes:
    """CIELAB's L of ``image``, uint8 (side, side, 3) RGB -> uint8 (side, side), 255 for white."""
    cv2 = opencv.load()
    plane: Bytes = cv2.cvtColor(image, cv2.COLOR_RGB2LAB)[..., 0]
    return plane


def equalized(image: Bytes) -> Bytes:
    """``image`` with its levels of lightness made equally frequent, as far as one map can."""
    return _with_lightness(image, opencv.load().equalizeHist(lightness(image)))


def clahe(image: Bytes) -> Bytes:
    """The same tile by tile, with contrast limited and tiles blended (Zuiderveld 1994)."""
    tiles = opencv.load().createCLAHE(clipLimit=CLIP_LIMIT, tileGridSize=(TILES, TILES))
    return _with_lightness(image, tiles.apply(lightness(image)))


WAYS = {"as it is": lambda image: image, "equalized": equalized, "CLAHE": clahe}


def _with_lightness(image: Bytes, plane: Bytes) -> Bytes:
    cv2 = opencv.load()
    lab = cv2.cvtColor(image, cv2.COLOR_RGB2LAB)
    lab[..., 0] = plane
    changed: Bytes = cv2.cvtColor(lab, cv2.COLOR_LAB2RGB)
    return changed
