"""What this machine has, and why a run cannot be made on it."""

import functools
import importlib.util
import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass

from weather_hpc.launch.command import needs_cuda
from weather_hpc.study.spec import Backend, PreprocessTask, RunSpec

_COUNT_GPUS = "import torch; print(torch.cuda.device_count() if torch.cuda.is_available() else 0)"


@dataclass(frozen=True)
class Machine:
    """The parts of a machine that decide whether a run can be made."""

    cpus: tuple[int, ...]
    """CPUs this process may use."""
    gpus: int
    """CUDA GPUs that torch sees."""
    packages: frozenset[str]
    """Which of the optional packages are installed."""


def this_machine(specs: Sequence[RunSpec], python: str) -> Machine:
    """This machine. GPUs are counted, by ``python`` in a process of its own, if any run asks."""
    packages = frozenset(
        name for name in ("torch", "distributed") if importlib.util.find_spec(name) is not None
    )
    ask = any(_wants_gpu(spec) for spec in specs) and "torch" in packages
    return Machine(tuple(sorted(os.sched_getaffinity(0))), _gpus(python) if ask else 0, packages)


def _wants_gpu(spec: RunSpec) -> bool:
    return not isinstance(spec.task, PreprocessTask) and needs_cuda(spec.task)


@functools.cache
def _gpus(python: str) -> int:
    try:
        done = subprocess.run(
            [python, "-c", _COUNT_GPUS], capture_output=True, text=True, timeout=120, check=True
        )
        return int(done.stdout)
    except (OSError, ValueError, subprocess.SubprocessError):
        return 0


def skip_reason(spec: RunSpec, machine: Machine, oversubscribe: bool = False) -> str | None:
    """Why ``spec`` cannot be measured on ``machine``; None where it can."""
    task, asked = spec.task, spec.resources
    if asked.nodes > 1:
        return f"asks for {asked.nodes} nodes; the local executor has one"
    if isinstance(task, PreprocessTask):
        if task.backend is Backend.DASK_JOBQUEUE:
            return "backend dask-jobqueue needs Slurm; the local executor has none"
        by_dask = task.backend in (Backend.DASK, Backend.DASK_NAIVE)
        if by_dask and "distributed" not in machine.packages:
            return "dask is not installed: pip install 'weather_hpc[dask]'"
    else:
        if "torch" not in machine.packages:
            return "torch is not installed: pip install 'weather_hpc[train]'"
        if _wants_gpu(spec) and machine.gpus < asked.gpus_per_node:
            return f"asks for {asked.gpus_per_node} CUDA GPUs; this machine has {machine.gpus}"
    if asked.cpus_per_node > len(machine.cpus) and not oversubscribe:
        return f"asks for {asked.cpus_per_node} CPUs; this machine gives {len(machine.cpus)}"
    return None
