"""One rank fails: the others end as well, and the record says which it was and why."""

import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from tests.train.conftest import (
    STALLED_S,
    Train,
    family,
    record_in,
    run_forked,
    torchrun_environment,
)
from weather_hpc.runs.record import Status
from weather_hpc.study.tasks import Device
from weather_hpc.train.exchange import RANK_TIMEOUT
from weather_hpc.train.failure import Failure, out_of_memory
from weather_hpc.train.ranks import Rank, Unavailable, agreed_device
from weather_hpc.train.ranks import torchrun as torchrun_arguments

RUN_FAILING = Path(__file__).with_name("run_failing.py")


def failing_argv(store: Path, run_dir: Path) -> list[str]:
    launcher = torchrun_arguments(1, 2)
    words = ["--store", store, "--strategy", "ddp", "--device", "cpu", "--model", "tiny",
             "--epochs", 3, "--batch-size", 4, "--run-dir", run_dir, "--resume"]  # fmt: skip
    return [sys.executable, *launcher, str(RUN_FAILING), *map(str, words)]


@pytest.mark.parametrize(
    ("fails", "status", "told"),
    [
        ("1 memory", "out_of_memory", "CUDA out of memory. Tried to allocate 2.00 GiB."),
        ("1 error", "failed", "RuntimeError: CUDA error: an illegal memory access"),
        ("1 kill", "failed", "exited without an error message"),
        ("0 kill", "failed", "exited without an error message"),
    ],
)
def test_ranks_that_would_wait_for_ever_end_with_the_reason_of_the_first(
    fails: str, status: str, told: str, small_store: Path, tmp_path: Path
) -> None:
    """Were they not to end by themselves, torchrun would kill rank 0 before it had written it."""
    returned, error = run_forked(failing_argv(small_store, tmp_path), FAILS=fails)
    assert returned == 1, error
    record = record_in(tmp_path)
    assert record["status"] == status
    assert record["reason"].startswith(f"rank {fails[0]} on ")
    assert told in record["reason"]
    assert record["time_s"] is None


def test_ranks_whose_launcher_is_killed_end_with_that_reason(
    small_store: Path, tmp_path: Path
) -> None:
    done = subprocess.run(
        failing_argv(small_store, tmp_path), env=torchrun_environment() | {"FAILS": "0 launcher"},
        timeout=STALLED_S, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == -signal.SIGKILL, done.stderr
    record = record_in(tmp_path)
    assert record["status"] == "failed"
    assert record["reason"].startswith("rank 0 on ")
    assert "torchrun, which started it, was killed" in record["reason"]


def test_a_stopped_rank_0_is_named_in_the_record_which_rank_1_writes(
    small_store: Path, tmp_path: Path
) -> None:
    environment = {"FAILS": "0 stop", RANK_TIMEOUT: "3"}
    launcher = subprocess.Popen(
        failing_argv(small_store, tmp_path), env=torchrun_environment() | environment,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    record = {"status": "incomplete"}
    deadline = time.monotonic() + STALLED_S
    try:
        while record["status"] == "incomplete" and time.monotonic() < deadline:
            time.sleep(0.1)
            if (tmp_path / "record.json").exists():
                record = record_in(tmp_path)
    finally:
        for process in family(launcher.pid):  # torchrun waits 30 s for a stopped process
            process.kill()
        launcher.wait()
    assert record["status"] == "failed"
    assert record["reason"].startswith("rank 0 on ")
    assert "has not answered for " in record["reason"]
    assert "the others wait for it" in record["reason"]


def test_ranks_that_read_different_checkpoints_end_with_both_in_the_record(
    train: Train, small_store: Path, tmp_path: Path
) -> None:
    train("--store", small_store, "--model", "tiny", "--epochs", 2, run_dir=tmp_path)
    (tmp_path / "record.json").unlink()
    path = tmp_path / "checkpoint.pt"
    state = torch.load(path, weights_only=True)
    asked = {"strategy": "ddp", "world_size": 2, "device": "cpu", "batch_size": 4, "epochs": 3}
    state["asked"] |= asked
    (tmp_path / "older").mkdir()
    torch.save(state | {"epoch": 1}, tmp_path / "older" / path.name)
    torch.save(state, path)
    before = path.read_bytes()
    returned, error = run_forked(failing_argv(small_store, tmp_path), FAILS="1 older")
    assert returned == 1
    record = record_in(tmp_path)
    assert record["status"] == "failed"
    assert re.search(r"epoch 2 on rank 0 \(.+\), epoch 1 on rank 1 \(", record["reason"])
    assert error.count(f"train: {record['reason']}") == 1
    assert path.read_bytes() == before


def test_want_of_memory_is_seen_behind_the_error_that_hides_it() -> None:
    with pytest.raises(RuntimeError) as caught:
        try:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1 GiB.")
        finally:
            raise RuntimeError(
                "CUDA error: operation failed due to a previous error during capture"
            )
    assert out_of_memory(caught.value) is caught.value.__context__
    failure = Failure.of(caught.value, rank=0, ranks=1)
    assert failure.status is Status.OUT_OF_MEMORY
    assert failure.reason == "CUDA out of memory. Tried to allocate 1 GiB."


@pytest.mark.parametrize(
    ("text", "memory"),
    [
        ("CUDA error: out of memory", True),
        ("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`", True),
        ("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory", True),
        ("CUDA error: an illegal memory access was encountered", False),
    ],
)
def test_want_of_memory_is_known_by_its_texts(text: str, memory: bool) -> None:
    assert (out_of_memory(RuntimeError(text)) is not None) is memory


def test_all_ranks_compute_on_what_each_of_them_can() -> None:
    gpu, cpu = (Rank(rank, f"node{rank}", 1, device, "") for rank, device in
                enumerate((Device.CUDA, Device.CPU)))  # fmt: skip
    assert Rank.from_values(json.loads(json.dumps(vars(gpu)))) == gpu
    assert agreed_device([gpu, gpu]) is Device.CUDA
    assert agreed_device([gpu, cpu]) is Device.CPU
    lacking = Rank(1, "node1", 1, None, "asks for 2 CUDA GPUs; this machine has 0")
    with pytest.raises(Unavailable, match=r"^rank 1 on node1 asks for 2 CUDA GPUs"):
        agreed_device([gpu, lacking])
    with pytest.raises(Unavailable, match=r"^asks for 2"):
        agreed_device([lacking])
