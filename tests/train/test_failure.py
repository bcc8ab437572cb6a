"""One rank fails: the others end as well, and the record says which it was and why."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.train.conftest import STALLED_S, torchrun_environment
from weather_hpc.runs.record import Status
from weather_hpc.study.tasks import Device
from weather_hpc.train.failure import Failure, out_of_memory
from weather_hpc.train.ranks import Rank, Unavailable, agreed_device

RUN_FAILING = Path(__file__).with_name("run_failing.py")


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
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    words = ["--store", small_store, "--strategy", "ddp", "--device", "cpu", "--model", "tiny",
             "--epochs", 3, "--batch-size", 4, "--run-dir", tmp_path]  # fmt: skip
    done = subprocess.run(
        [sys.executable, *launcher, str(RUN_FAILING), *map(str, words)],
        env=torchrun_environment() | {"FAILS": fails}, timeout=STALLED_S,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    record = json.loads((tmp_path / "record.json").read_bytes())
    assert record["status"] == status
    assert record["reason"].startswith(f"rank {fails[0]} on ")
    assert told in record["reason"]
    assert record["time_s"] is None


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
