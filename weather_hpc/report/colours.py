"""The colours of every plot: one for each backend or strategy on the whole page, a ramp for sizes.

Every colour has a contrast of 3:1 or more with the page, light and dark, so that one SVG serves
both. Markers and line styles tell curves apart without colour.
"""

from collections.abc import Iterable, Sequence

from weather_hpc.study.tasks import Backend, Strategy

PALETTE = ("#2f7fd0", "#c8620a", "#1a8f5c", "#b5509b", "#d0453f", "#1b8c9e", "#8a7a14", "#7d6fd8")
"""Colours of things that have no order."""

_METHODS: Sequence[Sequence[str]] = (
    (Backend.SEQUENTIAL, Backend.MULTIPROCESSING, Backend.DASK, Backend.DASK_JOBQUEUE),
    (Strategy.SINGLE, Strategy.DDP, Strategy.DP, Strategy.MODEL),
)
"""The methods of a stage, each in the order of their colours."""

_FIXED = {
    str(method): PALETTE[number] for methods in _METHODS for number, method in enumerate(methods)
}

_RAMP = ("#8a4fd0", "#4c72d9", "#2085b5", "#1a8f6e", "#7a8a12", "#b5770a", "#d0502f")
"""Colours of sizes, from small to large."""


def colour_of(name: str) -> str:
    """The colour of a backend, a strategy, or anything else that has a name: always the same."""
    return _FIXED.get(name) or PALETTE[sum(name.encode()) % len(PALETTE)]


def ramp(sizes: Iterable[float]) -> dict[float, str]:
    """Colours of ``sizes``, by size, such as batch sizes or ranks: in order from small to large."""
    ordered = sorted(set(sizes))
    last = max(1, len(ordered) - 1)
    return {size: _RAMP[round(i * (len(_RAMP) - 1) / last)] for i, size in enumerate(ordered)}
