"""Seeded augmentations of one image, to be looked at before a network is given them.

Each takes uint8 (side, side, 3) and a generator, and gives the same shape back. There is no
vertical flip and no large turn: a sky belongs above.
"""

from collections.abc import Callable

import numpy as np

from weather_hpc.eda import opencv
from weather_hpc.eda.kernels import GREY, Bytes

SMALLEST_CROP = 0.6
"""Of the image's area."""
LARGEST_TURN = 12.0
"""Degrees."""
JITTER = 0.3
"""Brightness, contrast and saturation are multiplied by 1 ± this."""
ERASED = 0.3
"""Side of the square that is erased, of the image's side."""

Augmentation = Callable[[Bytes, np.random.Generator], Bytes]


def flip(image: Bytes, rng: np.random.Generator) -> Bytes:
    """Left and right exchanged."""
    return np.ascontiguousarray(image[:, ::-1])


def crop(image: Bytes, rng: np.random.Generator) -> Bytes:
    """A random square part, brought back to full size."""
    cv2 = opencv.load()
    side = len(image)
    part = max(1, round(side * rng.uniform(SMALLEST_CROP, 1.0) ** 0.5))
    top, left = rng.integers(0, side - part + 1, size=2)
    chosen = np.ascontiguousarray(image[top : top + part, left : left + part])
    resized: Bytes = cv2.resize(chosen, (side, side), interpolation=cv2.INTER_LINEAR)
    return resized


def turn(image: Bytes, rng: np.random.Generator) -> Bytes:
    """Turned a little about its centre; corners are filled by reflection."""
    cv2 = opencv.load()
    side = len(image)
    centre = ((side - 1) / 2, (side - 1) / 2)
    matrix = cv2.getRotationMatrix2D(centre, rng.uniform(-LARGEST_TURN, LARGEST_TURN), 1.0)
    turned: Bytes = cv2.warpAffine(image, matrix, (side, side), borderMode=cv2.BORDER_REFLECT_101)
    return turned


def jitter(image: Bytes, rng: np.random.Generator) -> Bytes:
    """Brightness, contrast and saturation changed, in this order."""
    brightness, contrast, saturation = rng.uniform(1 - JITTER, 1 + JITTER, size=3)
    pixels = image.astype(np.float32) * brightness
    mean = (pixels @ np.array(GREY, dtype=np.float32)).mean() / sum(GREY)
    pixels = mean + contrast * (pixels - mean)
    grey = (pixels @ np.array(GREY, dtype=np.float32))[..., None] / sum(GREY)
    pixels = grey + saturation * (pixels - grey)
    changed: Bytes = np.rint(pixels.clip(0, 255)).astype(np.uint8)
    return changed


def erase(image: Bytes, rng: np.random.Generator) -> Bytes:
    """A square of it replaced by its mean colour."""
    side = len(image)
    part = max(1, round(side * ERASED))
    top, left = rng.integers(0, side - part + 1, size=2)
    changed = image.copy()
    changed[top : top + part, left : left + part] = image.mean(axis=(0, 1))
    return changed


def together(image: Bytes, rng: np.random.Generator) -> Bytes:
    """Crop, turn, jitter, and every second time a flip."""
    for augmentation in (crop, turn, jitter):
        image = augmentation(image, rng)
    return flip(image, rng) if rng.random() < 0.5 else image


AUGMENTATIONS: dict[str, Augmentation] = {
    "flip": flip,
    "crop": crop,
    "turn": turn,
    "colour jitter": jitter,
    "erase": erase,
    "together": together,
}


def previews(image: Bytes, seed: int) -> dict[str, Bytes]:
    """``image`` under each augmentation; equal seeds give equal pictures."""
    return {
        name: augmentation(image, np.random.default_rng([seed, number]))
        for number, (name, augmentation) in enumerate(AUGMENTATIONS.items())
    }
