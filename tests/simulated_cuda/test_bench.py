"""``bench train --device cuda`` on simulated devices: its implementations see them too."""

import json
import subprocess
import sys

import pytest

from tests.simulated_cuda.conftest import simulating
from tests.train.conftest import STALLED_S

pytestmark = pytest.mark.xdist_group("simulated_cuda")


def test_implementations_reach_the_same_loss() -> None:
    chosen = ["naive", "ours, bf16, contiguous, graph", "ddp, 2"]
    argv = [sys.executable, "-m", "weather_hpc.bench", "train", "--device", "cuda", "--json",
            "--images", "12", "--batch-size", "4", "--epochs", "1", "--rounds", "1",
            *(word for name in chosen for word in ("--only", name))]  # fmt: skip
    done = subprocess.run(
        argv, env=simulating(2), capture_output=True, text=True, timeout=STALLED_S, check=False
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert (told["device"], told["images"]) == ("cuda", 12)
    facts = {one["name"]: one for one in told["contestants"]}
    assert len(facts) == 3, sorted(facts)
    assert all(one["reason"] is None for one in facts.values())
    assert told["whole_training"]["time_s"] > 0
