"""Odd images are found, usual ones are not; contact sheets show each class."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.eda.explored import explore
from weather_hpc.eda.exploration import Exploration
from weather_hpc.eda.odd_images import (
    NEIGHBOURS,
    OddImage,
    agreement,
    deviations,
    neighbour_classes,
    odd_images,
)
from weather_hpc.eda.page import imbalance
from weather_hpc.eda.thumbnails import HEIGHT, contact_sheets, odd_thumbnails, thumbnail

PER_CLASS = 14
HUES = {"green": (40, 160, 60), "red": (190, 60, 50)}


def save(path: Path, colour: tuple[int, ...], seed: int, size: tuple[int, int] = (90, 70)) -> None:
    """Noise around a colour, somewhat brighter or darker by ``seed``."""
    rng = np.random.default_rng(seed)
    level = rng.normal(0, 6)
    pixels = rng.normal(np.array(colour) + level, 20 + rng.normal(0, 2), (*size[::-1], 3))
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(path, quality=95)


@pytest.fixture(scope="module")
def exploration(tmp_path_factory: pytest.TempPathFactory) -> Exploration:
    folder = tmp_path_factory.mktemp("odd")
    data = folder / "images"
    for name, colour in HUES.items():
        for number in range(PER_CLASS):
            rng = np.random.default_rng([number, len(name)])
            size = int(90 + rng.integers(-8, 8)), int(70 + rng.integers(-8, 8))
            save(data / name / f"{number}.jpg", colour, 100 * len(name) + number, size)
    save(data / "green" / "night.jpg", (2, 6, 3), 1)
    save(data / "red" / "large.jpg", HUES["red"], 2, (900, 700))
    save(data / "red" / "wide.jpg", HUES["red"], 3, (300, 40))
    save(data / "green" / "mistaken.jpg", HUES["red"], 4)
    Image.new("RGB", (90, 70), HUES["green"]).save(data / "green" / "smooth.jpg")
    return explore(data, folder)


@pytest.fixture(scope="module")
def odd(exploration: Exploration) -> list[OddImage]:
    return odd_images(exploration, neighbour_classes(exploration))


@pytest.mark.parametrize(
    ("kind", "path", "text"),
    [
        ("brightness", "green/night.jpg", "dark for green: mean luma "),
        ("sharpness", "green/smooth.jpg", "blurred for green: edges "),
        ("size", "red/large.jpg", "large: 900 × 700 pixels"),
        ("shape", "red/wide.jpg", "wide: 300 × 40 pixels"),
        ("class", "green/mistaken.jpg", "green, but 10 of the 10 images most like it are red"),
    ],
)
def test_each_kind_is_led_by_the_image_made_so(
    exploration: Exploration, odd: list[OddImage], kind: str, path: str, text: str
) -> None:
    oddest = next(each for each in odd if each.kind == kind)
    assert exploration.item(oddest.position)["path"] == path
    assert oddest.text.startswith(text)


def test_most_images_are_not_odd(exploration: Exploration, odd: list[OddImage]) -> None:
    assert len({each.position for each in odd}) < len(exploration.rows) / 2
    assert [each.position for each in odd if each.kind == "class"] == [
        at for at in range(len(exploration.rows))
        if exploration.item(at)["path"] == "green/mistaken.jpg"
    ]  # fmt: skip


def test_neighbours_are_other_images(exploration: Exploration) -> None:
    counts = neighbour_classes(exploration)
    assert (counts.sum(axis=1) == NEIGHBOURS).all()
    assert agreement(counts, exploration.labels) > 0.9


def test_deviations_are_not_moved_by_outliers() -> None:
    values = np.random.default_rng(0).normal(50, 4, 1000)
    values[:100] = 1e6
    far = deviations(values)
    assert (np.abs(far[100:]) < 6).all()
    assert (far[:100] > 1000).all()
    assert deviations(np.array([1.0, 1.0, 1.0, 9.0])).tolist() == [0, 0, 0, 0]


def test_contact_sheets_show_each_class_from_typical_to_unusual(exploration: Exploration) -> None:
    green, red = contact_sheets(exploration)
    assert (green.name, green.images, len(green.thumbnails)) == ("green", 17, 17)
    assert (red.name, red.images, len(red.thumbnails)) == ("red", 16, 16)
    assert green.thumbnails[-1].path in ("green/night.jpg", "green/smooth.jpg")
    assert len({image.path for image in green.thumbnails}) == 17


def test_a_thumbnail_has_the_shape_of_its_file(
    exploration: Exploration, odd: list[OddImage]
) -> None:
    count, (wide, *_) = odd_thumbnails(exploration, odd)["shape"]
    assert count == sum(each.kind == "shape" for each in odd)
    assert wide.width == 4 * HEIGHT, "300 × 40, but no longer than the page can show"
    large = next(each.position for each in odd if each.kind == "size")
    assert thumbnail(exploration, large).width == round(HEIGHT * 900 / 700)


IMBALANCES = {
    "The classes are of similar size, 50 to 60 images; who always answers b is right for 55%": (
        50,
        60,
    ),
    "b has 9.0 times the images of a (90 and 10); who always answers b is right for 90%": (10, 90),
    "a has no image here": (0, 5),
    "There is one class, a": (5,),
}


@pytest.mark.parametrize("told", IMBALANCES)
def test_imbalance_is_a_sentence(told: str) -> None:
    counts = zip("ab", IMBALANCES[told], strict=False)
    sentence = imbalance([{"class": name, "images": images} for name, images in counts])
    assert sentence.startswith(f"{told}.") or sentence.startswith(f"{told}:")
