"""A real Slurm for the tests in this folder, brought up once for each of two groups.

Files that use it carry a mark and a group, so that with pytest-xdist each group has one worker, and
the two, which mostly wait, wait at the same time: ``slurm_sweeps``, whose jobs are stand-ins, and
``slurm_work``, whose jobs compute::

    pytestmark = [pytest.mark.slurm, pytest.mark.xdist_group("slurm_sweeps")]
"""

import contextlib
import fcntl
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

TESTBED = Path(__file__).resolve().parents[2] / "hpc" / "testbed" / "testbed.py"


@dataclass(frozen=True)
class Slurm:
    """A testbed that is up: run Slurm's commands, or any that use Slurm, against it."""

    state: Path
    env: dict[str, str]

    def run(
        self, argv: Sequence[str], *, timeout_s: float = 60, cwd: Path | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a command and return its output, whatever its exit status."""
        return subprocess.run(
            argv,
            env=self.env,
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )

    def testbed(self, *verb: str) -> subprocess.CompletedProcess[str]:
        """Run one of the testbed's verbs: ``status``, ``kill-node node2``, ..."""
        return self.run([sys.executable, str(TESTBED), *verb], timeout_s=250)

    def status(self) -> dict[str, Any]:
        """Return the object of ``status --json``."""
        value: dict[str, Any] = json.loads(self.testbed("status", "--json").stdout.splitlines()[-1])
        return value


@contextlib.contextmanager
def a_slurm(*options: str) -> Iterator[Slurm]:
    """Bring a testbed up in a folder of its own, and leave nothing of it behind.

    Where Slurm is not available the test is skipped, and in CI it fails.
    """
    state = Path(tempfile.mkdtemp(prefix="testbed-"))  # a socket's path must be short
    inherited = ("SLURM", "SBATCH", "SACCT", "SQUEUE", "SINFO", "SALLOC")
    env = {name: value for name, value in os.environ.items() if not name.startswith(inherited)}
    env |= {"SLURM_CONF": str(state / "slurm.conf"), "WEATHER_HPC_TESTBED": str(state)}
    slurm = Slurm(state, env)
    try:
        with TESTBED.open() as alone:
            fcntl.flock(alone, fcntl.LOCK_EX)  # another group's may be installing packages
            up = slurm.testbed("up", *options)
        if up.returncode:
            reason = f"no Slurm here: {up.stderr.strip()}"
            if os.environ.get("CI") == "true":
                pytest.fail(reason)
            pytest.skip(reason)
        yield slurm
    finally:
        slurm.testbed("down", "--purge")


@pytest.fixture(scope="session")
def slurm() -> Iterator[Slurm]:
    """One Slurm for the whole session: nodes node1 and node2, 16 CPUs and 4 GPUs each."""
    with a_slurm() as testbed:
        yield testbed
