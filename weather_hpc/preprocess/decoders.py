"""The decoders by name, and which of them this installation has."""

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from weather_hpc.preprocess import decode, fast
from weather_hpc.study.spec import Decoder

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

Decode = Callable[[Path, int], "npt.NDArray[np.uint8]"]
"""Path and size -> uint8 of shape (size, size, 3); raises ImageError."""

METHODS = {Decoder.FAST: fast.METHOD, Decoder.EXACT: decode.METHOD}
"""What a store's header says of its rows: stores of different methods are never mixed."""

EACH = 150_000
"""What an image costs besides, in pixels: it is opened, resized, hashed and written."""


def available(asked: Decoder) -> Decoder:
    """``asked``, or the exact one, said aloud, where the fast one lacks a package."""
    if asked is Decoder.FAST:
        missing = [name for name in fast.NEEDS if importlib.util.find_spec(name) is None]
        if missing:
            print(
                f"preprocess: {' and '.join(missing)} not installed: images are decoded by Pillow "
                "alone, which takes several times as long",
                file=sys.stderr,
            )
            return Decoder.EXACT
    return asked


def make_decoder(name: Decoder) -> Decode:
    """The decoder ``name``, for one thread. Raises ImportError where it lacks a package."""
    return fast.FastDecoder() if name is Decoder.FAST else decode.decode


def cost(name: Decoder, width: int, height: int, size_bytes: int, size: int) -> int:
    """How long ``name`` takes for an image of ``width`` by ``height`` and ``size_bytes``.

    In pixels' worth of time, off by a fifth or so for single images. A byte of a compressed file
    takes as long as one pixel of the full decoder, or as three of the fast one.
    """
    if name is Decoder.FAST:
        reduced = width * height // fast.reduction(width, height, size) ** 2
        return EACH + reduced + 3 * size_bytes
    return EACH + width * height + size_bytes
