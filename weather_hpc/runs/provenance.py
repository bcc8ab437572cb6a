"""Provenance of a run: commit, versions, host, Slurm ids, variables that affect its speed."""

import fnmatch
import importlib.metadata
import os
import platform
import socket
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

from weather_hpc.runs.environment import THREAD_VARIABLES
from weather_hpc.runs.proc import memory_total_mb
from weather_hpc.runs.record import Provenance

PACKAGES = [
    "weather_hpc",
    "numpy",
    "pillow",
    "simplejpeg",
    "torch",
    "torchvision",
    "dask",
    "distributed",
    "dask-jobqueue",
    "opencv-python-headless",
    "submitit",
]
SETTINGS = [
    *THREAD_VARIABLES,
    "CUDA_VISIBLE_DEVICES",
    "MALLOC_MMAP_THRESHOLD_",
    "MALLOC_TRIM_THRESHOLD_",
    "MALLOC_TOP_PAD_",
    "LD_PRELOAD",
    "NCCL_*",
    "GLOO_*",
    "TORCH_*",
    "PYTORCH_*ALLOC_CONF",
]
"""Variables that may affect the speed of a run; ``*`` matches any text."""
SLURM = [
    "SLURM_JOB_ID",
    "SLURM_ARRAY_JOB_ID",
    "SLURM_ARRAY_TASK_ID",
    "SLURM_JOB_NODELIST",
    "SLURM_JOB_PARTITION",
    "SLURM_CLUSTER_NAME",
    "SLURM_RESTART_COUNT",
    "SLURM_MEM_PER_NODE",
    "SLURM_MEM_PER_CPU",
]


def utc_now() -> str:
    """The time in UTC, ISO 8601, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def collect_provenance() -> Provenance:
    """The provenance of this process, without importing heavy packages."""
    commit, dirty = _git()
    return Provenance(
        started_at=utc_now(),
        command=[sys.executable, *sys.argv],
        commit=commit,
        dirty=dirty,
        host=socket.gethostname(),
        cpu_model=cpu_model(),
        cpu_count=os.cpu_count(),
        memory_mb=memory_total_mb(),
        packages={"python": platform.python_version()} | _versions(),
        environment=_settings(),
        slurm={name: os.environ[name] for name in SLURM if name in os.environ},
        restarts=int(os.environ.get("SLURM_RESTART_COUNT", "0") or 0),
    )


def node_name() -> str:
    """The scheduler's name of this node, else the host name. Several nodes may share a host."""
    return os.environ.get("SLURMD_NODENAME") or socket.gethostname()


def _settings() -> dict[str, str]:
    names = {name for like in SETTINGS for name in fnmatch.filter(os.environ, like)}
    return {name: os.environ[name] for name in sorted(names)}


def _versions() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _git() -> tuple[str | None, bool | None]:
    """Commit and whether there are changes; None where the package is not in a git checkout."""
    checkout = Path(__file__).resolve().parents[2]
    if not (checkout / ".git").exists():
        return None, None
    git = ["git", "-C", str(checkout)]
    try:
        commit = subprocess.run(
            [*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True, timeout=10
        ).stdout.strip()
        changes = subprocess.run(
            [*git, "status", "--porcelain", "--untracked-files=no"],
            capture_output=True, text=True, check=True, timeout=10,
        ).stdout  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return None, None
    return commit, bool(changes.strip())


def cpu_model() -> str | None:
    """The processor's name, from /proc/cpuinfo."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or None
