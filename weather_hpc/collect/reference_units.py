"""Units of a reference that its heads do not tell: all its times are 60 times ours, say."""

import math
from collections.abc import Sequence
from typing import Any

from weather_hpc.collect.reference_match import ReferenceMatch

NEAREST = 1.5
"""Times in another unit are within this factor of that unit; they may be slower or rounded."""

LEAST = 60.0
"""A ratio of two units is at least so large: less is a regression or an improvement."""

_UNITS = {
    "milliseconds": ("time_ms", 0.001),
    "seconds": ("time_s", 1.0),
    "minutes": ("time_min", 60.0),
    "hours": ("time_h", 3600.0),
    "days": ("time_d", 86400.0),
}
"""What times may be in: the name of a column of them, and the seconds of one."""

FEWEST_EPOCHS = 5
"""With fewer, times of one epoch could be a regression."""


def another_unit(matches: Sequence[ReferenceMatch]) -> str | None:
    """Why the times of one file are not in our unit; None: they may be.

    That is so if most ratios are within NEAREST of the ratio of two units and none is nearer to 1.
    """
    both = [
        (pair.ours, pair.theirs)
        for pair in matches
        if pair.ours is not None and pair.problem is None and "time_s" in pair.theirs.values
    ]
    ratios = [
        ours["time_s"] / theirs.values["time_s"] for ours, theirs in both if ours.get("time_s")
    ]
    unit = both[0][1].time_unit or 1.0 if ratios else 1.0
    for name, (column, size) in _UNITS.items():
        factor = size / unit  # the true unit over the one that the reference was read in
        if not 1 / LEAST < factor < LEAST and _are_near(ratios, factor):
            looks = f"which looks like {name}; name the column {column}"
            return f"{_times(factor)} than the reference, {looks}"
    for factor in (1 / 60, 1 / 3600):
        if _are_near(ratios, factor):
            return f"{_times(factor)} than the reference: one of the two is in another unit"
    epochs = _epochs([ours for ours, _ in both])
    if epochs and _are_near(ratios, epochs, 1.25):
        return f"{_times(epochs)} than the reference, which looks like the time of one epoch"
    return None


def _are_near(ratios: Sequence[float], factor: float, nearest: float = NEAREST) -> bool:
    """Whether most of ``ratios`` are about ``factor``, and all are nearer to it than to 1."""
    off = [abs(math.log(ratio / factor)) for ratio in ratios]
    near = sum(one <= math.log(nearest) for one in off)
    return 2 * near > len(ratios) and all(
        one < abs(math.log(ratio)) for one, ratio in zip(off, ratios, strict=True)
    )


def _epochs(rows: Sequence[dict[str, Any]]) -> int | None:
    """The number of epochs of all ``rows``, if it is one and large enough."""
    epochs = {row.get("epochs") for row in rows}
    number = epochs.pop() if len(epochs) == 1 else None
    return number if number is not None and number >= FEWEST_EPOCHS else None


def _times(ratio: float) -> str:
    longer = ratio > 1
    return f"{ratio if longer else 1 / ratio:.0f} times {'longer' if longer else 'shorter'}"
