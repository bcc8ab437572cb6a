"""Images that are unlike the others: in size, shape, brightness or sharpness, or by their class.

Each is a hint for a person who looks at the picture, not a fault.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from weather_hpc.eda.exploration import Exploration
from weather_hpc.text import significant

FAR = 3.5
"""Robust standard deviations from the median that make an outlier (Iglewicz and Hoaglin 1993)."""

FEWEST = 10
"""Images of a class from which on it has usual images."""

NEIGHBOURS = 10
STRANGERS = 8
"""Of the neighbours, those of one other class from which on the class may be wrong."""

MOST_COMPARED = 20_000
"""Images that each is compared with; of more, every n-th, for time would grow with the square."""

BLOCK = 512
Doubles = npt.NDArray[np.float64]


@dataclass(frozen=True)
class OddImage:
    """One image and what is odd about it."""

    position: int
    """In the exploration."""
    kind: str
    """One of KINDS."""
    text: str
    """``dark for rain: mean luma 12 of 255``."""
    score: float
    """How odd: robust standard deviations, or neighbours of the other class."""


KINDS = ("class", "brightness", "sharpness", "size", "shape")


def odd_images(exploration: Exploration, counts: npt.NDArray[np.int64]) -> list[OddImage]:
    """All odd images: kind by kind, the oddest first. ``counts``: see neighbour_classes()."""
    found = [
        *_of_class(exploration, counts), *_of_looks(exploration), *_of_files(exploration)
    ]  # fmt: skip
    return sorted(found, key=lambda odd: (KINDS.index(odd.kind), -odd.score, odd.position))


def deviations(values: Doubles) -> Doubles:
    """Distance of each value from the median, in robust standard deviations.

    ``values`` (images,); 0 where most of them are equal. The scale is 1.4826 times the median
    absolute deviation, which outliers do not change: a normal distribution's standard deviation.
    """
    centre = np.median(values)
    scale = 1.4826 * np.median(np.abs(values - centre))
    return np.zeros(len(values)) if scale == 0 else (values - centre) / scale


def _of_files(exploration: Exploration) -> Iterable[OddImage]:
    """By width and height of the files, on a scale of ratios."""
    sizes = {at: exploration.size_of(at) for at in range(len(exploration.rows))}
    known = {at: size for at, size in sizes.items() if size is not None}
    if not known:
        return
    width, height = np.array(list(known.values()), dtype=np.float64).T
    for kind, values, words in (
        ("size", np.log(width * height), ("small", "large")),
        ("shape", np.log(width / height), ("tall", "wide")),
    ):
        for (at, (w, h)), far in zip(known.items(), deviations(values), strict=True):
            if abs(far) >= FAR:
                yield OddImage(at, kind, f"{words[int(far > 0)]}: {w} × {h} pixels", abs(far))


def _of_looks(exploration: Exploration) -> Iterable[OddImage]:
    """By brightness and sharpness, within each class: fog is not sharp."""
    brightness, sharpness = exploration.looks.T
    for kind, values, scale, words, unit in (
        ("brightness", brightness, brightness, ("dark", "bright"), "mean luma {} of 255"),
        ("sharpness", sharpness, np.log1p(sharpness), ("blurred", "noisy or detailed"),
         "edges {} the class's median"),
    ):  # fmt: skip
        for label in exploration.present():
            members = np.flatnonzero(exploration.labels == label)
            if len(members) < FEWEST:
                continue
            name, usual = exploration.classes[label], np.median(values[members])
            for at, far in zip(members.tolist(), deviations(scale[members]), strict=True):
                if abs(far) >= FAR:
                    value = values[at] if kind == "brightness" else values[at] / max(usual, 1e-9)
                    text = f"{words[int(far > 0)]} for {name}: "
                    text += unit.format(_number(kind, value))
                    yield OddImage(at, kind, text, abs(far))


def _number(kind: str, value: float) -> str:
    if kind == "brightness":
        return f"{value:.0f}"
    return f"{significant(100 * value, 2)} % of" if value < 1 else f"{significant(value, 2)} times"


def _of_class(exploration: Exploration, counts: npt.NDArray[np.int64]) -> Iterable[OddImage]:
    """By the classes of the images that are most alike, none of which is the image's own."""
    sizes = np.bincount(exploration.labels, minlength=len(exploration.classes))
    for at, (label, votes) in enumerate(zip(exploration.labels.tolist(), counts, strict=True)):
        other = int(votes.argmax())
        if sizes[label] >= FEWEST and votes[label] == 0 and votes[other] >= STRANGERS:
            text = f"{exploration.classes[label]}, but {votes[other]} of the {NEIGHBOURS} images "
            text += f"most like it are {exploration.classes[other]}"
            yield OddImage(at, "class", text, float(votes[other]))


def neighbour_classes(exploration: Exploration) -> npt.NDArray[np.int64]:
    """Of each image, the classes of the most similar others: int64 (images, classes).

    By distance on the principal components of the features. Near-duplicates of an image do not
    count, for they say nothing new.
    """
    points, labels = exploration.components, exploration.labels
    counts = np.zeros((len(points), len(exploration.classes)), dtype=np.int64)
    step = -(-len(points) // MOST_COMPARED)
    others = np.arange(0, len(points), step)
    if len(others) <= NEIGHBOURS:
        return counts
    copies: dict[int, list[int]] = {}
    for pair in exploration.pairs:
        copies.setdefault(pair.first, []).append(pair.second)
        copies.setdefault(pair.second, []).append(pair.first)
    compared = points[others]
    lengths = (compared**2).sum(axis=1)
    place = {int(at): column for column, at in enumerate(others)}
    for first in range(0, len(points), BLOCK):
        distance = lengths - 2 * points[first : first + BLOCK] @ compared.T
        for row in range(len(distance)):
            at = first + row
            excluded = [place[each] for each in (at, *copies.get(at, ())) if each in place]
            distance[row, excluded] = np.inf
        nearest = np.argpartition(distance, NEIGHBOURS, axis=1)[:, :NEIGHBOURS]
        for row, columns in enumerate(nearest):
            columns = columns[np.isfinite(distance[row, columns])]
            np.add.at(counts[first + row], labels[others[columns]], 1)
    return counts


def agreement(counts: npt.NDArray[np.int64], labels: npt.NDArray[np.int64]) -> float:
    """Share of images whose class is the most frequent one among their neighbours."""
    return float((counts.argmax(axis=1) == labels).mean())
