"""Pairs of images that show the same picture: saved again, resized, recoloured or mirrored.

Where one of a pair is in the training split and the other is not, the test accuracy is too high.
The split keeps equal files together; near-duplicates it does not.

A picture is hashed to 128 bits that another size, compression or lighting hardly changes: each bit
says whether a pixel of a tiny version is lighter than its neighbour, 64 to the right, 64 below.
Close pairs are found without comparing every pair: where at most 7 of the first 64 bits differ, one
of their 8 bytes is equal, so only hashes that share a byte are compared (multi-index hashing,
Norouzi et al. 2012).
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from weather_hpc.eda.kernels import THUMBNAIL, Bytes, load_opencv

Hashes = npt.NDArray[np.uint64]

Indices = npt.NDArray[np.int64]

BYTES = 8

MOST_BITS = (BYTES - 1, 16)
"""Bits that may differ, for neighbours to the right and below. With more than 7 of the former, no
byte need be shared. More of the latter may differ: a darkened sky changes them most."""

TILE = 1024
"""Side of the tiles in which hashes are compared: 8 MB."""

Doubles = npt.NDArray[np.float64]
SIDE = THUMBNAIL // 2
"""Side of the pictures that are compared, pixels."""
ALIKE_GRADIENTS, ALIKE_GREYS = 0.75, 0.95
"""Least correlations of two pictures that count as the same; both must be reached."""
CLIP = 2.0
"""Gradients are clipped at so many times their mean size."""
BATCH = 2048
"""Pairs compared at a time: 64 MB."""
MOST_PAIRS = 50
"""Two images that both have so many pairs are not compared further: all frames of a still camera
would be pairs of each other."""


def difference_hashes(greys: Bytes) -> Hashes:
    """The difference hashes of grey thumbnails: uint64 (images, 2, 2), the second axis for the
    image and its mirror image, the third for neighbours to the right and below."""
    cv2 = load_opencv()
    wide, tall = (BYTES + 1, BYTES), (BYTES, BYTES + 1)
    right = np.stack([cv2.resize(g, wide, interpolation=cv2.INTER_AREA) for g in greys])
    down = np.stack([cv2.resize(g, tall, interpolation=cv2.INTER_AREA) for g in greys])
    bits = [
        (right[:, :, 1:] > right[:, :, :-1], down[:, 1:] > down[:, :-1])
        for right, down in ((right, down), (right[:, :, ::-1], down[:, :, ::-1]))
    ]
    packed = np.packbits(np.array(bits).reshape(2, 2, len(greys), 64), axis=-1)
    return packed.view(np.uint64)[..., 0].transpose(2, 0, 1)


def close_pairs(left: Hashes, right: Hashes) -> Iterator[tuple[Indices, Indices]]:
    """Indices i < j for which ``left[i]`` and ``right[j]``, uint64 (images, 2), differ in at
    most :data:`MOST_BITS`.

    Each pair comes once; memory does not grow with the number of pairs.
    """
    for byte in range(BYTES):
        ours, theirs = _buckets(left[:, 0], byte), _buckets(right[:, 0], byte)
        for here, there in zip(ours, theirs, strict=True):
            yield from _compare(left, right, here, there, byte)


def _buckets(hashes: Hashes, byte: int) -> list[Indices]:
    """Indices of the hashes by the value of one byte."""
    values = _byte(hashes, byte)
    order = np.argsort(values, kind="stable")
    return np.split(order, np.cumsum(np.bincount(values, minlength=256))[:-1])


def _compare(
    left: Hashes, right: Hashes, here: Indices, there: Indices, byte: int
) -> Iterator[tuple[Indices, Indices]]:
    for row in range(0, len(here), TILE):
        for column in range(0, len(there), TILE):
            i, j = here[row : row + TILE], there[column : column + TILE]
            differing = left[i, 0][:, None] ^ right[j, 0]
            close = (np.bitwise_count(differing) <= MOST_BITS[0]) & (i[:, None] < j)
            at, to = np.nonzero(close)
            bits = differing[at, to]
            i, j = i[at], j[to]
            new = np.bitwise_count(left[i, 1] ^ right[j, 1]) <= MOST_BITS[1]
            for earlier in range(byte):  # a pair that shares an earlier byte was found there
                new &= _byte(bits, earlier) != 0
            if new.any():
                yield i[new], j[new]


def _byte(hashes: Hashes, byte: int) -> npt.NDArray[np.uint8]:
    return (hashes >> np.uint64(8 * byte)).astype(np.uint8)


@dataclass(frozen=True)
class NearDuplicatePair:
    """Two images, by position, ``first`` < ``second``."""

    first: int
    second: int
    similarity: float
    """Correlation of the gradients, at most 1."""
    mirrored: bool
    """Whether one has to be mirrored to look like the other."""


def pictures(greys: Bytes) -> Bytes:
    """Grey thumbnails at half their size: uint8 (images, 32, 32)."""
    halves = greys.reshape(-1, SIDE, 2, SIDE, 2).mean(axis=(2, 4))
    rounded: Bytes = np.rint(halves).astype(np.uint8)
    return rounded


def near_duplicates(hashes: Hashes, small: Bytes) -> list[NearDuplicatePair]:
    """The pairs of images that look alike, in order.

    ``hashes`` uint64 (images, 2, 2) and ``small`` uint8 (images, 32, 32), which may be a memory
    map: only candidates by their hashes are read. Memory grows with the pairs found, at most about
    :data:`MOST_PAIRS` per image.
    """
    best: dict[tuple[int, int], NearDuplicatePair] = {}
    pairs_of = np.zeros(len(hashes), dtype=np.int64)
    for mirrored in (False, True):
        for i, j in _batches(close_pairs(hashes[:, 0], hashes[:, int(mirrored)])):
            open_ = (pairs_of[i] < MOST_PAIRS) | (pairs_of[j] < MOST_PAIRS)
            i, j = i[open_], j[open_]
            if not len(i):
                continue
            left, right = small[i], small[j][:, :, ::-1] if mirrored else small[j]
            alike = gradient_correlation(left, right)
            same = (alike >= ALIKE_GRADIENTS) & (grey_correlation(left, right) >= ALIKE_GREYS)
            for at in np.nonzero(same)[0].tolist():
                pair = NearDuplicatePair(int(i[at]), int(j[at]), float(alike[at]), mirrored)
                before = best.get((pair.first, pair.second))
                if before is None:
                    pairs_of[[pair.first, pair.second]] += 1
                if before is None or before.similarity < pair.similarity:
                    best[pair.first, pair.second] = pair
    return [best[key] for key in sorted(best)]


def grey_correlation(left: Bytes, right: Bytes) -> Doubles:
    """Correlation of each pair of pictures, uint8 (pairs, side, side) -> float64 (pairs,)."""
    flat = (len(left), -1)
    return _correlation(left.reshape(flat).astype(float), right.reshape(flat).astype(float))


def gradient_correlation(left: Bytes, right: Bytes) -> Doubles:
    """The same of their gradients. A change of lighting keeps them; and skies are light above and
    dark below, which correlates the greys of otherwise different pictures."""
    return _correlation(_gradients(left), _gradients(right))


def _correlation(left: Doubles, right: Doubles) -> Doubles:
    """Pearson's, row by row; 0 where all values of a row are equal."""
    left, right = (rows - rows.mean(axis=1, keepdims=True) for rows in (left, right))
    norm = np.sqrt((left**2).sum(axis=1) * (right**2).sum(axis=1))
    correlation: Doubles = (left * right).sum(axis=1) / np.where(norm > 0, norm, 1)
    return correlation


def _gradients(greys: Bytes) -> Doubles:
    """Their gradients, large ones clipped: a watermark is a few of the strongest edges."""
    down, across = np.gradient(greys.astype(np.float64), axis=(1, 2))
    both = np.stack([down, across], axis=1).reshape(len(greys), -1)
    most = CLIP * np.abs(both).mean(axis=1, keepdims=True)
    return both.clip(-most, most)


def _batches(pairs: Iterator[tuple[Indices, Indices]]) -> Iterator[tuple[Indices, Indices]]:
    """The same pairs, about :data:`BATCH` at a time."""
    left: list[Indices] = []
    right: list[Indices] = []
    waiting = 0
    for i, j in pairs:
        for first in range(0, len(i), BATCH):
            left.append(i[first : first + BATCH])
            right.append(j[first : first + BATCH])
            waiting += len(left[-1])
            if waiting >= BATCH:
                yield np.concatenate(left), np.concatenate(right)
                left, right, waiting = [], [], 0
    if waiting:
        yield np.concatenate(left), np.concatenate(right)
