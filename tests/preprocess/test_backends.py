import os
import pickle
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from tests.dataset.nasty import plain_folder
from weather_hpc.errors import FailedError, UserError
from weather_hpc.preprocess.backends.base import (
    START_TIMEOUT_S,
    make_backend,
    not_all_up,
    start_timeout_s,
)
from weather_hpc.preprocess.backends.local import ProcessPool
from weather_hpc.preprocess.chunk import Chunk, Target, pack_chunk
from weather_hpc.study.tasks import Backend, Decoder

SIZE, PER_CHUNK = 16, 4
EXACT = Decoder.EXACT
PARALLEL = [Backend.MULTIPROCESSING, Backend.DASK]


@pytest.fixture
def target(tmp_path: Path) -> Target:
    root = plain_folder(tmp_path / "images", per_class=8)
    pixels = tmp_path / "pixels"
    pixels.write_bytes(bytes(24 * SIZE * SIZE * 3))
    return Target(root, pixels, 0, SIZE, EXACT)


@pytest.fixture
def chunks(target: Target) -> list[Chunk]:
    paths = sorted(str(path.relative_to(target.root)) for path in target.root.rglob("*.jpg"))
    return [
        Chunk(index, first, paths[first : first + PER_CHUNK])
        for index, first in enumerate(range(0, len(paths), PER_CHUNK))
    ]


@pytest.fixture
def no_process_is_left() -> Iterator[None]:
    before = set(psutil.Process().children(recursive=True))
    yield
    left = set(psutil.Process().children(recursive=True)) - before
    _, alive = psutil.wait_procs([child for child in left if not _others(child, before)], 10)
    assert not alive


def _others(child: psutil.Process, before: set[psutil.Process]) -> bool:
    """Whether ``child`` was not started by these tests, or has ended."""
    try:
        # multiprocessing's resource tracker lives as long as this process; another test's browser,
        # still running, may start processes at any time
        tracks = "resource_tracker" in " ".join(child.cmdline())
        return tracks or not before.isdisjoint(child.parents())
    except psutil.NoSuchProcess:
        return True


@pytest.mark.parametrize("name", PARALLEL)
def test_every_worker_is_up_before_the_work(
    name: Backend, target: Target, chunks: list[Chunk], no_process_is_left: None
) -> None:
    with closing(make_backend(name)) as backend:
        ranks = backend.start(2, EXACT)
        assert [rank.rank for rank in ranks] == [0, 1]
        pids = {rank.pid for rank in ranks}
        assert len(pids) == 2
        assert os.getpid() not in pids
        assert all(psutil.pid_exists(pid) for pid in pids)
        assert all(rank.cpus == sorted(os.sched_getaffinity(0)) for rank in ranks)
        results = list(backend.run(target, chunks))
    assert sorted(result.finished.index for result in results) == list(range(6))
    assert {result.pid for result in results} <= pids
    assert all(result.images == PER_CHUNK for result in results)
    assert target.pixels.read_bytes().count(0) < 24 * SIZE * SIZE


def test_dask_workers_have_one_thread_and_our_allocator_settings(
    monkeypatch: pytest.MonkeyPatch, no_process_is_left: None
) -> None:
    """A worker's environment, read from outside."""
    monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", "4294967296")
    with closing(make_backend(Backend.DASK)) as backend:
        (worker,) = backend.start(1, EXACT)
        environment = psutil.Process(worker.pid).environ()
    assert environment["MALLOC_TRIM_THRESHOLD_"] == "4294967296"
    assert environment["OMP_NUM_THREADS"] == "1"


def test_two_dask_clusters_live_side_by_side_on_loopback(no_process_is_left: None) -> None:
    with (
        closing(make_backend(Backend.DASK)) as first,
        closing(make_backend(Backend.DASK)) as second,
    ):
        pids = [
            os.getpid(),
            *(worker.pid for each in (first, second) for worker in each.start(1, EXACT)),
        ]
        listening = {
            connection.laddr.ip
            for pid in pids
            for connection in psutil.Process(pid).net_connections("inet")
            if connection.status == psutil.CONN_LISTEN
        }
    assert listening == {"127.0.0.1"}


@pytest.mark.parametrize("name", PARALLEL)
def test_a_killed_worker_is_one_clear_error(
    name: Backend, target: Target, chunks: list[Chunk], no_process_is_left: None
) -> None:
    # One chunk waits for data that never arrives, so that the worker is killed in its middle.
    os.mkfifo(target.root / "a" / "never.jpg")
    stuck = [*chunks[:2], Chunk(2, 8, ["a/never.jpg"])]
    finished = []
    with closing(make_backend(name)) as backend:
        (worker,) = backend.start(1, EXACT)
        told = rf"a worker process was lost \(pid {worker.pid} on \S+: killed by SIGKILL"
        with pytest.raises(FailedError, match=told):
            for result in backend.run(target, stuck):
                finished.append(result.finished.index)
                if len(finished) == 2:
                    os.kill(worker.pid, signal.SIGKILL)
    assert finished == [0, 1]


