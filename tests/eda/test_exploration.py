"""Measuring a store: correct sums with any blocks and workers, in constant memory."""

import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from tests.dataset.nasty import plain_folder, save
from tests.eda.explored import explore, noise, pack
from weather_hpc.dataset.store import Store
from weather_hpc.eda import pixels
from weather_hpc.eda.exploration import FEATURES, Exploration, measure
from weather_hpc.eda.kernels import Bytes
from weather_hpc.eda.pixels import principal_map
from weather_hpc.eda.tables import class_counts, normalization
from weather_hpc.preprocess.backends.workers import open_workers
from weather_hpc.study.tasks import Backend


@pytest.fixture(scope="module")
def exploration(tmp_path_factory: pytest.TempPathFactory) -> Exploration:
    folder = tmp_path_factory.mktemp("explored")
    data = plain_folder(folder / "images", per_class=10)
    (data / "b" / "broken.jpg").write_bytes(
        save(folder / "whole.jpg", 7, size=(300, 300)).read_bytes()[:2500]
    )
    return explore(data, folder)


def pixels_of(exploration: Exploration, label: int) -> Bytes:
    return np.array(exploration.store.images[exploration.rows[exploration.labels == label]])


def test_an_image_that_could_not_be_decoded_is_never_counted(exploration: Exploration) -> None:
    assert len(exploration.rows) == 30
    assert [row["images"] for row in class_counts(exploration)] == [10, 10, 10]
    assert [row["train"] for row in class_counts(exploration)] == [8, 8, 8]
    assert sum(exploration.pixels.images.values()) == 30


def test_sums_equal_those_of_the_whole_array(exploration: Exploration) -> None:
    for label in range(3):
        pixels = pixels_of(exploration, label)
        counts = exploration.pixels.class_histogram(label)
        for channel in range(3):
            expected = np.bincount(pixels[..., channel].ravel(), minlength=256)
            assert np.array_equal(counts[channel], expected)
        assert np.array_equal(exploration.pixels.mean_image(label), np.rint(pixels.mean(axis=0)))


def test_normalization_uses_the_training_split_only(exploration: Exploration) -> None:
    result = normalization(exploration)
    pixels = exploration.store.images[exploration.store.rows("train")] / 255
    assert result["images"] == 24
    assert result["mean"] == pytest.approx(pixels.mean(axis=(0, 1, 2)), rel=1e-12)
    assert result["std"] == pytest.approx(pixels.std(axis=(0, 1, 2)), rel=1e-12)


def test_blocks_of_any_size_add_up_to_the_same(exploration: Exploration) -> None:
    whole = pixels.PixelCounts()
    for block in pixels.store_blocks(exploration.store, exploration.rows, size=7):
        whole.add(pixels.measure_block(block).counts)
    assert whole.images == exploration.pixels.images
    for key, counts in exploration.pixels.histograms.items():
        assert np.array_equal(whole.histograms[key], counts)
    for label, total in exploration.pixels.sums.items():
        assert np.array_equal(whole.sums[label], total)


@pytest.mark.parametrize("backend", [Backend.MULTIPROCESSING, Backend.DASK])
def test_every_backend_measures_the_same(
    exploration: Exploration, tmp_path: Path, backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pixels, "BLOCK_IMAGES", 4)
    with open_workers(backend, 2, "run it again") as workers:
        other = measure(
            exploration.store, exploration.store.path.parent / "images", tmp_path, workers, {}
        )
    assert other.pairs == exploration.pairs
    assert other.headers == exploration.headers
    assert np.array_equal(other.pixels.class_histogram(1), exploration.pixels.class_histogram(1))
    same = np.load(exploration.store.path.parent / FEATURES), np.load(tmp_path / FEATURES)
    assert np.array_equal(*same)
    assert other.positions == pytest.approx(exploration.positions)


def peak_bytes(store: Store, data: Path, out: Path) -> int:
    """Peak of allocated memory while ``store`` is measured."""
    out.mkdir()
    with open_workers(Backend.SEQUENTIAL, 1, "run it again") as here:
        measure(store, data, out, here, {})  # imports and caches
        tracemalloc.start()
        try:
            measure(store, data, out, here, {})
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()


def test_memory_does_not_grow_with_the_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("weather_hpc.eda.pixels.BLOCK_IMAGES", 16)
    peaks = []
    for per_class in (16, 128):
        data = plain_folder(tmp_path / f"images{per_class}", per_class, classes="ab")
        store = pack(data, tmp_path / f"store{per_class}", size=128)
        # the least of two: what other tests have left behind in this process ends meanwhile
        outs = (tmp_path / f"out{per_class}-{number}" for number in range(2))
        peaks.append(min(peak_bytes(store, data, out) for out in outs))
    pixels = (256 - 32) * 128 * 128 * 3
    assert peaks[1] - peaks[0] < pixels / 10


def test_the_map_shows_the_principal_components_of_the_whole_matrix() -> None:
    rng = np.random.default_rng(5)
    features = (rng.normal(size=(2500, 6)) @ rng.normal(size=(6, 6)) + 40).astype(np.float32)
    features[:, 2] = 7  # a constant column has no effect
    points, explained = principal_map(features, (2, 4))
    deviation = features.std(axis=0, dtype=np.float64)
    standard = (features - features.mean(axis=0, dtype=np.float64)) / np.where(
        deviation > 0, deviation, 1
    )
    weighted = standard * np.repeat([2**-0.5, 4**-0.5], [2, 4])
    u, s, _ = np.linalg.svd(weighted, full_matrices=False)
    assert np.abs(points) == pytest.approx(np.abs(u[:, :2] * s[:2]), abs=1e-4)
    assert explained == pytest.approx(s[:2] ** 2 / (s**2).sum(), rel=1e-6)


def test_equal_images_have_a_map_too() -> None:
    points, explained = principal_map(np.ones((5, 6), dtype=np.float32), (2, 4))
    assert not points.any()
    assert explained.tolist() == [0, 0]


def test_a_block_holds_copies_of_its_rows(tmp_path: Path) -> None:
    np.save(tmp_path / "images.npy", noise(6, 64))
    rows = np.array([4, 1])
    block = pixels.Block(tmp_path / "images.npy", rows, np.array([0, 2]), np.array([True, False]))
    result = pixels.measure_block(block)
    assert result.counts.images == {0: 1, 2: 1}
    assert set(result.counts.histograms) == {(0, True), (2, False)}
    assert np.array_equal(result.counts.mean_image(2), noise(6, 64)[1])
