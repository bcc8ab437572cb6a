"""Links: every image has the class that it really lies in."""

from pathlib import Path

import pytest

from tests.dataset.nasty import save
from weather_hpc.dataset.catalogue import Catalogue, count_images, scan


def plain_folder(root: Path, per_class: int, classes: str) -> Path:
    """Images that differ between all classes."""
    for name in classes:
        for number in range(per_class):
            save(root / name / f"{number:03}.jpg", ord(name) * 100 + number)
    return root


def classes_of(catalogue: Catalogue) -> dict[str, str]:
    return {item.path: catalogue.classes[item.label] for item in catalogue.items}


@pytest.mark.parametrize("target", ["b", "b/deep"])
def test_a_link_into_another_class_does_not_take_its_images(tmp_path: Path, target: str) -> None:
    plain_folder(tmp_path, per_class=2, classes="ab")
    save(tmp_path / "b/deep/1.jpg", 50)
    (tmp_path / "a" / "best").symlink_to(tmp_path / target)
    found = scan(tmp_path)
    assert found.class_counts() == {"a": 2, "b": 3}
    assert [(entry.path, entry.reason) for entry in found.quarantine] == [
        ("a/best", f"link to a folder already read: {target}")
    ]
    assert count_images(tmp_path).total == 5


def test_a_link_to_a_file_of_another_class_does_not_take_it(tmp_path: Path) -> None:
    plain_folder(tmp_path, per_class=2, classes="bc")
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "000.jpg").symlink_to(tmp_path / "b" / "000.jpg")
    save(tmp_path / "a" / "own.jpg", 77)
    found = scan(tmp_path)
    assert classes_of(found)["b/000.jpg"] == "b"
    assert [entry.path for entry in found.quarantine] == ["a/000.jpg"]


def test_a_class_may_be_a_link(tmp_path: Path) -> None:
    plain_folder(tmp_path / "elsewhere", per_class=2, classes="ab")
    root = plain_folder(tmp_path / "images", per_class=1, classes="c")
    for name in "ab":
        (root / name).symlink_to(tmp_path / "elsewhere" / name)
    assert scan(root).class_counts() == {"a": 2, "b": 2, "c": 1}
    (root / "z").symlink_to(root / "c")
    assert scan(root).class_counts() == {"a": 2, "b": 2, "c": 1}


def test_an_outer_folder_that_two_classes_link_to_has_no_class(tmp_path: Path) -> None:
    outside = plain_folder(tmp_path / "outside", per_class=2, classes="xy")
    root = plain_folder(tmp_path / "images", per_class=1, classes="abc")
    (root / "a" / "all").symlink_to(outside)
    (root / "b" / "more").symlink_to(outside / "x")
    (root / "b" / "again").symlink_to(outside / "x")
    (outside / "y" / "loop").symlink_to(outside)
    found = scan(root)
    assert found.class_counts() == {"a": 3, "b": 1, "c": 1}
    assert {entry.path: entry.reason for entry in found.quarantine} == {
        "a/all/x": "folder that links of several classes lead to: a and b",
        "b/again": "folder that links of several classes lead to: a and b",
        "b/more": "link to a folder already read: b/again",
        "a/all/y/loop": "link to a folder already read: a/all",
    }
