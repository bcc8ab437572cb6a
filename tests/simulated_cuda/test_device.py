"""The simulated devices keep their promises, by a pytest of its own that sees them."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY
from tests.simulated_cuda.conftest import simulating
from tests.train.conftest import STALLED_S

pytestmark = pytest.mark.xdist_group("simulated_cuda")

PROMISES = Path(__file__).with_name("promises.py")


def test_simulated_devices_keep_their_promises() -> None:
    argv = [sys.executable, "-m", "pytest", "-o", "addopts=", "-p", "no:xdist"]
    argv += ["-p", "no:cacheprovider", "-q", str(PROMISES)]
    done = subprocess.run(
        argv, env=simulating(2), cwd=REPOSITORY, capture_output=True, text=True,
        timeout=STALLED_S, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
