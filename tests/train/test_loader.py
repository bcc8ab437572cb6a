"""Who sees which image when."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from weather_hpc.dataset.store import Store
from weather_hpc.errors import UserError
from weather_hpc.study.steps import step_sizes
from weather_hpc.train.loader import (
    EpochSampler,
    ImageReader,
    Shard,
    Source,
    network_input,
    pixels,
    stream_seed,
    training_rows,
)

images = st.integers(1, 300)
batches = st.integers(1, 64)


@given(images, batches)
def test_steps_are_full_batches_and_two_that_share_the_rest(images: int, batch: int) -> None:
    sizes = step_sizes(images, batch)
    assert sum(sizes) == images
    assert len(sizes) == -(-images // batch)
    assert set(sizes[:-2]) <= {batch}
    assert max(sizes) <= batch
    assert min(sizes) >= min(images, batch // 2)


@given(images, batches, st.integers(1, 8), st.integers(0, 5), st.integers(0, 3))
def test_every_rank_together_sees_each_row_once_an_epoch(
    images: int, batch: int, world_size: int, seed: int, epoch: int
) -> None:
    rows = np.arange(images) * 3 + 1
    shards = [
        EpochSampler(rows, batch, seed, Shard(rank, world_size)) for rank in range(world_size)
    ]
    alone = EpochSampler(rows, batch, seed, Shard())
    epochs = [sampler.epoch(epoch) for sampler in shards]
    seen = np.concatenate([step.rows for steps in epochs for step in steps])
    assert sorted(seen) == sorted(rows)
    assert sum(sampler.images for sampler in shards) == images
    # the strategy does not change which images make a step, and shares them out evenly
    for number, step in enumerate(alone.epoch(epoch)):
        shares = [steps[number].rows for steps in epochs]
        assert set(np.concatenate(shares)) == set(step.rows)
        assert {steps[number].images for steps in epochs} == {len(step.rows)}
        assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_order_follows_seed_and_epoch() -> None:
    def order(seed: int, epoch: int) -> list[int]:
        steps = EpochSampler(np.arange(50), 50, seed, Shard()).epoch(epoch)
        return list(steps[0].rows)

    assert order(0, 1) == order(0, 1)
    assert order(0, 1) != order(0, 2)
    assert order(0, 1) != order(1, 1)


def test_ranks_and_seeds_draw_different_numbers() -> None:
    seeds = {stream_seed(seed, rank) for seed in range(20) for rank in range(20)}
    assert len(seeds) == 400


def test_a_larger_choice_of_images_holds_the_smaller(small_store: Path) -> None:
    store = Store.open(small_store)
    few, more = (set(training_rows(store, count, 5)) for count in (7, 12))
    assert len(few) == 7
    assert few < more <= set(store.rows("train"))
    assert set(training_rows(store, None, 5)) == set(store.rows("train"))


def test_more_images_than_there_are(small_store: Path) -> None:
    with pytest.raises(UserError, match=r"--images 1000: .* has \d+ training images"):
        training_rows(Store.open(small_store), 1000, 0)


def test_pixels_reach_the_network_as_they_are_in_the_store(small_store: Path) -> None:
    store = Store.open(small_store)
    values = network_input(pixels(store, np.array([5, 2])))
    assert values.dtype == torch.float32
    assert values.is_contiguous()
    assert values.min() >= -1
    assert values.max() <= 1
    for image, row in zip(values, [5, 2], strict=True):
        wanted = store.images[row].transpose(2, 0, 1) / 127.5 - 1
        np.testing.assert_allclose(image.numpy(), wanted, atol=1e-6)


CPU, CUDA = torch.device("cpu"), torch.device("cuda", 0)


@pytest.fixture
def store(small_store: Path) -> Store:
    return Store.open(small_store)


def test_kept_images_are_the_maps_bit_by_bit(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("weather_hpc.train.loader.ROWS_PER_COPY", 5)
    images = ImageReader(store, CPU)
    rows = store.rows("train")[::-1]
    assert (images.source, images.cached_bytes) == (Source.MAP, 0)
    images.cache(rows)
    assert (images.source, images.cached_bytes) == (Source.DEVICE, len(rows) * 32 * 32 * 3)

    asked = np.random.default_rng(0).permutation(rows)[:9]
    assert torch.equal(images.read(asked), pixels(store, asked))
    held_out = store.rows("test")
    assert torch.equal(images.read(held_out), pixels(store, held_out))


def test_kept_images_are_read_and_the_map_is_left_alone(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    images, rows = ImageReader(store, CPU), store.rows("train")
    images.cache(rows)

    def no_map(*_: object, **__: object) -> torch.Tensor:
        raise AssertionError("read from the map")

    monkeypatch.setattr("weather_hpc.train.loader.pixels", no_map)
    assert len(images.read(rows[:3])) == 3
    with pytest.raises(AssertionError):
        images.read(store.rows("test"))


def test_a_batch_may_be_changed_without_changing_what_is_kept(store: Store) -> None:
    images, rows = ImageReader(store, CPU), store.rows("train")[:4]
    images.cache(rows)
    images.read(rows).zero_()
    assert torch.equal(images.read(rows), pixels(store, rows))


def test_images_are_kept_where_a_tenth_of_the_gpu_stays_free(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = np.arange(20)
    needed, total = 20 * 32 * 32 * 3, 1_000_000
    for free, fits in ((needed + total // 10, True), (needed + total // 10 - 1, False)):
        monkeypatch.setattr("torch.cuda.mem_get_info", lambda device, free=free: (free, total))
        images = ImageReader(store, CPU)
        assert not images.fits(rows)  # memory is where the map is already
        images.device = CUDA
        assert images.fits(rows) is fits
