"""Faults outside the program: the run continues or stops with one line, and the next run makes only
what is missing. All by the verb, with real signals, files and limits.
"""

import json
import os
import re
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from tests.dataset.nasty import huge_claim, plain_folder, save
from weather_hpc import cli
from weather_hpc.data.__main__ import main as data_verb
from weather_hpc.dataset.partial import PartialStore
from weather_hpc.dataset.store import Store
from weather_hpc.preprocess.__main__ import main as preprocess
from weather_hpc.preprocess.backends.stall import WORKER_TIMEOUT
from weather_hpc.runs.writer import RunWriter

REPOSITORY = Path(__file__).resolve().parents[2]
CHUNKS, IMAGES, SIZE = 5, 150, 16
CHUNK_BYTES = 32 * SIZE * SIZE * 3
WAIT_S = 100
DECODERS = ["fast", "exact"]
LAST = Path("c", "049.jpg")
"""The last image of the last chunk."""


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Images for five chunks of a store."""
    return plain_folder(tmp_path / "images", per_class=50)


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    return tmp_path / "run"


def flags(data: Path, run_dir: Path, *more: object) -> list[str]:
    folders = ["--data", str(data), "--run-dir", str(run_dir)]
    return [*folders, "--size", str(SIZE), *map(str, more)]


def events(run_dir: Path, name: str) -> list[dict[str, Any]]:
    lines = map(json.loads, (run_dir / "events.jsonl").read_text().splitlines())
    return [event for event in lines if event["event"] == name]


def finished(run_dir: Path) -> int:
    """Chunks that the run has recorded so far."""
    progress = run_dir / "store.partial" / "progress.jsonl"
    return progress.read_text().count("sha256") if progress.exists() else 0


@contextmanager
def after(name: str, do: Callable[[], object]) -> Iterator[None]:
    """Call ``do`` in the run after it has written the event ``name``."""
    event = RunWriter.event

    def event_and(self: RunWriter, written: str, **fields: Any) -> None:
        event(self, written, **fields)
        if written == name:
            do()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RunWriter, "event", event_and)
        yield


def never_read(path: Path) -> None:
    """Replace a file by a pipe, so that reading it never ends."""
    path.rename(path.with_name(".kept"))
    os.mkfifo(path)


def put_back(path: Path) -> None:
    path.with_name(".kept").replace(path)


def is_no_store(run_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """For readers there is no store yet, and an error says so."""
    assert cli.guarded("data", data_verb, ["info", str(run_dir / "store")]) == 2
    assert "no such folder" in capsys.readouterr().err


def is_whole(run_dir: Path, capsys: pytest.CaptureFixture[str]) -> Store:
    assert cli.guarded("data", data_verb, ["verify", str(run_dir / "store")]) == 0
    assert "nothing is damaged" in capsys.readouterr().out
    assert not (run_dir / "store.partial").exists()
    return Store.open(run_dir / "store")


def resumed(run_dir: Path) -> tuple[int, int]:
    """How many chunks the last run found, and how many it made."""
    event = events(run_dir, "resumed")[-1]
    return event["chunks_found"], event["chunks_made"]


def one_line(capsys: pytest.CaptureFixture[str]) -> str:
    error = capsys.readouterr().err
    assert error.count("\n") == 1, error
    return error


def soon(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline, "the condition was never true"
        time.sleep(0.02)


def spawned() -> list[psutil.Process]:
    """The workers."""
    children = psutil.Process().children(recursive=True)
    return [child for child in children if "spawn_main" in " ".join(child.cmdline())]


def signal_the_worker_at_its_last_chunk(run_dir: Path, number: int) -> None:
    soon(lambda: finished(run_dir) == CHUNKS - 1)
    (worker,) = spawned()
    worker.send_signal(number)


@pytest.mark.parametrize(
    ("number", "told"),
    [
        (signal.SIGKILL, r"a worker process was lost \(pid \d+ on \S+: killed by SIGKILL \("),
        (signal.SIGSTOP, rf"no result for 1\d s \({WORKER_TIMEOUT}=10\) from worker 0 on \S+ "),
    ],
    ids=["killed", "stopped"],
)
@pytest.mark.parametrize(("backend", "decoder"), [("multiprocessing", "fast"), ("dask", "exact")])
def test_a_killed_worker_costs_its_chunk(
    backend: str,
    decoder: str,
    number: int,
    told: str,
    data: Path,
    run_dir: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(WORKER_TIMEOUT, "10")  # a busy machine starts no worker in less
    argv = flags(data, run_dir, "--backend", backend, "--workers", 1, "--decoder", decoder)
    killer = threading.Thread(target=signal_the_worker_at_its_last_chunk, args=[run_dir, number])
    with after("catalogue", lambda: never_read(data / LAST)), after("workers_up", killer.start):
        assert cli.guarded("preprocess", preprocess, argv) == 1
    killer.join()
    error = one_line(capsys)
    assert re.search(told, error), error
    if number == signal.SIGSTOP:
        assert re.search(r"\(pid \d+, stopped\) at chunk 4 \(c/\d+.jpg to c/049.jpg\)", error), (
            error
        )
    assert not spawned()
    is_no_store(run_dir, capsys)

    put_back(data / LAST)
    assert cli.guarded("preprocess", preprocess, argv) == 0
    assert resumed(run_dir) == (CHUNKS - 1, 1)
    assert len(is_whole(run_dir, capsys).rows()) == IMAGES


def test_a_killed_run_costs_its_unfinished_chunk(
    data: Path, run_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = flags(data, run_dir, "--backend", "multiprocessing", "--workers", 1)
    script = (
        "import sys\n"
        "from pathlib import Path\n"
        "from tests.preprocess.test_faults import *\n"
        "if __name__ == '__main__':\n"
        f"    with after('catalogue', lambda: never_read(Path({str(data / LAST)!r}))):\n"
        "        preprocess(sys.argv[1:])\n"
    )
    (run_dir.parent / "run.py").write_text(script)
    process = subprocess.Popen(
        [sys.executable, str(run_dir.parent / "run.py"), *argv],
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
    )
    try:
        soon(lambda: finished(run_dir) == CHUNKS - 1)
        workers = psutil.Process(process.pid).children(recursive=True)
    finally:
        process.kill()
        process.wait()
    assert not psutil.wait_procs(workers, timeout=WAIT_S)[1], "workers outlive the run"
    is_no_store(run_dir, capsys)

    put_back(data / LAST)
    assert cli.guarded("preprocess", preprocess, argv) == 0
    assert resumed(run_dir) == (CHUNKS - 1, 1)
    is_whole(run_dir, capsys)


def huge_jpeg(path: Path) -> bytes:
    """The JPEG at ``path``, its header changed so that it claims 65,000 x 65,000 pixels."""
    content = bytearray(path.read_bytes())
    height = content.index(b"\xff\xc0") + 5  # after marker, length and bits, ITU-T T.81
    content[height : height + 4] = (65_000).to_bytes(2, "big") * 2
    return bytes(content)


@pytest.mark.parametrize("decoder", DECODERS)
def test_files_that_change_after_the_scan_are_left_out(
    decoder: str, data: Path, run_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    jpeg_bomb = huge_jpeg(data / "a" / "000.jpg")
    save(data / "b" / "large.jpg", 9, size=(300, 300))

    def spoil() -> None:
        (data / "a" / "000.jpg").write_bytes(jpeg_bomb)
        (data / "a" / "001.jpg").write_bytes(huge_claim())
        whole = (data / "b" / "large.jpg").read_bytes()
        (data / "b" / "large.jpg").write_bytes(whole[: len(whole) // 2])
        (data / "c" / "000.jpg").unlink()
        (data / "c" / "001.jpg").write_bytes(b"")

    with after("catalogue", spoil):
        argv = flags(data, run_dir, "--decoder", decoder, "--max-unreadable", "5%")
        code = cli.guarded("preprocess", preprocess, argv)
    assert code == 0
    assert "146 images, 5 quarantined" in capsys.readouterr().out
    store = is_whole(run_dir, capsys)
    reasons = {entry["path"]: entry["reason"] for entry in store.quarantine()}
    for path, part in {
        "a/000.jpg": "more than 89478485",
        "a/001.jpg": "more than 89478485",
        "b/large.jpg": "truncated",
        "c/000.jpg": "No such file",
        "c/001.jpg": "not an image",
    }.items():
        assert part in reasons.pop(path)
    assert not reasons
    valid = set(store.rows().tolist())
    for row, item in enumerate(store.items):
        spoiled = item["path"] in {entry["path"] for entry in store.quarantine()}
        assert (row in valid) is not spoiled
        assert np.any(store.images[row]) != spoiled


@pytest.mark.parametrize("decoder", DECODERS)
def test_bombs_are_recognised_by_their_header(
    decoder: str, data: Path, run_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (data / "a" / "bomb.jpg").write_bytes(huge_jpeg(data / "a" / "000.jpg"))
    (data / "b" / "bomb.png").write_bytes(huge_claim())
    argv = flags(data, run_dir, "--decoder", decoder, "--max-unreadable", "5%")
    assert cli.guarded("preprocess", preprocess, argv) == 0
    store = is_whole(run_dir, capsys)
    assert [entry["path"] for entry in store.quarantine()] == ["a/bomb.jpg", "b/bomb.png"]
    assert all("more than 89478485" in entry["reason"] for entry in store.quarantine())
    assert len(store.rows()) == len(store.items) == IMAGES


@contextmanager
def unlimited_afterwards() -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def no_file_beyond(size: int) -> None:
    """From now on writing beyond ``size`` bytes of any file fails, here and in child processes."""
    for process in (psutil.Process(), *spawned()):
        _, hard = resource.prlimit(process.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (size, hard))


@pytest.mark.parametrize(
    ("backend", "decoder"), [("sequential", "fast"), ("multiprocessing", "exact")]
)
def test_a_disk_that_fills_up_costs_only_the_later_chunks(
    backend: str, decoder: str, data: Path, run_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As with a quota: writing fails after two and a half chunks."""
    argv = flags(data, run_dir, "--backend", backend, "--decoder", decoder)
    with unlimited_afterwards(), after("workers_up", lambda: no_file_beyond(CHUNK_BYTES * 5 // 2)):
        assert cli.guarded("preprocess", preprocess, argv) == 1
    assert "images.npy: cannot be written: File too large" in one_line(capsys)
    is_no_store(run_dir, capsys)
    assert cli.guarded("preprocess", preprocess, argv) == 0
    assert resumed(run_dir) == (2, CHUNKS - 2)
    is_whole(run_dir, capsys)


def test_a_file_system_without_room_for_the_store_is_one_line(
    data: Path, run_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = flags(data, run_dir)
    with unlimited_afterwards(), after("catalogue", lambda: no_file_beyond(CHUNK_BYTES)):
        assert cli.guarded("preprocess", preprocess, argv) == 1
    assert "store.partial: cannot be written: File too large" in one_line(capsys)
    is_no_store(run_dir, capsys)
    assert cli.guarded("preprocess", preprocess, argv) == 0
    is_whole(run_dir, capsys)


def test_a_disk_that_is_full_at_the_end_costs_no_chunk(
    data: Path, run_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """All pixels are written, and the tables are not."""
    argv = flags(data, run_dir)
    commit = PartialStore.commit

    def commit_without_room(self: PartialStore) -> Store:
        no_file_beyond(1000)
        return commit(self)

    with unlimited_afterwards(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(PartialStore, "commit", commit_without_room)
        assert cli.guarded("preprocess", preprocess, argv) == 1
    assert "store.partial: cannot be written: File too large" in one_line(capsys)
    is_no_store(run_dir, capsys)
    assert cli.guarded("preprocess", preprocess, argv) == 0
    assert resumed(run_dir) == (CHUNKS, 0)
    is_whole(run_dir, capsys)


@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize("where", ["/sys", "{data}/a/000.jpg"])
def test_a_target_that_cannot_be_written_is_reported_before_the_work(
    where: str, decoder: str, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Not even root can make a folder in either."""
    out = Path(where.format(data=data)) / "store"
    argv = ["--data", str(data), "--out", str(out), "--size", str(SIZE), "--decoder", decoder]
    assert cli.guarded("preprocess", preprocess, argv) == 2
    assert f"{out}.partial: cannot be written" in one_line(capsys)


def test_a_run_folder_that_cannot_be_written_is_one_line(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.guarded("preprocess", preprocess, flags(data, Path("/sys/run"))) == 1
    assert "/sys/run/.lock: cannot be written" in one_line(capsys)


def test_a_folder_of_images_that_disappears_is_one_line(
    data: Path, run_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = flags(data, run_dir)
    with after("workers_up", lambda: data.rename(data.with_name("unmounted"))):
        assert cli.guarded("preprocess", preprocess, argv) == 1
    assert "images: the folder of images is gone" in one_line(capsys)
    is_no_store(run_dir, capsys)
    data.with_name("unmounted").rename(data)
    assert cli.guarded("preprocess", preprocess, argv) == 0
    assert len(is_whole(run_dir, capsys).rows()) == IMAGES
