"""Images kept on a device are those of the map. The CPU stands in for a GPU."""

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.train.conftest import Train, events, losses
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


@pytest.mark.parametrize("recipe", ["paper", "strong"])
def test_training_is_the_same_from_either(
    recipe: str,
    train: Train,
    small_store: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    words: list[object] = ["--store", small_store, "--model", "tiny", "--recipe", recipe]
    words += ["--device", "cpu", "--epochs", 2, "--batch-size", 8]
    mapped = train(*words, run_dir=tmp_path / "map")
    monkeypatch.setattr(Images, "fit", lambda self, rows, needed: True)
    resident = train(*words, run_dir=tmp_path / "resident")

    assert losses(tmp_path / "resident") == losses(tmp_path / "map")
    assert resident["quality"] == mapped["quality"]
    (told,) = events(tmp_path / "map", "input")
    assert (told["source"], told["resident_mb"]) == ("map", 0)
    (told,) = events(tmp_path / "resident", "input")
    assert told["source"] == "resident"
    images = len(Store.open(small_store).rows("train"))
    assert told["resident_mb"] == pytest.approx(images * 32 * 32 * 3 / 1e6)
    # it is sent before measured time
    assert resident["phases"]["warmup"] >= told["time_s"]
