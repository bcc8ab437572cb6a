"""Equalization of an image's lightness: over the whole image, or tile by tile."""

from collections.abc import Callable

from weather_hpc.eda.kernels import Bytes, load_opencv

CLIP_LIMIT = 2.0
"""Bins of a tile's histogram are clipped at so many times their mean."""
TILES = 8
"""Tiles along each side."""


def lightness(image: Bytes) -> Bytes:
    """CIELAB's L of ``image``, uint8 (side, side, 3) RGB -> uint8 (side, side), 255 for white."""
    cv2 = load_opencv()
    plane: Bytes = cv2.cvtColor(image, cv2.COLOR_RGB2LAB)[..., 0]
    return plane


def equalized(image: Bytes) -> Bytes:
    """``image`` with its levels of lightness about equally frequent (histogram equalization)."""
    return _with_lightness(image, load_opencv().equalizeHist)


def clahe(image: Bytes) -> Bytes:
    """Equalized tile by tile, with limited contrast and blended tiles (CLAHE, Zuiderveld 1994).

    As :func:`equalized`, only CIELAB's L changes: colours stay.
    """
    tiles = load_opencv().createCLAHE(clipLimit=CLIP_LIMIT, tileGridSize=(TILES, TILES))
    return _with_lightness(image, tiles.apply)


def _with_lightness(image: Bytes, change: Callable[[Bytes], Bytes]) -> Bytes:
    cv2 = load_opencv()
    lab = cv2.cvtColor(image, cv2.COLOR_RGB2LAB)
    cv2.insertChannel(change(cv2.extractChannel(lab, 0)), lab, 0)
    changed: Bytes = cv2.cvtColor(lab, cv2.COLOR_LAB2RGB)
    return changed
