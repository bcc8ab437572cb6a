"""Workers of every backend, computing functions that have nothing to do with images."""

import os
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.records_maker import preprocess_spec
from weather_hpc.errors import FailedError, UserError
from weather_hpc.preprocess.backends.workers import open_workers
from weather_hpc.preprocess.worker import WorkerResult, ready, ready_with, record_workers
from weather_hpc.runs.record import RankInfo, RunRecord
from weather_hpc.study.tasks import Backend


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


def test_dask_jobqueue_needs_to_know_its_site() -> None:
    with (
        pytest.raises(UserError, match="its workers are jobs"),
        open_workers(Backend.DASK_JOBQUEUE, 2, "run it again"),
    ):
        pass


def with_threads(rank: int) -> RankInfo:
    return ready(rank).model_copy(update={"threads": 7})


def refuse(rank: int) -> RankInfo:
    raise UserError(f"no package for rank {rank}")


@pytest.mark.parametrize(
    ("backend", "workers"),
    [(Backend.SEQUENTIAL, 1), (Backend.MULTIPROCESSING, 2), (Backend.DASK, 2)],
)
def test_each_worker_is_prepared_and_reports_itself(backend: Backend, workers: int) -> None:
    with open_workers(backend, workers, "run it again", with_threads) as opened:
        ranks = opened.ranks
        assert [rank.rank for rank in ranks] == list(range(workers))
        assert [rank.threads for rank in ranks] == [7] * workers
        assert {rank.pid for rank in ranks} >= set(opened(pid_of, range(20)))


def pid_of(value: int) -> int:
    return os.getpid()


@pytest.mark.parametrize(
    ("backend", "workers"),
    [(Backend.SEQUENTIAL, 1), (Backend.MULTIPROCESSING, 2), (Backend.DASK, 1)],
)
def test_a_worker_that_cannot_be_prepared_says_why(backend: Backend, workers: int) -> None:
    with (
        pytest.raises(UserError, match="no package for rank"),
        open_workers(backend, workers, "run it again", refuse),
    ):
        pass


def test_a_worker_on_a_node_without_the_folder_says_so(tmp_path: Path) -> None:
    prepare = partial(ready_with, [tmp_path, tmp_path / "store"])
    with (
        pytest.raises(FailedError, match=r"store does not exist on .*folders that all nodes share"),
        open_workers(Backend.MULTIPROCESSING, 1, "run it again", prepare),
    ):
        pass


def test_a_replacement_is_recorded_under_the_rank_of_the_lost_worker() -> None:
    record = RunRecord.of(preprocess_spec("dask-jobqueue", 2))
    ranks = [RankInfo(rank=rank, host="node1", pid=10 + rank) for rank in range(2)]
    results = [
        WorkerResult(images=3, pid=pid, host="node1", memory_peak_mb=peak, rank=rank)
        for pid, peak, rank in ((10, 5.0, 0), (11, None, 1), (12, 9.0, 1), (12, 8.0, 1))
    ]
    record_workers(record, ranks, results)
    actual = [(rank.rank, rank.pid, rank.images, rank.memory_peak_mb)
              for rank in record.actual.ranks]  # fmt: skip
    assert actual == [(0, 10, 3, 5.0), (1, 11, 3, None), (1, 12, 6, 9.0)]
    assert (record.actual.world_size, record.actual.nodes) == (2, 1)
