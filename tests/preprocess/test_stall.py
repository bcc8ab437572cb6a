"""Workers that give no result: the time they have, and what is told of them."""

import os
import signal
import subprocess
import time
from contextlib import closing
from pathlib import Path

import pytest

from weather_hpc.errors import FailedError, UserError
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


def test_a_worker_that_stops_in_a_share_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(WORKER_TIMEOUT, "1")
    found: list[str] = []
    with closing(ProcessPool("advice")) as pool:
        pids = pool.start(2, _pid)
        told = rf"from worker 1 on \S+ \(pid {pids[1]}, stopped\) at part 3; advice"
        with pytest.raises(FailedError, match=told):
            found.extend(pool.map_own(_stop_at_3, [["part 0", "part 1"], ["part 2", "part 3"]]))
    assert sorted(found) == ["part 0", "part 1", "part 2"]
    assert [activity(pid) for pid in pids] == ["gone", "gone"]


def _pid(rank: int) -> int:
    return os.getpid()


def _stop_at_3(part: str) -> str:
    if part == "part 3":
        os.kill(os.getpid(), signal.SIGSTOP)
    return part
