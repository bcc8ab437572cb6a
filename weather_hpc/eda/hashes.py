"""A picture as 128 bits that a new size, a new compression or other light hardly change.

Each bit says whether a pixel of a tiny version is lighter than its neighbour: 64 look to the
right, 64 down. Close pairs are found without comparing all with all: where at most 7 of the first
64 bits differ, one of their 8 bytes is equal, so only hashes that share a byte are compared
(multi-index hashing, Norouzi et al. 2012).
"""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from weather_hpc.eda import opencv
from weather_hpc.eda.kernels import Bytes

Hashes = npt.NDArray[np.uint64]
Indices = npt.NDArray[np.int64]

BYTES = 8
MOST_BITS = (BYTES - 1, 16)
"""Of the bits for neighbours to the right and below. With more than 7 of the former, no byte
need be shared. The latter may differ more: a darkened sky changes them most."""
TILE = 1024
"""Hashes that are compared with as many others at once: 8 MB."""


def difference_hashes(greys: Bytes) -> Hashes:
    """The difference hashes of grey thumbnails: uint64 (images, 2, 2), the second axis for the
    image and its mirror image, the third for neighbours to the right and below."""
    cv2 = opencv.load()
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
            found = differing[at, to]
            i, j = i[at], j[to]
            new = np.bitwise_count(left[i, 1] ^ right[j, 1]) <= MOST_BITS[1]
            for earlier in range(byte):  # a pair that shares an earlier byte was found there
                new &= _byte(found, earlier) != 0
            if new.any():
                yield i[new], j[new]


def _byte(hashes: Hashes, byte: int) -> npt.NDArray[np.uint8]:
    return (hashes >> np.uint64(8 * byte)).astype(np.uint8)
