"""The colours of the cells of a map, from slower than the baseline to much faster.

Fixed colours with black or white text, of a contrast of 4.5:1 or more, on light and on dark pages.
"""

import math
from collections.abc import Iterable

SLOWER, SAME, FASTER = "#b3400a", "#e4e2da", "#0b5f7a"
"""The ends of the ramp, and its middle: as fast as the baseline."""
UNKNOWN = "#bdbdb6"
"""A time without a baseline."""
BLACK, WHITE = "#000000", "#ffffff"
"""Text on cells. Not the page's ink, which is light on a dark page."""


_LEAST = 1.0
"""The ends of the ramp are at least a factor of two: noise around 1 has no strong colour."""


def cell_colour(speedup: float | None, among: Iterable[float]) -> str:
    """The colour of ``speedup``; the slowest and the fastest ``among`` all have the ends."""
    if not speedup:
        return UNKNOWN
    logs = [math.log2(value) for value in among if value > 0]
    log = math.log2(speedup)
    end = max([_LEAST, *logs]) if log > 0 else min([-_LEAST, *logs])
    return _mixed(SAME, FASTER if log > 0 else SLOWER, min(1.0, log / end))


def text_colour(fill: str) -> str:
    """Black or white, whichever has the greater contrast with ``fill``."""
    return max((BLACK, WHITE), key=lambda text: contrast(text, fill))


def contrast(one: str, other: str) -> float:
    """The contrast ratio of two colours by WCAG 2.2: 1..21."""
    dark, light = sorted(map(_luminance, (one, other)))
    return (light + 0.05) / (dark + 0.05)


def _luminance(colour: str) -> float:
    parts = [value / 255 for value in _channels(colour)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _mixed(one: str, other: str, share: float) -> str:
    pairs = zip(_channels(one), _channels(other), strict=True)
    return "#" + "".join(f"{round(a + (b - a) * share):02x}" for a, b in pairs)


def _channels(colour: str) -> list[int]:
    return [int(colour[start : start + 2], 16) for start in (1, 3, 5)]
