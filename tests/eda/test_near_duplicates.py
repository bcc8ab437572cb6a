import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.dataset.nasty import plain_folder, save
from tests.eda.explored import explore
from weather_hpc.dataset.scenes import paint
from weather_hpc.dataset.synthetic import WEAPD_COUNTS
from weather_hpc.eda.kernels import Bytes, grey_thumbnails
from weather_hpc.eda.near_duplicates import (
    MOST_BITS,
    Hashes,
    NearDuplicatePair,
    close_pairs,
    difference_hashes,
    near_duplicates,
    pictures,
)
from weather_hpc.eda.tables import pair_row

SIDE = 256


def scene(number: int) -> Image.Image:
    name = list(WEAPD_COUNTS)[number % len(WEAPD_COUNTS)]
    return paint(name, np.random.default_rng([number]), (480, 360))


def recompressed(image: Image.Image) -> Image.Image:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=60)
    return Image.open(file)


def darkened(image: Image.Image) -> Image.Image:
    return image.point(lambda value: value * 0.7)


CHANGES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "recompressed": recompressed,
    "resized": lambda image: image.resize((150, 100)),
    "grey": lambda image: image.convert("L"),
    "darkened": darkened,
    "mirrored": lambda image: image.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
}


def pairs_of(images: list[Image.Image]) -> list[NearDuplicatePair]:
    pixels = [np.asarray(image.convert("RGB").resize((SIDE, SIDE))) for image in images]
    greys = grey_thumbnails(np.stack(pixels))
    return near_duplicates(difference_hashes(greys), pictures(greys))


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_copy_is_found_and_nothing_else(change: str) -> None:
    scenes = [scene(number) for number in range(8)]
    pairs = pairs_of([*scenes, *(CHANGES[change](image) for image in scenes)])
    assert [(pair.first, pair.second) for pair in pairs] == [(n, n + 8) for n in range(8)]
    if change == "mirrored":
        assert any(pair.mirrored for pair in pairs)


def test_frames_of_a_still_camera_have_a_limited_number_of_pairs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    frame = np.asarray(scene(1).resize((SIDE, SIDE)))
    frames = 40
    greys = grey_thumbnails(np.stack([frame] * frames))
    together = difference_hashes(greys), pictures(greys)
    assert len(near_duplicates(*together)) == frames * (frames - 1) // 2
    monkeypatch.setattr("weather_hpc.eda.near_duplicates.MOST_PAIRS", 5)
    monkeypatch.setattr("weather_hpc.eda.near_duplicates.BATCH", 64)
    few = near_duplicates(*together)
    assert len(few) <= frames * 5 + 64
    assert {at for pair in few for at in (pair.first, pair.second)} == set(range(frames))


def test_pictures_of_one_colour_are_not_a_pair() -> None:
    assert (
        pairs_of([Image.new("RGB", (64, 64), colour) for colour in ("black", "grey", "red")]) == []
    )


def random_hashes(images: int, seed: int) -> Hashes:
    """Hashes, many of which differ in few bits from another."""
    rng = np.random.default_rng(seed)
    made = rng.integers(0, 2**64, (images, 2), dtype=np.uint64)
    for row in range(images // 2, images):
        made[row] = made[row - images // 2]
        for word, most in enumerate((10, 22)):
            for bit in rng.integers(0, 64, rng.integers(0, most)):
                made[row, word] ^= np.uint64(1) << np.uint64(bit)
    return made


@pytest.mark.parametrize("tile", [7, 1024])
def test_close_pairs_are_those_of_comparing_all_with_all(
    monkeypatch: pytest.MonkeyPatch, tile: int
) -> None:
    monkeypatch.setattr("weather_hpc.eda.near_duplicates.TILE", tile)
    made = random_hashes(200, 1)
    other = random_hashes(200, 1)[::-1].copy()
    for right in (made, other):
        expected = [
            (i, j)
            for i in range(200)
            for j in range(i + 1, 200)
            if (made[i, 0] ^ right[j, 0]).item().bit_count() <= MOST_BITS[0]
            and (made[i, 1] ^ right[j, 1]).item().bit_count() <= MOST_BITS[1]
        ]
        found = [
            pair
            for i, j in close_pairs(made, right)
            for pair in zip(i.tolist(), j.tolist(), strict=True)
        ]
        assert len(expected) > 40
        assert sorted(found) == expected  # each once


def test_pairs_across_the_split_and_equal_files_are_marked(tmp_path: Path) -> None:
    data = tmp_path / "images"
    for number in range(10):
        (data / "a").mkdir(parents=True, exist_ok=True)
        scene(number).save(data / "a" / f"{number}.jpg", quality=95)
        scene(number).save(data / "a" / f"{number}-again.jpg", quality=60)
    (data / "a" / "0-copy.jpg").write_bytes((data / "a" / "0.jpg").read_bytes())
    exploration = explore(data, tmp_path / "out")
    rows = [pair_row(exploration, pair) for pair in exploration.pairs]
    by_paths = {(row["first"], row["second"]): row for row in rows}
    assert len(by_paths) == 12
    assert by_paths["a/0-copy.jpg", "a/0.jpg"]["kind"] == "identical"
    assert not by_paths["a/0-copy.jpg", "a/0.jpg"]["straddles"]  # the split keeps them together
    across = [row for row in rows if row["straddles"]]
    assert across
    assert all({row["first_split"], row["second_split"]} == {"train", "test"} for row in across)
    assert all(row["kind"] == "alike" for row in across)


def test_different_pictures_are_not_pairs(tmp_path: Path) -> None:
    data = plain_folder(tmp_path / "images", per_class=20)
    save(data / "a" / "again.png", 3, format="PNG")
    exploration = explore(data, tmp_path / "out")
    item = exploration.item
    assert [(item(p.first)["path"], item(p.second)["path"]) for p in exploration.pairs] == [
        ("a/003.jpg", "a/again.png")
    ]


KNOWN = [
    ("cloudy/cloudy107.jpg", "cloudy/cloudy151.jpg"),
    ("cloudy/cloudy68.jpg", "cloudy/cloudy93.jpg"),  # one of them grey
    ("rainy/rain142.jpg", "rainy/rain24.jpeg"),  # equal files
    ("sunny/shine67.jpg", "sunny/shine68.jpg"),  # mirrored
    ("sunrise/sunrise34.jpg", "sunrise/sunrise5.jpg"),  # one of them faded
]
LOOK_ALIKE = [
    "foggy/foggy126.jpg",  # these have a sun in the middle, and little else
    "sunny/shine133.jpg",
    "sunny/shine247.jpg",
    "sunrise/sunrise31.jpg",
    "sunrise/sunrise32.jpg",
]


@pytest.mark.images
def test_photographs_that_people_saved_twice(shared_images: Path) -> None:
    paths = [*(path for pair in KNOWN for path in pair), *LOOK_ALIKE]
    pixels: list[Bytes] = []
    for path in paths:
        with Image.open(shared_images / "weather5" / path) as image:
            pixels.append(np.asarray(image.convert("RGB").resize((SIDE, SIDE))))
    greys = grey_thumbnails(np.stack(pixels))
    pairs = near_duplicates(difference_hashes(greys), pictures(greys))
    assert [(pair.first, pair.second) for pair in pairs] == [
        (at, at + 1) for at in range(0, 2 * len(KNOWN), 2)
    ]
    assert [pair.mirrored for pair in pairs] == [False, False, False, True, False]
