from collections import Counter
from pathlib import Path

import pytest

from tests.dataset.nasty import plain_folder, save
from weather_hpc.dataset.catalogue import Split, make_split, scan


def test_every_class_is_shared_out_as_asked(tmp_path: Path) -> None:
    found = scan(plain_folder(tmp_path, per_class=10))
    sides = make_split(found)
    counts = Counter((item.label, side) for item, side in zip(found.items, sides, strict=True))
    assert counts == {(label, side): n for label in range(3) for side, n in
                      ((Split.TRAIN, 8), (Split.TEST, 2))}  # fmt: skip


def test_the_seed_decides(tmp_path: Path) -> None:
    found = scan(plain_folder(tmp_path, per_class=10))
    assert make_split(found, seed=3) == make_split(found, seed=3)
    assert make_split(found, seed=3) != make_split(found, seed=4)


@pytest.mark.parametrize("seed", range(8))
def test_duplicates_are_on_one_side(tmp_path: Path, seed: int) -> None:
    for number in range(24):
        save(tmp_path / "a" / f"{number:02}.jpg", number % 8)
    found = scan(tmp_path)
    sides_of: dict[str, set[Split]] = {}
    for item, side in zip(found.items, make_split(found, seed), strict=True):
        sides_of.setdefault(item.sha256, set()).add(side)
    assert len(sides_of) == 8
    assert all(len(sides) == 1 for sides in sides_of.values())
    assert set.union(*sides_of.values()) == {Split.TRAIN, Split.TEST}
