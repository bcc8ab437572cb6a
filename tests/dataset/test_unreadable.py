"""How many image files may be unreadable before a run fails."""

from pathlib import Path

import pytest

from tests.dataset.nasty import nasty_folder, plain_folder
from weather_hpc.dataset.catalogue import scan
from weather_hpc.dataset.unreadable import Unreadable
from weather_hpc.errors import FailedError


def found(files: int, bad: int, most: float) -> Unreadable:
    return Unreadable(files, most, {f"a/{n}.jpg": "damaged JPEG: why" for n in range(bad)})


@pytest.mark.parametrize(
    ("files", "bad", "most"), [(1000, 10, 0.01), (20, 1, 0.01), (20, 10, 0.5), (5, 5, 1.0)]
)
def test_a_share_and_always_one_file_are_accepted(files: int, bad: int, most: float) -> None:
    found(files, bad, most).check()


@pytest.mark.parametrize(
    ("files", "bad", "most"), [(1000, 11, 0.01), (20, 2, 0.01), (20, 11, 0.5), (1000, 1, 0.0)]
)
def test_more_are_a_failure(files: int, bad: int, most: float) -> None:
    with pytest.raises(FailedError, match=f"{bad} of {files} image files .* --max-unreadable"):
        found(files, bad, most).check()


def test_only_what_should_be_an_image_counts(tmp_path: Path) -> None:
    unreadable = Unreadable.of(scan(nasty_folder(tmp_path / "images")), 0.01)
    assert set(unreadable.reasons) == {
        "frost/bomb.png", "frost/empty.jpg", "frost/page.jpg", "snow/dangling.jpg", "snow/self.jpg",
    }  # fmt: skip
    assert not unreadable.folders
    assert unreadable.files == 16 + 5


def test_a_class_folder_that_is_gone_is_a_failure(tmp_path: Path) -> None:
    root = plain_folder(tmp_path / "images", per_class=9)
    (root / "snow").symlink_to(tmp_path / "unmounted")
    (root / "readme.txt").symlink_to(tmp_path / "unmounted" / "readme.txt")
    unreadable = Unreadable.of(scan(root), 0.5)
    with pytest.raises(FailedError, match=r"^1 folder cannot be read: .*snow.*mount gone"):
        unreadable.check()
    Unreadable.of(scan(root), 1.0).check()


def test_reasons_that_differ_in_numbers_alone_are_one_kind() -> None:
    unreadable = Unreadable(100, 0.01)
    unreadable.add({f"a/{n}.png": f"damaged PNG: chunk at byte {n}" for n in range(5)})
    unreadable.add({"b/1.jpg": 'is text, "one", not an image', "b/2.jpg": "empty file"})
    assert str(unreadable) == (
        "7 of 100 image files (7 %) cannot be used: 5 × damaged PNG: chunk at byte … (a/0.png), "
        '1 × is text, "one", not an image (b/1.jpg), 1 × empty file (b/2.jpg)'
    )


def test_of_many_reasons_the_most_frequent_are_told() -> None:
    unreadable = Unreadable(100, 0.01)
    unreadable.add({f"a/{n}.jpg": f"bytes before marker 0x{n:02x}" for n in (0xD9, 0xDA)})
    unreadable.add({f"b/{kind}.jpg": f"kind {kind}" for kind in "pqrs"})
    assert str(unreadable).endswith(
        ": 2 × bytes before marker … (a/217.jpg), 1 × kind p (b/p.jpg), 1 × kind q (b/q.jpg) "
        "and 2 other reasons"
    )
