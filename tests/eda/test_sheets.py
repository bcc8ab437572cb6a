"""Equalization and augmentation."""

import os
from pathlib import Path

import numpy as np
import pytest

from tests.dataset.nasty import picture, save
from tests.eda.explored import explore
from weather_hpc.eda.equalization import clahe, equalized, lightness
from weather_hpc.eda.kernels import Bytes
from weather_hpc.eda.sheets import augmented, write_sheets


@pytest.fixture
def narrow() -> Bytes:
    """A picture whose lightness lies in a narrow range."""
    pixels = np.asarray(picture(3, (96, 96))).astype(int)
    return (110 + pixels // 8).astype(np.uint8)


def test_equalization_spreads_lightness_over_the_whole_range(narrow: Bytes) -> None:
    before, after = lightness(narrow), lightness(equalized(narrow))
    assert np.ptp(before) < 60
    assert np.ptp(after) > 240
    # equally frequent: the share of pixels below a level is about that level
    below = np.array([(after <= level).mean() for level in range(32, 256, 32)])
    assert below == pytest.approx(np.arange(32, 256, 32) / 255, abs=0.06)


def test_equalization_keeps_the_order_of_lightness(narrow: Bytes) -> None:
    before, after = (
        lightness(narrow).astype(int).ravel(),
        lightness(equalized(narrow)).ravel(),
    )
    means = [after[before == level].mean() for level in np.unique(before)]
    assert (np.diff(means) > 0).all()


def test_clahe_raises_local_contrast_and_less_than_equalization(narrow: Bytes) -> None:
    contrast = [lightness(image).std() for image in (narrow, clahe(narrow), equalized(narrow))]
    assert contrast[0] * 1.2 < contrast[1] < contrast[2]


def test_clahe_amplifies_noise_less() -> None:
    rng = np.random.default_rng(0)
    flat = (120 + rng.integers(0, 4, (64, 64, 1)).repeat(3, axis=2)).astype(np.uint8)
    assert np.ptp(lightness(equalized(flat))) > 200
    assert np.ptp(lightness(clahe(flat))) < 60


def test_both_keep_colours(narrow: Bytes) -> None:
    cv2 = pytest.importorskip("cv2")
    for changed in (equalized(narrow), clahe(narrow)):
        ab = [cv2.cvtColor(x, cv2.COLOR_RGB2LAB)[..., 1:].astype(int) for x in (narrow, changed)]
        assert np.abs(ab[0] - ab[1]).mean() < 3


def test_augmentations_are_those_of_the_recipes() -> None:
    image = np.asarray(picture(5, (40, 40)))
    images = np.stack([image, image[::-1]])
    before = images.copy()
    first, again, other = augmented(images, 0), augmented(images, 0), augmented(images, 1)
    assert list(first) == [
        "flip", "shift ±10%", "brightness ±10%", "contrast ±20%", "saturation ±20%",
        "recipe strong",
    ]  # fmt: skip
    assert np.array_equal(images, before)
    assert np.array_equal(first["flip"], images[:, :, ::-1])
    for name, changed in first.items():
        assert changed.shape == images.shape
        assert changed.dtype == np.uint8
        assert not np.array_equal(changed, images)
        assert np.array_equal(changed, again[name])
    assert not np.array_equal(first["shift ±10%"], other["shift ±10%"])


def test_names_that_are_not_utf8_are_drawn(tmp_path: Path) -> None:
    for number in range(10):  # alike, so that some pairs lie on both sides of the split
        save(
            tmp_path / "images" / "a" / os.fsdecode(b"\xff%d.jpg" % number), 1, quality=80 + number
        )
    save(tmp_path / "images" / "b" / "x.jpg", 2)
    sheets = write_sheets(tmp_path, explore(tmp_path / "images", tmp_path), seed=0)
    pairs = next(sheet for sheet in sheets if sheet.name == "near_duplicates")
    assert pairs.jpeg is not None
    assert "a/\\udcff" in pairs.text