def test_workers_end_when_their_parent_is_killed(tmp_path: Path) -> None:
    import subprocess
    import sys

    script = tmp_path / "parent.py"
    script.write_text(
        "import time\n"
        "from weather_hpc.preprocess.backends.base import make_backend\n"
        "if __name__ == '__main__':\n"
        "    ranks = make_backend('multiprocessing').start(2, 'exact')\n"
        "    print(*[rank.pid for rank in ranks], flush=True)\n"
        "    time.sleep(600)\n"
    )
    repository = Path(__file__).resolve().parents[2]
    parent = subprocess.Popen(
        [sys.executable, str(script)],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(repository)},
    )
    with parent:
        assert parent.stdout is not None
        workers = [psutil.Process(int(pid)) for pid in parent.stdout.readline().split()]
        assert len(workers) == 2
        parent.kill()
    _, alive = psutil.wait_procs(workers, timeout=30)
    assert not alive


def test_a_worker_lost_while_starting_is_an_error(no_process_is_left: None) -> None:
    """Killed as soon as it exists: the other worker must not wait for it."""
    before = set(psutil.Process().children(recursive=True))

    def kill_one() -> None:
        for _ in range(3000):
            for child in set(psutil.Process().children(recursive=True)) - before:
                try:
                    command = " ".join(child.cmdline())
                except psutil.Error:
                    continue
                if "spawn_main" in command:
                    child.kill()
                    return
            time.sleep(0.01)

    killer = threading.Thread(target=kill_one)
    killer.start()
    with (
        closing(make_backend(Backend.MULTIPROCESSING)) as backend,
        pytest.raises(FailedError, match=r"[01] of 2 workers came up"),
    ):
        backend.start(2, EXACT)
    killer.join()


def test_workers_that_share_cpus_may_take_longer_to_start() -> None:
    cpus = len(os.sched_getaffinity(0))
    assert start_timeout_s(1) == start_timeout_s(cpus) == START_TIMEOUT_S
    assert start_timeout_s(8 * cpus) == 8 * START_TIMEOUT_S
    message = str(not_all_up(3, 8 * cpus))
    assert f"3 of {8 * cpus} workers came up" in message
    assert message.endswith(f"took over {8 * START_TIMEOUT_S:.0f} s")


def test_results_do_not_grow_with_the_pixels(target: Target, chunks: list[Chunk]) -> None:
    """So the parent's memory does not depend on the size of the images."""
    result = pack_chunk(target, chunks[0])
    large = pack_chunk(replace(target, size=4 * SIZE), Chunk(0, 0, chunks[0].paths[:1]))
    assert result.images == PER_CHUNK
    assert len(pickle.dumps(result)) < 1000
    assert len(pickle.dumps(large)) < 1000 < large.images * (4 * SIZE) ** 2 * 3


def test_sequential_has_one_worker() -> None:
    backend = make_backend(Backend.SEQUENTIAL)
    assert [rank.pid for rank in backend.start(1, EXACT)] == [os.getpid()]
    with pytest.raises(UserError, match="1 worker, not 2"):
        backend.start(2, EXACT)


def test_a_backend_whose_package_is_missing_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import sys

    monkeypatch.delitem(sys.modules, "weather_hpc.preprocess.backends.dask", raising=False)
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(UserError, match=r"pip install 'weather_hpc\[dask\]'"):
        make_backend(Backend.DASK)


@pytest.mark.parametrize("name", [Backend.SEQUENTIAL, *PARALLEL, Backend.DASK_NAIVE])
def test_a_full_disk_is_one_clear_error(
    name: Backend, target: Target, chunks: list[Chunk], no_process_is_left: None
) -> None:
    full = Target(target.root, Path("/dev/full"), 0, SIZE, EXACT)
    with closing(make_backend(name)) as backend:
        backend.start(1, EXACT)
        with pytest.raises(FailedError, match="/dev/full: cannot be written: No space left"):
            list(backend.run(full, chunks))


def test_each_worker_computes_its_own_share(no_process_is_left: None) -> None:
    with closing(ProcessPool("advice")) as pool:
        pids = pool.start(3, _pid)
        shares: list[list[int]] = [[0, 1, 2, 3], [], [4]]
        found = list(pool.map_own(_with_pid, shares))
    assert {part: pids.index(pid) for part, pid in found} == {0: 0, 1: 0, 2: 0, 3: 0, 4: 2}
    assert [part for part, _ in found if part < 4] == [0, 1, 2, 3]


def test_what_a_function_raises_in_a_share_reaches_the_caller() -> None:
    with closing(ProcessPool("advice")) as pool:
        pool.start(2, _pid)
        with pytest.raises(ZeroDivisionError):
            list(pool.map_own(_inverse, [[1, 2], [0]]))


def _pid(rank: int) -> int:
    return os.getpid()


def _with_pid(part: int) -> tuple[int, int]:
    return part, os.getpid()


def _inverse(number: int) -> float:
    return 1 / number
