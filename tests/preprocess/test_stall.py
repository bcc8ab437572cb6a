"""Workers that give no result: the time they have, and what is told of them."""

import os
import signal
import subprocess
import threading
import time
from functools import partial
from pathlib import Path

import pytest
from distributed import Client, LocalCluster

from weather_hpc.errors import FailedError, UserError
from weather_hpc.preprocess.backends.dask import ordered_map
from weather_hpc.preprocess.backends.dask_client import WatchedClient
from weather_hpc.preprocess.backends.local import ProcessPool
from weather_hpc.preprocess.backends.stall import WORKER_TIMEOUT, Owing, Silence, part_text
from weather_hpc.runs.proc import activity, files_of
from weather_hpc.runs.provenance import node_name


@pytest.mark.parametrize("text", ["0", "-1", "inf", "ten"])
def test_a_time_out_that_is_no_number_is_refused(
    text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(WORKER_TIMEOUT, text)
    with pytest.raises(UserError, match=f"{WORKER_TIMEOUT}={text}: must be a number of seconds"):
        ProcessPool("advice")


def test_time_in_which_the_whole_job_was_suspended_does_not_count(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 0.0
    monkeypatch.setenv(WORKER_TIMEOUT, "60")
    monkeypatch.setattr(time, "monotonic", lambda: now)
    silence = Silence()
    now += 10_000
    assert not silence.too_long()
    for _ in range(56):
        now += silence.poll_s
        assert not silence.too_long()
    silence.end()
    for _ in range(60):
        now += silence.poll_s
        assert not silence.too_long()
    now += silence.poll_s
    assert silence.too_long()
    error = str(silence.error([Owing(rank, "n1", 7, f"chunk {rank}") for rank in range(9)], "redo"))
    assert error.startswith(
        "no result for 61 s (WEATHER_HPC_WORKER_TIMEOUT_S=60) from worker 0 on "
    )
    assert error.endswith("worker 7 on n1 (pid 7) at chunk 7; and 1 more; redo")


def test_a_process_is_told_with_its_state_and_the_files_it_reads(tmp_path: Path) -> None:
    file = tmp_path / "large image.jpg"
    file.write_bytes(b"")
    with file.open() as stdin:
        child = subprocess.Popen(["sleep", "600"], stdin=stdin)
    try:
        child.send_signal(signal.SIGSTOP)
        while activity(child.pid) != "stopped":
            time.sleep(0.01)
        text = Owing(3, node_name(), child.pid, part_text(["chunk 5", "chunk 6"])).text
        assert text == (
            f"worker 3 on {node_name()} (pid {child.pid}, stopped) at chunk 5 or one of 1 more, "
            f"with {file} open"
        )
    finally:
        child.kill()
        child.wait()
    assert activity(child.pid) == "gone"
    assert files_of(child.pid) == set()
    assert "(pid" in Owing(0, "another-node", os.getpid()).text


@pytest.mark.parametrize("ordered", [True, False])
def test_dask_tasks_without_an_end_are_waited_for_no_longer(
    ordered: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Threads of this process in place of workers: they start quickly."""
    monkeypatch.setenv(WORKER_TIMEOUT, "0.5")
    never = Event()
    never.clear()
    with (
        LocalCluster(n_workers=1, processes=False, dashboard_address=None) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        watched = WatchedClient(client, "advice")
        told = rf"no result for [01] s .* from worker 0 on \S+ \(pid {os.getpid()}\)"
        try:
            with pytest.raises(FailedError, match=told + (" at part 1; advice" if ordered else "")):
                if ordered:
                    list(ordered_map(watched, 2, partial(_wait_at, never), ["part 0", "part 1"]))
                else:
                    watched.gather([client.submit(never.wait)])
        finally:
            never.set()


class Event:
    """Of threads, and pickled as itself."""

    _event = threading.Event()

    def wait(self) -> None:
        self._event.wait()

    def clear(self) -> None:
        self._event.clear()

    def set(self) -> None:
        self._event.set()


def _wait_at(never: Event, part: str) -> str:
    if part == "part 1":
        never.wait()
    return part
