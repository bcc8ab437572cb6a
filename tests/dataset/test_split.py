from collections import Counter
from pathlib import Path

import pytest

from tests.dataset.nasty import plain_folder, save
from weather_hpc.dataset.catalogue import Split, make_split, scan
from weather_hpc.errors import UserError


def test_every_class_is_shared_out_as_asked(tmp_path: Path) -> None:
    found = scan(plain_folder(tmp_path, per_class=10))
    sides = make_split(found)
    counts = Counter((item.label, side) for item, side in zip(found.items, sides, strict=True))
    assert counts == {(label, side): n for label in range(3) for side, n in
                      ((Split.TRAIN, 8), (Split.TEST, 2))}  # fmt: skip

    thirds = {Split.TRAIN: 0.5, Split.VALIDATION: 0.2, Split.TEST: 0.3}
    assert Counter(make_split(found, fractions=thirds)) == {
        Split.TRAIN: 15, Split.VALIDATION: 6, Split.TEST: 9,
    }  # fmt: skip


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


def test_fractions_must_sum_to_one(tmp_path: Path) -> None:
    found = scan(plain_folder(tmp_path, per_class=1))
    with pytest.raises(UserError, match="must sum to 1"):
        make_split(found, fractions={Split.TRAIN: 0.8, Split.TEST: 0.3})
