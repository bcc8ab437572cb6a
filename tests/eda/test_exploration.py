"""The pass over the store: right sums, whatever the blocks and workers, in flat memory."""

import os
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.dataset.nasty import plain_folder, save
from tests.eda.looking import look, noise, pack
from weather_hpc.dataset.store import Store
from weather_hpc.eda import pixels
from weather_hpc.eda.exploration import FEATURES, Exploration, measure
from weather_hpc.eda.kernels import Bytes
from weather_hpc.eda.pixels import principal_map
from weather_hpc.eda.tables import class_counts, normalization
from weather_hpc.errors import FailedError, UserError
from weather_hpc.preprocess.backends.local import open_workers
from weather_hpc.study.spec import Backend


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Exploration:
    folder = tmp_path_factory.mktemp("looked")
    data = plain_folder(folder / "images", per_class=10)
    (data / "b" / "broken.jpg").write_bytes(
        save(folder / "whole.jpg", 7, size=(300, 300)).read_bytes()[:2500]
    )
    return look(data, folder)


def pixels_of(found: Exploration, label: int) -> Bytes:
    return np.array(found.store.images[found.rows[found.labels == label]])


def test_an_image_that_could_not_be_decoded_counts_nowhere(found: Exploration) -> None:
    assert len(found.rows) == 30
    assert [row["images"] for row in class_counts(found)] == [10, 10, 10]
    assert [row["train"] for row in class_counts(found)] == [8, 8, 8]
    assert sum(found.tally.images.values()) == 30


def test_sums_are_those_of_the_whole_array(found: Exploration) -> None:
    for label in range(3):
        pixels = pixels_of(found, label)
        counts = found.tally.class_histogram(label)
        for channel in range(3):
            wanted = np.bincount(pixels[..., channel].ravel(), minlength=256)
            assert np.array_equal(counts[channel], wanted)
        assert np.array_equal(found.tally.mean_image(label), np.rint(pixels.mean(axis=0)))


def test_normalization_is_of_the_training_split_alone(found: Exploration) -> None:
    told = normalization(found)
    pixels = found.store.images[found.store.rows("train")] / 255
    assert told["images"] == 24
    assert told["mean"] == pytest.approx(pixels.mean(axis=(0, 1, 2)), rel=1e-12)
    assert told["std"] == pytest.approx(pixels.std(axis=(0, 1, 2)), rel=1e-12)


def test_blocks_of_any_size_add_up_to_the_same(found: Exploration) -> None:
    whole = pixels.PixelCounts()
    for block in pixels.store_blocks(found.store, found.rows, size=7):
        whole.add(pixels.measure_block(block).tally)
    assert whole.images == found.tally.images
    for key, counts in found.tally.histograms.items():
        assert np.array_equal(whole.histograms[key], counts)
    for label, total in found.tally.sums.items():
        assert np.array_equal(whole.sums[label], total)


@pytest.mark.parametrize("backend", [Backend.MULTIPROCESSING, Backend.DASK])
def test_every_backend_gathers_the_same(
    found: Exploration, tmp_path: Path, backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pixels, "BLOCK_IMAGES", 4)
    with open_workers(backend, 2, "run it again") as workers:
        other = measure(found.store, found.store.path.parent / "images", tmp_path, workers)
    assert other.pairs == found.pairs
    assert other.census == found.census
    assert np.array_equal(other.tally.class_histogram(1), found.tally.class_histogram(1))
    same = np.load(found.store.path.parent / FEATURES), np.load(tmp_path / FEATURES)
    assert np.array_equal(*same)
    assert other.positions == pytest.approx(found.positions)


def double(value: int) -> int:
    return 2 * value


def die(value: int) -> int:
    os._exit(1)


def test_results_come_in_order() -> None:
    with open_workers(Backend.MULTIPROCESSING, 2, "run it again") as workers:
        assert list(workers(double, range(9))) == list(range(0, 18, 2))
        assert list(workers(double, [])) == []


def wait_at_first(value: int) -> int:
    time.sleep(0.3 if value == 0 else 0)
    return value


def test_parts_behind_a_slow_one_are_computed_but_not_without_limit() -> None:
    sent: list[int] = []

    def parts() -> Iterator[int]:
        for part in range(40):
            sent.append(part)
            yield part

    with open_workers(Backend.MULTIPROCESSING, 2, "run it again") as workers:
        results = workers(wait_at_first, parts())
        assert next(results) == 0
        assert 1 < len(sent) < 10
        assert list(results) == list(range(1, 40))


@pytest.mark.parametrize("backend", [Backend.MULTIPROCESSING, Backend.DASK])
def test_a_lost_worker_ends_the_run_with_a_clear_line(backend: Backend) -> None:
    with (
        pytest.raises(FailedError, match="worker process was lost"),
        open_workers(backend, 1, "run it again") as workers,
    ):
        list(workers(die, range(3)))


def test_sequential_has_one_worker() -> None:
    with (
        pytest.raises(UserError, match="1 worker, not 2"),
        open_workers(Backend.SEQUENTIAL, 2, "run it again"),
    ):
        pass


def peak_bytes(store: Store, data: Path, out: Path) -> int:
    """What is allocated at most while everything of ``store`` is gathered."""
    out.mkdir()
    with open_workers(Backend.SEQUENTIAL, 1, "run it again") as here:
        measure(store, data, out, here)  # imports and caches
        tracemalloc.start()
        try:
            measure(store, data, out, here)
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
        peaks.append(peak_bytes(store, data, tmp_path / f"out{per_class}"))
    pixels = (256 - 32) * 128 * 128 * 3
    assert peaks[1] - peaks[0] < pixels / 10


def test_the_map_is_the_whole_matrixs_principal_components() -> None:
    rng = np.random.default_rng(5)
    features = (rng.normal(size=(2500, 6)) @ rng.normal(size=(6, 6)) + 40).astype(np.float32)
    features[:, 2] = 7  # a constant column says nothing
    places, explained = principal_map(features, (2, 4))
    deviation = features.std(axis=0, dtype=np.float64)
    standard = (features - features.mean(axis=0, dtype=np.float64)) / np.where(
        deviation > 0, deviation, 1
    )
    weighted = standard * np.repeat([2**-0.5, 4**-0.5], [2, 4])
    u, s, _ = np.linalg.svd(weighted, full_matrices=False)
    assert np.abs(places) == pytest.approx(np.abs(u[:, :2] * s[:2]), abs=1e-4)
    assert explained == pytest.approx(s[:2] ** 2 / (s**2).sum(), rel=1e-6)


def test_images_all_alike_have_a_map_too() -> None:
    places, explained = principal_map(np.ones((5, 6), dtype=np.float32), (2, 4))
    assert not places.any()
    assert explained.tolist() == [0, 0]


def test_a_block_holds_copies_of_its_rows(tmp_path: Path) -> None:
    np.save(tmp_path / "images.npy", noise(6, 64))
    rows = np.array([4, 1])
    block = pixels.Block(tmp_path / "images.npy", rows, np.array([0, 2]), np.array([True, False]))
    measured = pixels.measure_block(block)
    assert measured.tally.images == {0: 1, 2: 1}
    assert set(measured.tally.histograms) == {(0, True), (2, False)}
    assert np.array_equal(measured.tally.mean_image(2), noise(6, 64)[1])
