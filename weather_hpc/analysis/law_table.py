"""The table of scaling laws: each series' serial fraction and, by USL, where more stops helping.

Intervals come from resampling the repeats: each point's and the baseline's runs are drawn anew,
and the law is fitted again to the speedups of their medians. They show what the
noise of the runs leaves open, not whether the law is the right one; ``residual`` shows that.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from weather_hpc.analysis.baselines import baseline_label
from weather_hpc.analysis.comparison import Comparison
from weather_hpc.analysis.laws import (
    FEWEST_SIZES,
    Array,
    Law,
    fit,
    peak_workers,
    predict,
    r_squared,
    residual,
)
from weather_hpc.analysis.series import Series
from weather_hpc.analysis.statistics import (
    FEWEST_REPEATS,
    NO_INTERVAL,
    PERCENTILES,
    percentile_interval,
)
from weather_hpc.analysis.table import Table

LARGEST_RESIDUAL = 0.1
"""A law that misses the measured times by more, as a root mean square, is refused."""

LAW_COLUMNS = [
    "table", "series", "law", "sizes", "workers_max",
    "serial_fraction", "serial_fraction_low", "serial_fraction_high",
    "coherency", "coherency_low", "coherency_high",
    "peak_workers", "peak_workers_low", "peak_workers_high", "speedup_limit",
    "r_squared", "residual", "baseline", "refused", "note",
]  # fmt: skip

_CAPTION = (
    "Amdahl: S = N / (1 + s (N - 1)); USL: S = N / (1 + s (N - 1) + k N (N - 1)), greatest at "
    "peak_workers; weak scaling, Gustafson: S = N - s (N - 1). s is serial_fraction, k coherency, "
    "sizes the different numbers of workers, the baseline's one included. low and high are the "
    "ends of bootstrap intervals over the repeats. residual is the fit's root mean square "
    "relative error. refused says why a law does not fit."
)


def laws_table(comparison: Comparison) -> Table:
    """Amdahl's law and USL for each series of strong scaling, Gustafson's for weak scaling.

    A law that cannot be fitted has a row with the reason in ``refused`` and no figures.
    """
    lines = [
        {column: line.get(column) for column in LAW_COLUMNS}
        for series in comparison.series
        for line in _lines(series)
    ]
    return Table("laws", "Scaling laws", _CAPTION, LAW_COLUMNS, lines)


def _lines(all_points: Series) -> Iterator[dict[str, Any]]:
    series = all_points.with_own_cpus
    left_out = f"left out: {all_points.shared}" if all_points.shared else None
    for law in (Law.GUSTAFSON,) if series.weak else (Law.AMDAHL, Law.USL):
        refused = _unfit(series, law)
        figures = {"refused": refused} if refused else _fitted(series, law)
        yield {
            "table": series.table,
            "series": series.label,
            "law": str(law),
            "sizes": len(series.points),
            "workers_max": max(series.workers, default=None),
            "baseline": baseline_label(series.baseline) if series.baseline else None,
            **figures,
            "note": "; ".join(filter(None, [figures.get("note"), left_out])) or None,
        }


def _unfit(series: Series, law: Law) -> str | None:
    """Why ``law`` cannot be fitted to ``series``; None: it can."""
    if series.problem:
        return series.problem
    baseline = series.baseline
    if baseline is None:
        return f"no baseline: nothing that did the same work on one {series.unit} was measured"
    if not all(point.speedup(baseline) for point in series.points):
        return "a speed is missing"
    if len(series.points) < FEWEST_SIZES[law]:
        sizes = ", ".join(map(str, series.workers))
        return f"too few sizes ({sizes} {series.unit}s): {law} needs {FEWEST_SIZES[law]}"
    return None


def _fitted(series: Series, law: Law) -> dict[str, Any]:
    """The law's figures, or ``refused`` with the reason."""
    workers, speedups = _measured(series)
    resampled = _resampled(series)
    found = fit(law, workers, speedups)
    fits = None if resampled is None else fit(law, workers, resampled)
    error = residual(law, workers, speedups, found)
    if law is not Law.USL and found[0] > 1:
        return {"refused": f"slower than on one {series.unit}, which {law}'s law cannot be"}
    if error > LARGEST_RESIDUAL:
        most = f"more than {100 * LARGEST_RESIDUAL:.0f} %"
        return {"refused": f"poor fit: off by {100 * error:.0f} % of the measured times, {most}"}
    if law is Law.USL and resampled is not None and _confounded(workers, resampled):
        indistinct = "contention and coherency are statistically indistinguishable"
        return {"refused": f"{indistinct}: either may be 0"}

    figures: dict[str, Any] = {
        "r_squared": r_squared(law, workers, speedups, found),
        "residual": error,
    }
    figures |= _estimate("serial_fraction", found, fits, 0)
    if law is Law.AMDAHL and found[0] > 0:
        figures["speedup_limit"] = 1 / float(found[0])
    notes = []
    if law is Law.USL:
        figures |= _estimate("coherency", found, fits, 1) | _peak(found, fits)
        notes = list(_peak_notes(series, figures))
    if fits is None:
        notes.append(f"no intervals: fewer than {FEWEST_REPEATS} runs of some size")
    return figures | {"note": "; ".join(notes) or None}


