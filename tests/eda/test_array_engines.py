"""Real processes, threads and Dask clusters on a real store, against definitions of the results."""

import os
import signal
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from tests.eda.array_store import SIDE, small_store
from weather_hpc.dataset.store import Store
from weather_hpc.eda import array_dask, numpy_operations
from weather_hpc.eda.array_check import TOLERANCE
from weather_hpc.eda.array_chunks import make_chunks
from weather_hpc.eda.array_engines import ArrayEngine, open_engine
from weather_hpc.errors import FailedError
from weather_hpc.preprocess.backends.stall import WORKER_TIMEOUT
from weather_hpc.runs.proc import is_running
from weather_hpc.study.tasks import ArrayInput, ArrayTask, Engine, Operation

IMAGES, CHUNK, WORKERS = 23, 5, 2
BY_PROCESSES = Operation.FEATURES
"""The operation that every engine computes in processes."""
SMALL = pytest.mark.xdist_group("array_small_store")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return small_store(tmp_path_factory.mktemp("array"))


def task_of(engine: Engine, operation: Operation, array_input: ArrayInput) -> ArrayTask:
    return ArrayTask(
        engine=engine, operation=operation, workers=WORKERS, chunk_images=CHUNK,
        array_input=array_input, image_size=SIDE,
    )  # fmt: skip


def expected(store: Store, operation: Operation) -> npt.NDArray[Any]:
    pixels = store.images[store.rows()]
    if operation is Operation.MEAN_STD:
        return np.stack([pixels.mean(axis=(0, 1, 2)), pixels.std(axis=(0, 1, 2))]) / 255
    if operation is Operation.HISTOGRAM:
        return np.array([[(pixels[..., c] == n).sum() for n in range(256)] for c in range(3)])
    if operation is Operation.EQUALIZATION:
        return np.asarray(numpy_operations.equalized(pixels).sum(axis=(1, 2)))
    return numpy_operations.features(pixels)


def check(engine: ArrayEngine, store: Store, task: ArrayTask) -> None:
    counted: list[int] = []
    value = engine.compute(lambda count=1, text=None: counted.append(count))
    assert sum(counted) == IMAGES
    wanted = expected(store, task.operation)
    assert value.shape == wanted.shape
    assert np.abs(value.astype(wanted.dtype) - wanted).max() <= TOLERANCE[task.operation]


@SMALL
@pytest.mark.parametrize("array_input", ArrayInput)
@pytest.mark.parametrize("operation", Operation)
@pytest.mark.parametrize("engine", Engine)
def test_all_engines_have_the_same_result(
    store: Store, engine: Engine, operation: Operation, array_input: ArrayInput
) -> None:
    task = task_of(engine, operation, array_input)
    with open_engine(task, make_chunks(store, None, CHUNK)) as workers:
        assert [rank.rank for rank in workers.ranks] == [0, 1]
        check(workers, store, task)
        reports = workers.report()
    threaded = engine is Engine.DASK_ARRAY and operation in array_dask.THREADED
    if threaded:
        assert not reports
        return
    # every image is read, or held, once
    assert sum(report.images for report in reports) == IMAGES
    assert {report.pid for report in reports} <= {rank.pid for rank in workers.ranks}
    read = sum(report.reading_s for report in reports)
    assert (read > 0) is (array_input is ArrayInput.DISK)


@SMALL
@pytest.mark.parametrize("array_input", ArrayInput)
@pytest.mark.parametrize(
    ("operation", "threaded"),
    [(Operation.MEAN_STD, False), (Operation.HISTOGRAM, False), (Operation.FEATURES, True)],
)
def test_either_scheduler_of_dask_has_the_same_result(
    store: Store,
    operation: Operation,
    array_input: ArrayInput,
    threaded: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(array_dask, "THREADED", tuple(Operation) if threaded else ())
    task = task_of(Engine.DASK_ARRAY, operation, array_input)
    with open_engine(task, make_chunks(store, None, CHUNK)) as workers:
        check(workers, store, task)
        pids = {rank.pid for rank in workers.ranks}
    assert pids == {os.getpid()} if threaded else len(pids) == WORKERS


@SMALL
@pytest.mark.parametrize("engine", [Engine.NUMPY, Engine.DASK_ARRAY])
def test_workers_hold_equal_shares_in_memory(store: Store, engine: Engine) -> None:
    task = task_of(engine, BY_PROCESSES, ArrayInput.MEMORY)
    with open_engine(task, make_chunks(store, None, CHUNK)) as workers:
        check(workers, store, task)
        shares: dict[int, int] = {}
        for report in workers.report():
            shares[report.pid] = shares.get(report.pid, 0) + report.images
    assert sorted(shares.values()) == [10, 13]  # of chunks 5, 5, 5, 5, 3: two and three


@SMALL
@pytest.mark.parametrize("array_input", ArrayInput)
@pytest.mark.parametrize("engine", Engine)
def test_a_lost_worker_is_one_clear_error(
    store: Store, engine: Engine, array_input: ArrayInput
) -> None:
    task = task_of(engine, BY_PROCESSES, array_input)
    with open_engine(task, make_chunks(store, None, CHUNK)) as workers:
        os.kill(workers.ranks[1].pid, signal.SIGKILL)
        with pytest.raises(FailedError, match="worker process was lost"):
            compute_and_report(workers)


@SMALL
def test_a_stopped_worker_is_named(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(WORKER_TIMEOUT, "1")
    task = task_of(Engine.NUMPY, BY_PROCESSES, ArrayInput.MEMORY)
    with open_engine(task, make_chunks(store, None, CHUNK)) as workers:
        pid = workers.ranks[1].pid
        os.kill(pid, signal.SIGSTOP)
        told = rf"from worker 1 on \S+ \(pid {pid}, stopped\) at chunk 1 of \S+; run the same"
        with pytest.raises(FailedError, match=told):
            compute_and_report(workers)
    assert not is_running(pid)


def compute_and_report(workers: ArrayEngine) -> None:
    workers.compute(lambda count=1, text=None: None)
    workers.report()


@SMALL
@pytest.mark.parametrize("engine", Engine)
def test_a_file_that_ends_early_is_one_clear_error(
    store: Store, engine: Engine, tmp_path_factory: pytest.TempPathFactory
) -> None:
    task = task_of(engine, BY_PROCESSES, ArrayInput.DISK)
    short = small_store(tmp_path_factory.mktemp("short"))
    chunks = make_chunks(short, None, CHUNK)
    with open_engine(task, chunks) as workers:
        os.truncate(chunks[0].file, chunks[0].file.stat().st_size - 1000)
        with pytest.raises(FailedError, match="ends early"):
            compute_and_report(workers)
