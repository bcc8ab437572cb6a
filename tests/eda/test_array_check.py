import numpy as np
import pytest

from tests.eda.array_store import small_store
from weather_hpc.dataset.store import Store
from weather_hpc.eda import kernels, numpy_operations
from weather_hpc.eda.array_check import check_result, exact_sums
from weather_hpc.eda.array_chunks import make_chunks
from weather_hpc.errors import FailedError
from weather_hpc.study.tasks import Operation

RIGHT = {
    Operation.MEAN_STD: numpy_operations.mean_std,
    Operation.HISTOGRAM: numpy_operations.histograms,
    Operation.EQUALIZATION: numpy_operations.equalized_sums,
    Operation.FEATURES: numpy_operations.features,
}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return small_store(tmp_path_factory.mktemp("check"))


def test_exact_sums(store: Store) -> None:
    number, total, squares = exact_sums(make_chunks(store, None, 5))
    pixels = store.images[store.rows()].reshape(-1, 3).astype(np.int64)
    assert number.tolist() == [len(pixels)] * 3
    assert np.array_equal(total, pixels.sum(axis=0))
    assert np.array_equal(squares, (pixels**2).sum(axis=0))


@pytest.mark.parametrize("operation", Operation)
def test_a_right_result_passes(store: Store, operation: Operation) -> None:
    pixels = store.images[store.rows()]
    check_result(operation, RIGHT[operation](pixels), make_chunks(store, None, 5))


@pytest.mark.parametrize("operation", Operation)
def test_images_that_are_missing_twice_or_invalid_make_a_wrong_result(
    store: Store, operation: Operation
) -> None:
    chunks, pixels = make_chunks(store, None, 5), store.images[store.rows()]
    for wrong in (pixels[:-1], np.concatenate([pixels[:-1], pixels[:1]]), store.images):
        with pytest.raises(FailedError, match=f"the result of {operation} is wrong"):
            check_result(operation, RIGHT[operation](wrong), chunks)


@pytest.mark.parametrize("operation", Operation)
def test_a_small_error_is_found(store: Store, operation: Operation) -> None:
    result = RIGHT[operation](store.images[store.rows()]).copy()
    result.flat[0] += 1 if result.dtype == np.int64 else 2e-6
    with pytest.raises(FailedError, match="differs from the reference by"):
        check_result(operation, result, make_chunks(store, None, 5))


def test_a_swap_of_two_levels_is_found(store: Store) -> None:
    counts = kernels.histograms(store.images[store.rows()])
    levels = np.flatnonzero(np.diff(counts[0]))[0]
    counts[0, [levels, levels + 1]] = counts[0, [levels + 1, levels]]
    with pytest.raises(FailedError, match="differs"):
        check_result(Operation.HISTOGRAM, counts, make_chunks(store, None, 5))


def test_no_number_is_a_wrong_result(store: Store) -> None:
    with pytest.raises(FailedError, match="no numbers"):
        check_result(Operation.MEAN_STD, np.full((2, 3), np.nan), make_chunks(store, None, 5))
