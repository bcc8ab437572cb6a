"""Logarithmic axes: their limits and the ticks that can be labelled without overlap."""

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LOG = "(log scale)"
"""What the label of every logarithmic axis says."""
_TICKS = 10
"""Most labels of an axis."""
_FEWEST_TICKS = 3
"""An axis with fewer powers is labelled with round numbers."""
_MARGIN = 0.06
"""Free space at the ends of a logarithmic axis, as a share of it."""


def set_log_x(axes: "Axes", xs: Iterable[float], label: str) -> None:
    """Make x logarithmic, with ticks at the measured ``xs``, all positive."""
    known = sorted(set(xs))
    ticks = _measured_ticks(known)
    axes.set_xscale("log", base=2)
    axes.set_xlim(known[0] / 1.2, known[-1] * 1.2)
    axes.set_xticks(ticks, [f"{x:g}" for x in ticks])
    axes.minorticks_off()
    axes.set_xlabel(f"{label} {LOG}")


def set_log_y(axes: "Axes", ys: Iterable[float], label: str, *, doubling: bool = False) -> None:
    """Make y logarithmic, with room for every positive one of ``ys``.

    ``doubling``: ticks are powers of two, as those of workers are; else 1, 2, 5, 10.
    """
    low, high = log_limits(ys)
    axes.set_yscale("log", base=2)
    axes.set_ylim(low, high)
    ticks = log_ticks(low, high, doubling=doubling)
    axes.set_yticks(ticks, [f"{t:,.10g}" if t >= 1 else f"{t:.3g}" for t in ticks])
    axes.minorticks_off()
    axes.set_ylabel(f"{label} {LOG}")


def log_limits(values: Iterable[float]) -> tuple[float, float]:
    """Limits of a logarithmic axis that shows every positive one of ``values``."""
    exponents = [math.log2(value) for value in values if value > 0]
    low, high = min(exponents), max(exponents)
    margin = _MARGIN * (high - low) + 0.1
    return 2.0 ** (low - margin), 2.0 ** (high + margin)


def log_ticks(low: float, high: float, *, doubling: bool = False) -> list[float]:
    """Labels between ``low`` and ``high``: powers, or round numbers if those are few."""
    powers = _powers_of_two(low, high) if doubling else _one_two_five(low, high)
    if len(powers) >= _FEWEST_TICKS:
        return powers[:: math.ceil(len(powers) / _TICKS)]
    from matplotlib.ticker import MaxNLocator

    steps = MaxNLocator(nbins=6, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high)
    return [float(tick) for tick in steps if low <= tick <= high]


def _powers_of_two(low: float, high: float) -> list[float]:
    first, last = math.ceil(math.log2(low)), math.floor(math.log2(high))
    return [2.0**power for power in range(first, last + 1)]


def _one_two_five(low: float, high: float) -> list[float]:
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    found = [digit * 10.0**power for power in range(first, last + 1) for digit in (1, 2, 5)]
    within = [value for value in found if low <= value <= high]
    if len(within) <= _TICKS:
        return within
    return [value for value in within if math.isclose(10 ** round(math.log10(value)), value)]


def _measured_ticks(xs: Sequence[float]) -> list[float]:
    """Those of ``xs`` that can be labelled without overlap, powers of two first."""
    gap = (math.log2(xs[-1]) - math.log2(xs[0])) / _TICKS
    kept: list[float] = []
    for x in sorted(xs, key=lambda x: (not math.log2(x).is_integer(), x)):
        if all(abs(math.log2(x) - math.log2(other)) >= gap for other in kept):
            kept.append(x)
    return sorted(kept)
