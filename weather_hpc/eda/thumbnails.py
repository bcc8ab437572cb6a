"""Small pictures for the page: a contact sheet of each class, and the odd images."""

import io
from dataclasses import dataclass

import numpy as np

from weather_hpc.eda.exploration import Exploration
from weather_hpc.eda.odd_images import OddImage

HEIGHT = 110
"""Of a thumbnail, pixels."""
LONGEST = 4.0
"""Width to height of a thumbnail at most, and height to width."""

MOST_OF_CLASS, FEWEST_OF_CLASS, MOST = 24, 4, 300
"""Thumbnails on a contact sheet, and on all sheets of the page together."""

MOST_ODD = 12
"""Odd images that are shown of each kind."""


@dataclass(frozen=True)
class Thumbnail:
    """One image of the page, in the shape of its file."""

    path: str
    jpeg: bytes
    width: int
    text: str = ""
    """What is odd about it."""


@dataclass(frozen=True)
class ContactSheet:
    """Some images of a class, from the most typical to the most unusual."""

    name: str
    images: int
    """Of the class, those not shown too."""
    thumbnails: list[Thumbnail]


def contact_sheets(exploration: Exploration) -> list[ContactSheet]:
    """A sheet for each class that has images, of so many classes as the page has room for."""
    present = exploration.present()[: MOST // FEWEST_OF_CLASS]
    count = max(FEWEST_OF_CLASS, min(MOST_OF_CLASS, MOST // len(present)))
    sheets = []
    for label in present:
        members = by_distance(exploration, label)
        chosen = np.linspace(0, len(members) - 1, min(count, len(members))).round().astype(int)
        thumbnails = [thumbnail(exploration, int(members[at])) for at in chosen]
        sheets.append(ContactSheet(exploration.classes[label], len(members), thumbnails))
    return sheets


def by_distance(exploration: Exploration, label: int) -> "np.typing.NDArray[np.int64]":
    """The images of a class, those first that are nearest to its centre by their features."""
    members = np.flatnonzero(exploration.labels == label)
    points = exploration.components[members]
    distance = ((points - np.median(points, axis=0)) ** 2).sum(axis=1)
    return members[np.argsort(distance, kind="stable")]


def odd_thumbnails(
    exploration: Exploration, odd: list[OddImage]
) -> dict[str, tuple[int, list[Thumbnail]]]:
    """By kind: how many images are odd, and the oddest of them."""
    shown: dict[str, tuple[int, list[Thumbnail]]] = {}
    for kind in dict.fromkeys(each.kind for each in odd):
        of_kind = [each for each in odd if each.kind == kind]
        pictures = [thumbnail(exploration, each.position, each.text) for each in of_kind[:MOST_ODD]]
        shown[kind] = len(of_kind), pictures
    return shown


def thumbnail(exploration: Exploration, position: int, text: str = "") -> Thumbnail:
    """The image of a position; stored images are square, and get the shape of their file again."""
    from PIL import Image

    width, height = exploration.size_of(position) or (1, 1)
    shape = min(LONGEST, max(1 / LONGEST, width / height))
    size = (max(1, round(HEIGHT * shape)), HEIGHT)
    small = Image.fromarray(exploration.image(position)).resize(size, Image.Resampling.LANCZOS)
    content = io.BytesIO()
    small.save(content, "JPEG", quality=75)
    path = exploration.item(position)["path"]
    return Thumbnail(path, content.getvalue(), size[0], text)
