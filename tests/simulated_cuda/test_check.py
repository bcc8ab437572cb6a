"""``check --device cuda`` on simulated devices: what it checks there is right."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.simulated_cuda.conftest import simulating
from tests.train.conftest import STALLED_S
from weather_hpc.runs.checks import read_checks
from weather_hpc.runs.paths import CheckPaths

pytestmark = pytest.mark.xdist_group("simulated_cuda")

CHOSEN = {
    1: [
        "versions", "cuda = cpu: tiny", "graph = eager: tiny_norm, strong", "fewer steps",
        "resumed = unbroken, graphs", "named, graphs", "kernels",
    ],
    2: ["binding", "all-reduce", "ddp x2, synchronised"],
}  # fmt: skip
"""By the number of GPUs. Others take long, repeat test_strategies.py or are not simulated."""


@pytest.mark.parametrize("gpus", CHOSEN)
def test_what_is_simulated_passes(gpus: int, tmp_path: Path) -> None:
    only = [word for text in CHOSEN[gpus] for word in ("--only", text)]
    argv = [sys.executable, "-m", "weather_hpc.check", "--device", "cuda", "--out", str(tmp_path)]
    done = subprocess.run(
        [*argv, *only], env=simulating(gpus),
        capture_output=True, text=True, timeout=2 * STALLED_S, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    results, _ = read_checks(CheckPaths(tmp_path).results)
    assert [r.name for r in results if r.ok is None] == (["kernels of a step"] if gpus == 1 else [])
    assert all(any(text in r.name for r in results) for text in CHOSEN[gpus])
    if gpus == 2:
        figures = next(r.figures for r in results if r.name.startswith("all-reduce"))
        assert (figures["device"], figures["ranks"]) == ("cuda", 2)
