"""OpenCV, imported in one place: on one thread, or with one clear line where it is missing."""

from typing import Any

from weather_hpc.errors import UserError


def load() -> Any:
    """The module ``cv2``, told to use one thread: workers are processes.

    Raises UserError where it is not installed.
    """
    try:
        import cv2
    except ImportError as error:
        raise UserError(
            f"OpenCV cannot be loaded ({error}); install it with pip install 'weather_hpc[eda]'"
        ) from None
    cv2.setNumThreads(1)
    return cv2