def law_curve(series: Series, law: Law, at: Array) -> tuple[Array, Array | None]:
    """The speedups that ``law``, fitted to ``series``, gives ``at`` numbers of workers.

    And the ends of their bootstrap intervals, of shape (2, len(at)); None below three repeats.
    """
    workers, speedups = _measured(series)
    curve, resampled = predict(law, at, fit(law, workers, speedups)), _resampled(series)
    if resampled is None:
        return curve, None
    fits = fit(law, workers, resampled)
    curves = np.stack([predict(law, at, parameters) for parameters in fits])
    return curve, np.percentile(curves, PERCENTILES, axis=0)


def _measured(series: Series) -> tuple[Array, Array]:
    """Workers and speedups of the points above one worker, where every law says 1."""
    pairs = [
        (workers, point.speedup(series.baseline))
        for workers, point in zip(series.workers, series.points, strict=True)
        if workers > 1 and series.baseline is not None
    ]
    workers, speedups = np.array(pairs, dtype=np.float64).T
    return workers, speedups


def _resampled(series: Series) -> Array | None:
    """Bootstrap resamples of the speedups above one worker, (resamples, points)."""
    baseline = series.baseline
    points = [p for p, n in zip(series.points, series.workers, strict=True) if n > 1]
    if baseline is None or any(len(p.speeds) < FEWEST_REPEATS for p in (baseline, *points)):
        return None
    columns = [
        point.resampled_speedups(baseline, stream) for stream, point in enumerate(points, start=1)
    ]
    return np.stack(columns, axis=-1)


def _confounded(workers: Array, resampled: Array) -> bool:
    """Whether USL's s and k may each be 0, but not both: the speedup is shown to be below ideal."""
    usl, amdahl = (fit(law, workers, resampled) for law in (Law.USL, Law.AMDAHL))
    contention, coherency, below_ideal = (
        percentile_interval(values)[0] for values in (usl[:, 0], usl[:, 1], amdahl[:, 0])
    )
    return contention == 0 and coherency == 0 and below_ideal != 0


def _estimate(name: str, found: Array, fits: Array | None, column: int) -> dict[str, Any]:
    """One parameter with its interval; the interval is left out where there are no ``fits``."""
    low, high = NO_INTERVAL if fits is None else percentile_interval(fits[:, column])
    return {name: float(found[column]), f"{name}_low": low, f"{name}_high": high}


def _peak(found: Array, fits: Array | None) -> dict[str, Any]:
    """Where USL's speedup is greatest and how great it is there; what is infinite is left out."""
    figures: dict[str, Any] = {}
    peak = float(peak_workers(found[0], found[1]))
    if np.isfinite(peak):
        figures["peak_workers"] = peak
        figures["speedup_limit"] = float(predict(Law.USL, np.array([peak]), found)[0])
    if fits is not None:
        # the reciprocal is 0 where there is no peak, and percentiles of it are finite
        nearest, farthest = percentile_interval(1 / peak_workers(fits[:, 0], fits[:, 1]))[::-1]
        for end, value in (("low", nearest), ("high", farthest)):
            if value:
                figures[f"peak_workers_{end}"] = 1 / value
    return figures


def _peak_notes(series: Series, figures: dict[str, Any]) -> Iterator[str]:
    peak, largest = figures.get("peak_workers"), max(series.workers)
    if peak is None:
        yield "coherency 0: no peak, as in Amdahl's law"
    elif peak > largest:
        yield f"the peak is beyond the {largest} {series.unit}s measured: extrapolated"
    if peak is not None and figures.get("coherency_low") == 0:
        yield "its interval holds no peak at all"
