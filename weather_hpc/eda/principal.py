"""A map of the images: their features' two principal components, without holding the features.

The correlations are summed block by block in one pass; a second pass places the images.
"""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

Doubles = npt.NDArray[np.float64]
ROWS = 1024


def principal_map(
    features: npt.NDArray[np.float32], groups: tuple[int, ...]
) -> tuple[Doubles, Doubles]:
    """Place each row of ``features``, float32 (images, columns), which may be a memory map.

    Columns are standardized, then weighted so that each of the ``groups`` of columns (their
    lengths, in order) counts as much as any other. Returns the positions, (images, 2), and the
    share of the variance on each axis, (2,).
    """
    centre, scale, covariance = _moments(features)
    weight = np.concatenate([np.full(length, length**-0.5) for length in groups]) / scale
    values, vectors = np.linalg.eigh(covariance * np.outer(weight, weight))
    axes = vectors[:, [-1, -2]]
    # an eigenvector's sign is arbitrary: its largest entry is made positive
    axes = axes * np.sign(axes[np.abs(axes).argmax(axis=0), [0, 1]])
    positions = np.concatenate([(rows - centre) * weight @ axes for rows in _blocks(features)])
    total = values.sum()
    return positions, values[[-1, -2]] / total if total > 0 else np.zeros(2)


def _moments(features: npt.NDArray[np.float32]) -> tuple[Doubles, Doubles, Doubles]:
    """Mean and standard deviation of each column (1 where it is constant), and covariances."""
    columns = features.shape[1]
    sums, products = np.zeros(columns), np.zeros((columns, columns))
    # about the first block's mean, so that no digits are lost in the difference below
    origin = next(_blocks(features)).mean(axis=0)
    for rows in _blocks(features):
        rows -= origin
        sums += rows.sum(axis=0)
        products += rows.T @ rows
    mean = sums / len(features)
    covariance = products / len(features) - np.outer(mean, mean)
    deviation = np.sqrt(covariance.diagonal().clip(min=0))
    return origin + mean, np.where(deviation > 1e-9, deviation, 1.0), covariance


def _blocks(features: npt.NDArray[np.float32]) -> Iterator[Doubles]:
    for first in range(0, len(features), ROWS):
        yield features[first : first + ROWS].astype(np.float64)
