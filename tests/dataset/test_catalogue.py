from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.dataset.nasty import QUARANTINED, USABLE, nasty_folder, plain_folder, save
from weather_hpc.dataset import catalogue as module
from weather_hpc.dataset.catalogue import (
    Split,
    count_images,
    make_split,
    proportional,
    scan,
)
from weather_hpc.dataset.class_folders import Quarantined
from weather_hpc.errors import UserError


def test_a_nasty_folder_is_sorted_out(tmp_path: Path) -> None:
    found = scan(nasty_folder(tmp_path / "images"))

    assert found.classes == ("frost", "rain", "snow")
    assert {item.path: item.format for item in found.items} == {**USABLE, "snow/sound.jpg": "JPEG"}
    assert [item.path for item in found.items] == sorted(item.path for item in found.items)
    assert {entry.path for entry in found.quarantine} == set(QUARANTINED)
    for entry in found.quarantine:
        assert QUARANTINED[entry.path] in entry.reason


def test_duplicates_name_the_first_of_equal_content(tmp_path: Path) -> None:
    found = scan(nasty_folder(tmp_path / "images"))
    repeats = {item.path: item.duplicate_of for item in found.items if item.duplicate_of}
    assert repeats == {"rain/original.jpg": "rain/copy.jpg"}
    assert found.duplicates == 1


def test_the_fingerprint_follows_content_and_not_the_place(tmp_path: Path) -> None:
    first, second = scan(plain_folder(tmp_path / "x")), scan(plain_folder(tmp_path / "elsewhere"))
    assert first.fingerprint == second.fingerprint
    save(tmp_path / "elsewhere" / "a" / "000.jpg", 99)
    assert scan(tmp_path / "elsewhere").fingerprint != first.fingerprint


def test_two_links_between_folders_neither_loop_nor_multiply(tmp_path: Path) -> None:
    plain_folder(tmp_path, per_class=2, classes="ab")
    (tmp_path / "a" / "to_b").symlink_to(tmp_path / "b")
    (tmp_path / "b" / "to_a").symlink_to(tmp_path / "a")
    found = scan(tmp_path)
    assert len(found.items) == 4
    assert all("already read" in entry.reason for entry in found.quarantine)


def test_what_may_not_be_read_is_quarantined(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Simulated: the superuser, as whom tests may run, may read everything.
    plain_folder(tmp_path, per_class=2)
    plain_open, plain_list = Path.open, Path.iterdir

    def refuse_file(self: Path, *args: Any, **options: Any) -> Any:
        if self.name == "001.jpg" and self.parent.name == "a":
            raise PermissionError(13, "Permission denied", str(self))
        return plain_open(self, *args, **options)

    def refuse_folder(self: Path) -> Any:
        if self.name == "c":
            raise PermissionError(13, "Permission denied", str(self))
        return plain_list(self)

    monkeypatch.setattr(Path, "open", refuse_file)
    monkeypatch.setattr(Path, "iterdir", refuse_folder)
    found = scan(tmp_path)
    assert found.quarantine == (
        Quarantined("a/001.jpg", "cannot be read: Permission denied"),
        Quarantined("c", "folder cannot be read: Permission denied"),
    )
    assert found.classes == ("a", "b")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda root: None, "no such folder"),
        (lambda root: root.write_text("x"), "is not a folder"),
        (lambda root: root.mkdir(), "the folder is empty"),
        (lambda root: save(root / "image.jpg", 1), "files but no class folders"),
        (lambda root: (root / "a").mkdir(parents=True), "no usable image.*class folder is empty"),
        (lambda root: nasty_text(root / "a" / "x.jpg"), "no usable image.*not an image"),
    ],
)
def test_a_folder_without_images_is_one_clear_line(tmp_path: Path, make: Any, message: str) -> None:
    root = tmp_path / "images"
    make(root)
    for read in (scan, count_images):
        with pytest.raises(UserError, match=message):
            read(root)


def nasty_text(path: Path) -> None:
    path.parent.mkdir(parents=True)
    path.write_text("no picture")


def test_the_pixel_limit_is_inclusive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path / "a" / "at.jpg", 1, size=(40, 20))
    save(tmp_path / "a" / "over.jpg", 2, size=(40, 21))
    monkeypatch.setattr("weather_hpc.dataset.image_file.PIXEL_LIMIT", 800)
    found = scan(tmp_path)
    assert [item.path for item in found.items] == ["a/at.jpg"]
    assert found.quarantine[0].reason == "claims 40 x 21 pixels, more than 800"


def test_a_subset_is_stratified_seeded_and_nested(tmp_path: Path) -> None:
    plain_folder(tmp_path, per_class=8, classes="ab")
    plain_folder(tmp_path, per_class=4, classes="abc")
    whole = scan(tmp_path)
    assert whole.class_counts() == {"a": 8, "b": 8, "c": 4}

    small, large = whole.subset(5, seed=1), whole.subset(10, seed=1)
    assert small.class_counts() == {"a": 2, "b": 2, "c": 1}
    assert large.class_counts() == {"a": 4, "b": 4, "c": 2}
    assert set(small.items) < set(large.items)
    assert small == whole.subset(5, seed=1)
    assert small.items != whole.subset(5, seed=2).items
    with pytest.raises(UserError, match="21 images requested, 20 usable"):
        whole.subset(21)


def test_a_subset_calls_nothing_a_duplicate_of_what_it_left_out(tmp_path: Path) -> None:
    for name in ("1", "2", "3"):
        save(tmp_path / "a" / f"{name}.jpg", 7)
    chosen = scan(tmp_path).subset(2)
    assert [item.duplicate_of for item in chosen.items] == [None, chosen.items[0].path]


def test_shares_are_whole_and_sum_up() -> None:
    assert proportional(10, [1, 1, 1]) == [4, 3, 3]
    assert proportional(1, [1, 99]) == [0, 1]
    assert proportional(5, [2, 0, 3]) == [2, 0, 3]


def test_scanning_twice_gives_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = nasty_folder(tmp_path / "images")
    first = scan(root)
    monkeypatch.setattr(module, "HASHING_THREADS", 1)
    assert scan(root) == first


def test_real_images_are_all_usable(shared_images: Path) -> None:
    found = scan(shared_images / "weapd-sample")
    assert len(found.items) == 55
    assert len(found.classes) == 11
    assert {item.format for item in found.items} == {"JPEG", "PNG", "GIF"}
    assert not found.quarantine


def test_every_class_is_split_four_to_one(tmp_path: Path) -> None:
    found = scan(plain_folder(tmp_path, per_class=10))
    splits = make_split(found)
    counts = Counter((item.label, split) for item, split in zip(found.items, splits, strict=True))
    assert counts == {(label, split): n for label in range(3) for split, n in
                      ((Split.TRAIN, 8), (Split.TEST, 2))}  # fmt: skip


@pytest.mark.parametrize("per_class", [1, 2, 3, 7, 10])
def test_a_count_is_that_of_scan_and_split(tmp_path: Path, per_class: int) -> None:
    root = plain_folder(tmp_path / "images", per_class)
    save(root / "b" / "deeper" / "more.jpg", 9999)
    save(root / "b" / ".hidden.jpg", 9998)
    save(root / "loose.jpg", 9997)
    found, count = scan(root), count_images(root)
    assert (count.where, count.total) == (str(root), len(found.items))
    assert count.training == make_split(found).count(Split.TRAIN)


def test_a_count_is_an_upper_bound(tmp_path: Path) -> None:
    root = nasty_folder(tmp_path / "images")
    assert count_images(root).total >= len(scan(root).items)


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
