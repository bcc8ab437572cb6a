import pytest

from weather_hpc.preprocess.chunk import BATCH_CHUNKS, ROUND_SHARE, Chunk, make_batches


def _chunks(*costs: int) -> list[Chunk]:
    return [Chunk(index, index * 32, [], cost) for index, cost in enumerate(costs)]


@pytest.mark.parametrize("workers", [1, 2, 8])
@pytest.mark.parametrize("count", [0, 1, 5, 33, 500])
def test_every_chunk_is_in_one_batch(count: int, workers: int) -> None:
    chunks = _chunks(*range(count, 0, -1))
    batches = make_batches(chunks, workers)
    assert sorted(chunk.index for batch in batches for chunk in batch) == list(range(count))
    assert all(1 <= len(batch) <= BATCH_CHUNKS for batch in batches)


def test_the_first_batches_are_long_and_equal_and_the_last_are_short() -> None:
    batches = make_batches(_chunks(*range(60, 20, -1)), 2)
    total = sum(range(60, 20, -1))
    first, second, *_ = costs = [sum(chunk.cost for chunk in batch) for batch in batches]
    assert abs(first - second) <= 1
    assert ROUND_SHARE * total / 2 * 0.9 < first <= ROUND_SHARE * total / 2
    assert len(batches) < 40 / 3
    assert len(batches[-1]) == 1
    assert costs[-1] < 0.02 * total


def test_a_chunk_longer_than_a_share_is_a_batch_of_its_own() -> None:
    batches = make_batches(_chunks(1000, 1, 1, 1, 1), 2)
    assert [chunk.cost for chunk in batches[0]] == [1000]
    assert all(chunk.cost == 1 for batch in batches[1:] for chunk in batch)


def test_with_few_chunks_each_worker_has_one() -> None:
    assert [len(batch) for batch in make_batches(_chunks(1, 1, 1), 8)] == [1, 1, 1]
