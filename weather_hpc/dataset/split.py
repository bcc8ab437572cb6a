"""Train, validation and test: seeded, stratified, and duplicates always on one side."""

from enum import StrEnum

from weather_hpc.dataset.catalogue import Catalogue, Item, draw, proportional
from weather_hpc.errors import UserError


class Split(StrEnum):
    """Which side an image is on."""

    TRAIN = "train"
    VALIDATION = "validation"
    TEST = "test"


FRACTIONS = {Split.TRAIN: 0.8, Split.VALIDATION: 0.0, Split.TEST: 0.2}
"""A scaling study chooses nothing by its held-out images, so none are set apart to choose by."""


def make_split(
    catalogue: Catalogue, seed: int = 0, fractions: dict[Split, float] = FRACTIONS
) -> list[Split]:
    """The side of each item, in the items' order.

    Every class is shared out by ``fractions`` (which sum to 1, largest remainder), and images of
    equal content go as one. Equal input and seed give an equal split on every machine.
    """
    if abs(sum(fractions.values()) - 1.0) > 1e-6 or min(fractions.values()) < 0:
        raise UserError(f"split fractions must sum to 1, none below 0: {fractions}")
    sides: dict[str, Split] = {}
    for members in catalogue.by_class():
        sides |= _split_class(members, seed, fractions)
    return [sides[item.sha256] for item in catalogue.items]


def _split_class(members: list[Item], seed: int, fractions: dict[Split, float]) -> dict[str, Split]:
    """Content hash -> side, for the items of one class."""
    copies: dict[str, int] = {}
    for item in members:
        copies[item.sha256] = copies.get(item.sha256, 0) + 1
    originals = [item for item in members if item.duplicate_of is None]
    originals.sort(key=lambda item: draw(seed, "split", item))
    weights = [round(fraction * 1_000_000) for fraction in fractions.values()]
    room = dict(zip(fractions, proportional(len(members), weights), strict=True))
    sides = {}
    for item in originals:
        side = max(room, key=room.__getitem__)
        sides[item.sha256] = side
        room[side] -= copies[item.sha256]
    return sides
