"""Scaling laws as formulas and as least-squares fits of them to measured speedups.

Strong scaling, speedup S on N workers:

- Amdahl: S = N / (1 + s (N - 1)), s the serial fraction (Amdahl, AFIPS 1967).
- USL: S = N / (1 + s (N - 1) + k N (N - 1)), s contention, k coherency, the cost of each worker
  waiting for each other (Gunther, Guerrilla Capacity Planning, 2007). With k = 0 it is Amdahl's.

Weak scaling, S the ratio of images per second:

- Gustafson: S = N - s (N - 1) (Gustafson, CACM 31, 1988).

Every law is linear in its parameters once it is written for time or for rate, so that a fit is
exact and quick: the relative errors model / measured - 1 (of time, in weak scaling of rate) have
the least sum of squares, with no parameter below 0.
"""

import math
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


class Law(StrEnum):
    """How speedup depends on the number of workers."""

    AMDAHL = "Amdahl"
    USL = "USL"
    GUSTAFSON = "Gustafson"


FEWEST_SIZES = {Law.AMDAHL: 3, Law.USL: 4, Law.GUSTAFSON: 3}
"""Different numbers of workers that a fit needs, the baseline's one among them."""

_DUST = 1e-12
"""A parameter up to this is rounding of 0: it would put a peak at millions of workers."""


def serial_fraction(speedup: float, workers: int, weak: bool = False) -> float:
    """The serial fraction that explains one ``speedup`` on ``workers`` > 1, by Amdahl's law.

    Karp and Flatt, Measuring parallel processor performance, CACM 33, 1990: (1/S - 1/p) /
    (1 - 1/p). In weak scaling by Gustafson's: (p - S) / (p - 1). Below 0 where the speedup is
    super-linear, above 1 where it is a slowdown.
    """
    if weak:
        return (workers - speedup) / (workers - 1)
    return (1 / speedup - 1 / workers) / (1 - 1 / workers)


def fit(law: Law, workers: Array, speedups: Array) -> Array:
    """The parameters of ``law`` that fit best: s, k along the last axis (k is 0 but in USL).

    ``workers`` has shape (points,), all above 1; ``speedups`` (..., points), all above 0: each
    leading index is fitted by itself.
    """
    more = workers - 1
    if law is Law.GUSTAFSON:
        terms = [more / speedups]
        target = workers / speedups - 1
    else:
        terms = [speedups * more / workers, speedups * more]
        target = 1 - speedups / workers
    if law is Law.USL:
        found = _two(terms[0], terms[1], target)
    else:
        only = _one(terms[0], target)
        found = np.stack([only, np.zeros_like(only)], axis=-1)
    return np.where(found > _DUST, found, 0.0)


def predict(law: Law, workers: Array, parameters: Array) -> Array:
    """The speedup that ``law`` gives on ``workers``, for one pair of ``parameters``."""
    contention, coherency = parameters
    more = workers - 1
    if law is Law.GUSTAFSON:
        return np.asarray(workers - contention * more)
    return np.asarray(workers / (1 + contention * more + coherency * workers * more))


def peak_workers(contention: Array, coherency: Array) -> Array:
    """Where USL's speedup is greatest, sqrt((1 - s) / k), at least 1; inf where k is 0."""
    room = np.maximum(0.0, 1 - contention)
    endless = np.full_like(room, math.inf)
    return np.maximum(1.0, np.sqrt(np.divide(room, coherency, out=endless, where=coherency > 0)))


def residual(law: Law, workers: Array, speedups: Array, parameters: Array) -> float:
    """The root of the mean of the squared relative errors that the fit makes least."""
    ratio = predict(law, workers, parameters) / speedups
    errors = ratio - 1 if law is Law.GUSTAFSON else 1 / ratio - 1
    return float(np.sqrt(np.mean(errors**2)))


def r_squared(law: Law, workers: Array, speedups: Array, parameters: Array) -> float:
    """The share of the speedups' variance that the law explains, the baseline's 1 included."""
    measured = np.append(1.0, speedups)
    predicted = np.append(1.0, predict(law, workers, parameters))
    spread = np.sum((measured - measured.mean()) ** 2)
    return float(1 - np.sum((measured - predicted) ** 2) / spread) if spread > 0 else 1.0


def _one(term: Array, target: Array) -> Array:
    """x >= 0 with the least sum of (term x - target)^2 over the last axis."""
    return np.asarray(np.maximum(0.0, (term * target).sum(axis=-1) / (term * term).sum(axis=-1)))


def _two(first: Array, second: Array, target: Array) -> Array:
    """x, y >= 0 with the least sum of (first x + second y - target)^2; (..., 2).

    The minimum is the unbounded one where that is allowed, else it has x = 0 or y = 0.
    """
    a, b, c = (
        np.sum(u * v, axis=-1) for u, v in ((first, first), (first, second), (second, second))
    )
    u, v = np.sum(first * target, axis=-1), np.sum(second * target, axis=-1)
    determinant = a * c - b * b
    both = np.stack([c * u - b * v, a * v - b * u], axis=-1) / determinant[..., None]
    zero = np.zeros_like(u)
    edges = [
        np.stack([_one(first, target), zero], axis=-1),
        np.stack([zero, _one(second, target)], axis=-1),
    ]
    errors = [
        np.sum((first * e[..., :1] + second * e[..., 1:] - target) ** 2, axis=-1) for e in edges
    ]
    edge = np.where((errors[0] <= errors[1])[..., None], edges[0], edges[1])
    return np.where((both >= 0).all(axis=-1)[..., None], both, edge)
