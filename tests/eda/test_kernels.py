"""The kernels against plain NumPy, written as in the definition."""

import numpy as np
import pytest

from tests.eda.explored import noise
from weather_hpc.eda import kernels, numpy_operations


@pytest.mark.parametrize(("images", "side"), [(1, 1), (3, 5), (2, 64), (9, 31)])
def test_histograms_count_every_pixel_once(images: int, side: int) -> None:
    pixels = noise(images, side)
    expected = [[(pixels[..., c] == level).sum() for level in range(256)] for c in range(3)]
    assert np.array_equal(kernels.histograms(pixels), expected)


def test_counts_beyond_the_integers_of_a_32_bit_float(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "EXACT", 4 * 8 * 8 * 3)  # four images at a time
    pixels = noise(11, 8)
    assert kernels.histograms(pixels).sum() == pixels.size
    assert np.array_equal(kernels.histograms(pixels), numpy_operations.histograms(pixels))


def test_zero_images_have_zero_pixels() -> None:
    assert kernels.histograms(noise(0, 8)).sum() == 0


def test_mean_and_std_equal_numpys() -> None:
    pixels = noise(7, 33) // 3 + 90
    mean, std = kernels.mean_std(kernels.histograms(pixels))
    assert mean == pytest.approx(pixels.mean(axis=(0, 1, 2)) / 255, rel=1e-14)
    assert std == pytest.approx(pixels.std(axis=(0, 1, 2)) / 255, rel=1e-12)


def test_the_deviation_of_one_colour_is_exactly_zero() -> None:
    pixels = np.full((4, 16, 16, 3), 200, dtype=np.uint8)
    _, std = kernels.mean_std(kernels.histograms(pixels))
    assert std.tolist() == [0, 0, 0]


@pytest.mark.parametrize("side", [64, 128, 192])
def test_features_equal_numpys(side: int) -> None:
    pixels = noise(3, side)
    pixels[1] //= 4
    ours = kernels.features(pixels, kernels.grey_thumbnails(pixels))
    assert ours.shape == (3, 9 + kernels.HOG_LENGTH)
    assert ours == pytest.approx(numpy_operations.features(pixels), abs=1e-6)


def test_colour_moments_as_their_definition_says() -> None:
    pixels = noise(2, 20) // 2
    values = pixels.reshape(2, -1, 3) / 255
    deviation = values - values.mean(axis=1, keepdims=True)
    expected = [values.mean(axis=1), values.std(axis=1), np.cbrt((deviation**3).mean(axis=1))]
    assert kernels.colour_moments(pixels) == pytest.approx(np.concatenate(expected, 1), abs=1e-6)


def test_hog_sees_the_direction_of_an_edge() -> None:
    upright = np.zeros((64, 64), dtype=np.uint8)
    upright[:, 33:] = 255
    both = kernels.hog(np.stack([upright, upright.T])).reshape(2, -1, kernels.ORIENTATIONS)
    strongest = both.sum(axis=1).argmax(axis=1)
    assert strongest.tolist() == [0, kernels.ORIENTATIONS // 2]  # gradients of 0 and 90 degrees


def test_a_flat_image_has_no_gradients() -> None:
    assert not kernels.hog(np.full((1, 64, 64), 128, dtype=np.uint8)).any()


def dark(images: int, side: int) -> kernels.Bytes:
    """Random pixels whose luminance leaves much of the range free."""
    return noise(images, side) // 3 + np.arange(images, dtype=np.uint8)[:, None, None, None]


@pytest.mark.parametrize("side", [1, 7, 64])
def test_equalized_equals_numpys_to_the_last_bit(side: int) -> None:
    pixels = np.concatenate([noise(3, side), dark(3, side)])
    pixels[0] = 77  # one level only: it stays
    ours = np.stack([kernels.equalized(image) for image in pixels])
    assert np.array_equal(ours, numpy_operations.equalized(pixels))
    assert np.array_equal(ours[0], pixels[0])
    assert np.array_equal(kernels.equalized_sums(pixels), ours.sum(axis=(1, 2)))
    assert np.array_equal(numpy_operations.equalized_sums(pixels), ours.sum(axis=(1, 2)))


def test_equalized_luminance_fills_the_range_and_colours_keep_their_distance() -> None:
    pixels = dark(1, 64)[0] // 2 + 60
    ours = kernels.equalized(pixels).astype(int)
    assert ours.min() < 20
    assert ours.max() > 235
    inner = ((ours > 0) & (ours < 255)).all(axis=-1)  # not clipped
    before = pixels.astype(int)
    assert np.array_equal(
        (ours[..., 0] - ours[..., 2])[inner], (before[..., 0] - before[..., 2])[inner]
    )
