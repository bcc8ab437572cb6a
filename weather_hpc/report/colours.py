"""The colours of every plot: one for each backend or strategy on the whole page, a ramp for sizes.

Every colour has a contrast of 3:1 or more with the page, light and dark, so that one SVG serves
both. Markers and line styles tell curves apart without colour.
"""

from collections.abc import Iterable, Mapping

from weather_hpc.study.tasks import Backend, Strategy

PALETTE = ("#2f7fd0", "#c8620a", "#1a8f5c", "#b5509b", "#d0453f", "#1b8c9e", "#8a7a14", "#7d6fd8")
"""Colours of things that have no order."""

INK = "#1a1a19"
"""Text and axes. The page replaces it by its own text colour, light or dark."""
PAPER = "#fefefd"
"""What hollow markers and gaps between bars are filled with. The page replaces it by its own."""
FAINT = "#8a8a85"
"""Grid, ideal lines and what stands behind: readable on white and on black."""

LIGHT_PAGE, DARK_PAGE = "#fdfdfb", "#161615"
"""The page's background, as its style has it."""

FEWEST_CONTRAST = 3.0
"""Contrast that WCAG 2.1 asks of lines and markers (1.4.11)."""

_FIXED: Mapping[str, str] = {
    Backend.SEQUENTIAL: PALETTE[6], Backend.MULTIPROCESSING: PALETTE[1],
    Backend.DASK: PALETTE[2], Backend.DASK_JOBQUEUE: PALETTE[5],
    Strategy.SINGLE: PALETTE[3], Strategy.DDP: PALETTE[0],
    Strategy.DP: PALETTE[4], Strategy.MODEL: PALETTE[7],
}  # fmt: skip
"""Each backend and strategy has a colour of its own."""

_RAMP = ("#8a4fd0", "#4c72d9", "#2085b5", "#1a8f6e", "#7a8a12", "#b5770a", "#d0502f")
"""Colours of sizes, from small to large."""


def colour_of(name: str) -> str:
    """The colour of a backend, a strategy, or anything else that has a name: always the same.

    Words after the first are a device or setting: ``ddp on cuda`` has the colour of ``ddp``.
    """
    first = name.split(" ")[0]
    return _FIXED.get(first) or PALETTE[sum(name.encode()) % len(PALETTE)]


def ramp(sizes: Iterable[float]) -> dict[float, str]:
    """Colours of ``sizes``, by size, such as batch sizes or ranks: in order from small to large."""
    ordered = sorted(set(sizes))
    last = max(1, len(ordered) - 1)
    return {size: _RAMP[round(i * (len(_RAMP) - 1) / last)] for i, size in enumerate(ordered)}


def contrast(colour: str, other: str) -> float:
    """The contrast of two colours such as ``#2f7fd0``, from 1 to 21 (WCAG 2.1)."""
    dark, light = sorted(map(_luminance, (colour, other)))
    return (light + 0.05) / (dark + 0.05)


def _luminance(colour: str) -> float:
    parts = [int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return sum(w * p for w, p in zip((0.2126, 0.7152, 0.0722), linear, strict=True))
