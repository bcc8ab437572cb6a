"""Images kept in memory are those of the map; that training is the same from either is shown on
simulated devices (tests/simulated_cuda)."""

from pathlib import Path

import numpy as np
import pytest
import torch

from weather_hpc.dataset.store import Store
from weather_hpc.train.loader import pixels
from weather_hpc.train.resident import Images, Source

CPU, CUDA = torch.device("cpu"), torch.device("cuda", 0)


@pytest.fixture
def store(small_store: Path) -> Store:
    return Store.open(small_store)


def test_kept_images_are_the_maps_bit_by_bit(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("weather_hpc.train.resident.ROWS_AT_ONCE", 5)
    images = Images(store, CPU)
    rows = store.rows("train")[::-1]
    assert (images.source, images.kept_bytes) == (Source.MAP, 0)
    images.keep(rows)
    assert (images.source, images.kept_bytes) == (Source.RESIDENT, len(rows) * 32 * 32 * 3)

    asked = np.random.default_rng(0).permutation(rows)[:9]
    assert torch.equal(images.of(asked), pixels(store, asked))
    held_out = store.rows("test")
    assert torch.equal(images.of(held_out), pixels(store, held_out))


def test_kept_images_are_read_and_the_map_is_left_alone(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    images, rows = Images(store, CPU), store.rows("train")
    images.keep(rows)

    def no_map(*_: object, **__: object) -> torch.Tensor:
        raise AssertionError("read from the map")

    monkeypatch.setattr("weather_hpc.train.resident.pixels", no_map)
    assert len(images.of(rows[:3])) == 3
    with pytest.raises(AssertionError):
        images.of(store.rows("test"))


def test_a_batch_may_be_changed_without_changing_what_is_kept(store: Store) -> None:
    images, rows = Images(store, CPU), store.rows("train")[:4]
    images.keep(rows)
    images.of(rows).zero_()
    assert torch.equal(images.of(rows), pixels(store, rows))


def test_images_are_kept_where_a_tenth_of_the_gpu_stays_free(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = np.arange(20)
    needed, total = 20 * 32 * 32 * 3, 1_000_000
    for free, fits in ((needed + total // 10, True), (needed + total // 10 - 1, False)):
        monkeypatch.setattr("torch.cuda.mem_get_info", lambda device, free=free: (free, total))
        images = Images(store, CPU)
        assert not images.fit(rows)  # memory is where the map is already
        images.device = CUDA
        assert images.fit(rows) is fits
