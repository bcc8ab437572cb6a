"""Runs on simulated devices: in one process that stays, or under torchrun."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import REPOSITORY
from tests.simulated_cuda.build import library
from tests.train.conftest import STALLED_S, images, packed, paper_store, record_in
from tests.train.conftest import small_store as small_store
from tests.train.conftest import train as train
from weather_hpc.train.ranks import torchrun as torchrun_arguments

__all__ = ["images", "packed", "paper_store", "small_store", "train"]

GPUS = 4
SITE = Path(__file__).with_name("site")
RANK = Path(__file__).with_name("rank.py")


def simulating(gpus: int = GPUS) -> dict[str, str]:
    """The environment of processes that see simulated devices."""
    settings = {
        "PYTHONPATH": os.pathsep.join([str(REPOSITORY), str(SITE)]),
        "SIMULATED_GPUS": str(gpus),
        "GLOO_SOCKET_IFNAME": "lo",
        "OMP_NUM_THREADS": "1",
    }
    return os.environ | settings


@dataclass(frozen=True)
class Told:
    """What came of a run."""

    record: dict[str, Any]
    calls: list[list[Any]]
    waits: list[list[str]]
    """Of each epoch, where the host waited for a device."""
    printed: str

    def count(self, name: str) -> int:
        return sum(call[0] == name for call in self.calls)


Simulated = Callable[..., Told]
"""Trains with these options on simulated devices; ``code`` is the exit code wanted; None: any."""


@pytest.fixture(scope="session")
def worker() -> Iterator["subprocess.Popen[str]"]:
    library()  # where it cannot be built, that is what is told
    child = subprocess.Popen(
        [sys.executable, "-m", "tests.simulated_cuda.worker"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=simulating(), cwd=REPOSITORY, text=True,
    )  # fmt: skip
    yield child
    child.communicate(timeout=STALLED_S)


@pytest.fixture
def simulated(worker: "subprocess.Popen[str]") -> Simulated:
    assert worker.stdin is not None
    assert worker.stdout is not None
    stdin, stdout = worker.stdin, worker.stdout

    def run(
        *words: object, run_dir: Path, code: int | None = 0, memory_mb: float | None = None
    ) -> Told:
        argv = [*map(str, words), "--run-dir", str(run_dir)]
        print(json.dumps({"argv": argv, "memory_mb": memory_mb}), file=stdin, flush=True)
        answer = json.loads(stdout.readline())
        assert code in (None, answer["code"]), answer["printed"]
        return Told(record_in(run_dir), answer["calls"], answer["waits"], answer["printed"])

    return run


@pytest.fixture
def simulated_ranks() -> Callable[..., dict[str, Any]]:
    """Trains under torchrun, each rank on a simulated device; the record.

    A run fails where the host of a rank waits for its device.
    """

    def run(ranks: int, *words: object, run_dir: Path) -> dict[str, Any]:
        launcher = torchrun_arguments(1, ranks)
        done = subprocess.run(
            [sys.executable, *launcher, str(RANK), *map(str, words), "--run-dir", str(run_dir)],
            env=simulating(ranks), capture_output=True, text=True, timeout=STALLED_S, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return record_in(run_dir)

    return run
